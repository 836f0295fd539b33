"""Tells CloudWatch when what the region needs ends: its CAs, its server certificate, its devices' certificates.

A kind that the region has nothing of has no metric.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from aws import aws, code, pages, plain
from botocore.exceptions import ClientError
from ends import ATTRIBUTES, Tally, days_until

APPLICATION = os.environ["APPLICATION"]
DOMAIN = os.environ["DOMAIN"]
DEVICE_DAYS = int(os.environ["DEVICE_DAYS"])  # devices are counted whose certificate ends within them
NAMED = 10  # devices in the answer
SEGMENTS = 4  # of the table, read at a time
# Without them ListCertificates answers RSA_1024 and RSA_2048 only.
KEY_TYPES = ["RSA_1024", "RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1"]

Item = dict[str, Any]


def handler(_event: Item, _context: Any) -> Item:
    """AWS Lambda's entry point; what it returns is what it reports, and the first devices by ``Soonest``."""
    now = datetime.now(UTC)
    # First what takes a second: a registry that cannot be read must not hide it.
    managed = _managed()
    region: Item = {
        **_days("IssuingCaDays", _authorities(), now),
        **_days("ServerCertificateDays", managed["IMPORTED"], now),
        **_days("ValidationCertificateDays", managed["AMAZON_ISSUED"], now),
        "RefusedServerCertificates": _refused(),
    }
    _report(region)
    tally = _devices(now)
    soonest = tally.soonest()
    devices = {
        "DevicesInUse": tally.in_use,
        "DevicesEnding": tally.within[DEVICE_DAYS],
        "DevicesExpired": tally.within[0],
        **_days("DeviceDays", [end.not_after for end in soonest], now),
    }
    _report(devices)
    return {**region, **devices, "Soonest": [end.thing_name for end in soonest]}


def _days(name: str, ends: list[datetime], now: datetime) -> Item:
    """The days to the first of the ends; nothing without any."""
    return {name: days_until(min(ends), now)} if ends else {}


def _authorities() -> list[datetime]:
    """When the CAs end that AWS IoT accepts."""
    ends = []
    for page in pages("iot", "list_ca_certificates"):
        for listed in page["certificates"]:
            if listed["status"] == "ACTIVE":
                described = aws("iot").describe_ca_certificate(certificateId=listed["certificateId"])
                ends.append(described["certificateDescription"]["validity"]["notAfter"])
    return ends


def _managed() -> defaultdict[str, list[datetime]]:
    """When the domain's certificates of ACM end, by their type."""
    ends = defaultdict(list)
    for page in pages("acm", "list_certificates", Includes={"keyTypes": KEY_TYPES}):
        for each in page["CertificateSummaryList"]:
            names = (each.get("DomainName"), *each.get("SubjectAlternativeNameSummaries", ()))
            if DOMAIN in names and "NotAfter" in each:
                ends[each["Type"]].append(each["NotAfter"])
    return ends


def _refused() -> int:
    """How many server certificates of the domain configuration AWS IoT does not accept."""
    try:
        found = aws("iot").describe_domain_configuration(domainConfigurationName=f"{APPLICATION}-primary")
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":  # the endpoint is deployed last
            raise
        return 0
    return sum(each["serverCertificateStatus"] != "VALID" for each in found.get("serverCertificates", ()))


def _devices(now: datetime) -> Tally:
    """The region's replica of the registry, counted; no more than a page of each segment is held."""
    tally = Tally(now=now, days=(0, DEVICE_DAYS), named=NAMED)
    names = {f"#{name}": name for name in ATTRIBUTES}
    arguments = {
        "TableName": f"{APPLICATION}-device-inventory",
        "ProjectionExpression": ", ".join(names),
        "ExpressionAttributeNames": names,
        "TotalSegments": SEGMENTS,
    }

    def read_segment(number: int) -> None:
        for page in pages("dynamodb", "scan", Segment=number, **arguments):
            for item in page["Items"]:
                tally.add(plain(item))

    aws("dynamodb")  # before the threads: boto3 makes clients in one thread only
    with ThreadPoolExecutor(SEGMENTS) as pool:
        list(pool.map(read_segment, range(SEGMENTS)))
    return tally


def _report(values: Item) -> None:
    """Metrics in the log, where CloudWatch reads them.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    metrics = [{"Name": name, "Unit": "None" if name.endswith("Days") else "Count"} for name in values]
    directive = {"Namespace": APPLICATION, "Dimensions": [["FunctionName"]], "Metrics": metrics}
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    print(json.dumps({"_aws": about, "FunctionName": f"{APPLICATION}-check-certificates", **values}))  # noqa: T201 - the log is the way to CloudWatch
