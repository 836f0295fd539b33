"""The regions that devices find by the fleet's name now: in Route 53, and not failing there.

What Route 53 says is in an item of the list, whose name no thing can have. All functions of all regions go by it, and
one of them at a time reads it anew: Route 53 takes five requests a second of an account. What its health checks see is
in CloudWatch of us-east-1, in one request.
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/monitoring-health-checks.html
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import claims
from asked import Item
from aws import aws, pages
from botocore.exceptions import BotoCoreError, ClientError
from rows_table import APPLICATION

NAME = f"regions#{APPLICATION}"
FRESH = 30  # seconds
METRICS = "us-east-1"
LOOK_BACK = timedelta(minutes=5)

_log = logging.getLogger()
_known: list[tuple[float, frozenset[str]]] = []


def regions(otherwise: Collection[str]) -> frozenset[str]:
    """The regions that may be offered to a device.

    ``otherwise`` are they where nobody has ever been able to tell: who is sent to one that is not well is sent on.
    """
    now = time.time()
    if not _known or now - _known[0][0] > FRESH:
        item = claims.read(NAME)
        if now - item.get("read_at", 0) > FRESH:
            item = _read_anew(item, now)
        _known[:] = [(now, frozenset(item.get("regions", otherwise)))]
    return _known[0][1]


def _read_anew(item: Item, now: float) -> Item:
    """The item with what Route 53 says; as it was where somebody else is at it, or nobody can tell."""
    if not claims.write(item, {"thing_name": NAME, "read_at": int(now)}):
        return item
    try:
        found = sorted(_published_and_well(now))
    except (ClientError, BotoCoreError) as error:
        _log.warning("Route 53 could not be read: %s", type(error).__name__)
        return item
    claims.write(claims.read(NAME), {"regions": found})
    return {**item, "regions": found}


def _published_and_well(now: float) -> set[str]:
    checks = _published()
    failing = _failing([check for check in checks.values() if check], now)
    return {region for region, check in checks.items() if check not in failing}


def _published() -> dict[str, str]:
    """Region -> the health check of its record, empty for none."""
    name, found = os.environ["DOMAIN_NAME"].rstrip(".") + ".", {}
    zone = {"HostedZoneId": os.environ["HOSTED_ZONE_ID"], "StartRecordName": name, "StartRecordType": "CNAME"}
    for page in pages("route53", "list_resource_record_sets", **zone):
        for record in page["ResourceRecordSets"]:
            if record["Name"] != name:
                return found
            if "Region" in record:
                found[record["Region"]] = record.get("HealthCheckId", "")
    return found


def _failing(checks: list[str], now: float) -> set[str]:
    """Those whose last minute was not well; one that CloudWatch knows nothing of is new."""
    if not checks:
        return set()
    end = datetime.fromtimestamp(now, UTC) + timedelta(minutes=1)
    queries = [_query(number, check) for number, check in enumerate(checks)]
    answer = aws("cloudwatch", METRICS).get_metric_data(
        MetricDataQueries=queries, StartTime=end - LOOK_BACK, EndTime=end
    )
    seen = {each["Id"]: zip(each["Timestamps"], each["Values"], strict=True) for each in answer["MetricDataResults"]}
    last = {name: max(points, default=(now, 1))[1] for name, points in seen.items()}
    return {check for number, check in enumerate(checks) if last.get(f"c{number}", 1) < 1}


def _query(number: int, check: str) -> dict[str, Any]:
    metric = {
        "Namespace": "AWS/Route53",
        "MetricName": "HealthCheckStatus",
        "Dimensions": [{"Name": "HealthCheckId", "Value": check}],
    }
    return {"Id": f"c{number}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Minimum"}}
