"""The regions that devices find by the fleet's name now: in Route 53, and not failing there.

Route 53 takes five requests a second of an account, so all functions of all regions share what one of them has read: it
is in an item of the list, whose name no thing can have.
"""

from __future__ import annotations

import logging
import os
import time

import claims
from aws import aws, pages, typed
from botocore.exceptions import BotoCoreError, ClientError

NAME = "regions#health"
FRESH, USABLE = 30, 900  # seconds; what is older than the latter is not believed
# https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html
HEALTHY = 0.18  # of the checkers

_log = logging.getLogger()
_known: list[tuple[float, frozenset[str]]] = []


def regions() -> frozenset[str]:
    """The regions that may be offered to a device; empty where nobody can tell."""
    now = time.time()
    if not _known or now - _known[0][0] > FRESH:
        _known[:] = [_shared(now)]
    return _known[0][1]


def _shared(now: float) -> tuple[float, frozenset[str]]:
    item = claims.read(NAME)
    read_at = item.get("read_at", 0)
    if now - read_at <= FRESH:
        return read_at, frozenset(item["regions"])
    try:
        found = sorted(_read())
    except (ClientError, BotoCoreError) as error:
        _log.warning("Route 53 could not be read: %s", type(error).__name__)
        usable = now - read_at <= USABLE
        return now, frozenset(item["regions"] if usable else ())
    # Whoever was faster has read the same.
    item = {"thing_name": NAME, "read_at": int(now), "regions": found}
    aws("dynamodb", claims.HOME).put_item(TableName=claims.TABLE, Item=typed(item))
    return now, frozenset(found)


def _read() -> set[str]:
    name = os.environ["DOMAIN_NAME"].rstrip(".") + "."
    found = set()
    for page in pages("route53", "list_resource_record_sets", HostedZoneId=os.environ["HOSTED_ZONE_ID"]):
        for record in page["ResourceRecordSets"]:
            if record["Name"] == name and "Region" in record and _is_healthy(record.get("HealthCheckId", "")):
                found.add(record["Region"])
    return found


def _is_healthy(check: str) -> bool:
    """Whether Route 53 would answer with the record: more than 18 % of its checkers reach the region, or none looks."""
    if not check:
        return True
    seen = aws("route53").get_health_check_status(HealthCheckId=check)["HealthCheckObservations"]
    good = sum(1 for each in seen if each["StatusReport"]["Status"].startswith("Success"))
    return not seen or good > HEALTHY * len(seen)
