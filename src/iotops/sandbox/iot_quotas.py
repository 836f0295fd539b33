# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS's default quotas of AWS IoT: calls a second of an account in a region, and what Service Quotas calls them.

Values: "AWS IoT Core endpoints and quotas" and "AWS IoT Device Management endpoints and quotas" of the AWS General
Reference (2023-07-27). Codes and names: as Service Quotas lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from iotops.sandbox.addresses import iot_regions

# "Select regions" of the General Reference, those of the sandbox and the others.
SELECT_REGIONS = frozenset({
    "ap-east-1", "ca-central-1", "cn-northwest-1", "eu-north-1", "eu-west-3", "me-central-1", "me-south-1",
    "us-gov-east-1", "us-gov-west-1", "us-west-1",
})  # fmt: skip
RULE = "quota-"  # what the ids of the rules that enforce them begin with


@dataclass(frozen=True)
class Quota:
    """One quota; ``operation`` is a shell pattern where several share it.

    ``code`` is empty where it is not known: such a quota is enforced and not told.
    """

    operation: str
    value: float
    code: str = ""
    select: float | None = None
    adjustable: bool = True
    service: str = "iotcore"
    name: str = ""
    endpoint: str = "iot"
    also: str = ""

    @property
    def label(self) -> str:
        """What Service Quotas calls it."""
        return self.name or f"{self.operation} API TPS"

    def in_region(self, region: str) -> float:
        """The default value there."""
        small = self.select is not None and (region in SELECT_REGIONS or region == self.also)
        return self.select if small and self.select is not None else self.value


def _indexing(operation: str, code: str) -> Quota:
    return Quota(operation, 15, code, service="iot", name=f"{operation} rate")


QUOTAS = (
    Quota("CreateThing", 100, "L-64CBACAC", select=50),
    Quota("UpdateThing", 100, "L-211F680E", select=50),
    Quota("DeleteThing", 100, "L-889800F7", select=50),
    Quota("DescribeThing", 350, "L-0EF0F5EE"),
    Quota("ListThings", 10, "L-57AAC135"),
    Quota("AttachThingPrincipal", 100, "L-F64D1AA6", select=50),
    Quota("DetachThingPrincipal", 100, "L-B5EE4A16", select=50),
    Quota("ListThingPrincipals", 20, "L-FC3EF4D9"),
    Quota("ListPrincipalThings", 10, "L-C481616A"),
    Quota("RegisterThing", 10, "L-C0B2EF8B"),
    Quota("AddThingToThingGroup", 100, "L-2904683A", select=60),
    Quota("RemoveThingFromThingGroup", 100, "L-2A81A394", select=50),
    Quota("ListThingGroups", 10, "L-1E5260D6"),
    Quota("ListThingGroupsForThing", 100, "L-75F129AD", select=50),
    Quota("ListThingsInThingGroup", 25, "L-D33FD5F9"),
    Quota("RegisterCertificate", 10, "L-8C0011A3"),
    Quota("RegisterCertificateWithoutCA", 10, "L-4671C7C8"),
    Quota("DescribeCertificate", 10, "L-FC864907"),
    Quota("UpdateCertificate", 10, "L-77B523DC"),
    Quota("DeleteCertificate", 10, "L-EEB8F0B1"),
    Quota("ListCertificates", 10, "L-97DA2C60"),
    Quota("ListCertificatesByCA", 10, "L-5A0AFD83"),
    Quota("CreateCertificateFromCsr", 15, "L-01BCDDCA"),
    Quota("CreateKeysAndCertificate", 10, "L-40B55430"),
    Quota("RegisterCACertificate", 10, "L-B3AC62F0"),
    Quota("DescribeCACertificate", 10, "L-E72BB356"),
    Quota("UpdateCACertificate", 10, "L-A755E860"),
    Quota("DeleteCACertificate", 10, "L-944099F0"),
    Quota("ListCACertificates", 10, "L-15185D92"),
    Quota("GetRegistrationCode", 10, "L-83705EE2"),
    Quota("AttachPolicy", 15, "L-CA7D4E3E"),
    Quota("DetachPolicy", 15, "L-EC88D510"),
    Quota("ListAttachedPolicies", 15, "L-B2DA2A45"),
    Quota("GetEffectivePolicies", 5, "L-CE45290D"),
    Quota("GetPolicy", 10, "L-5CE9072D"),
    Quota("GetPolicyVersion", 15, "L-1FE17093"),
    Quota("ListPolicies", 10, "L-2B86A5A0"),
    Quota("ListPolicyVersions", 10, "L-E67DF416"),
    Quota("ListTargetsForPolicy", 10, "L-D7C50543"),
    Quota("CreateTopicRule", 5, "L-E817179B", adjustable=False),
    Quota("ReplaceTopicRule", 5, "L-D12550DB", adjustable=False),
    Quota("DeleteTopicRule", 20, "L-B8E3A42A", select=5, adjustable=False),
    Quota("GetTopicRule", 200, "L-EF53B0E4", select=20, adjustable=False),
    Quota("ListTopicRules", 1, "L-860C3E36", adjustable=False),
    Quota("CreateDomainConfiguration", 1, "L-9410BF75", adjustable=False),
    Quota("DescribeDomainConfiguration", 10, "L-7027E8DD"),
    Quota("UpdateDomainConfiguration", 10, "L-D624FA43"),
    Quota("DeleteDomainConfiguration", 10, "L-FBA96CAB", adjustable=False),
    Quota("ListDomainConfigurations", 10, "L-4BDBE56D"),
    Quota("DescribeEndpoint", 10, "L-F30831DF", adjustable=False),
    Quota("DescribeEventConfigurations", 10, "L-AC832B8A"),
    Quota("UpdateEventConfigurations", 10, "L-9C512C33"),
    Quota("SetV2LoggingOptions", 2, "L-137EE1A7", adjustable=False),
    Quota("CreateJob", 10, adjustable=False, service="iot"),
    _indexing("SearchIndex", "L-908D0FBE"),
    _indexing("GetStatistics", "L-090EA78D"),
    _indexing("GetCardinality", "L-B359270D"),
    _indexing("GetPercentiles", "L-4627F3A5"),
    # Get, Update and DeleteThingShadow and ListNamedShadowsForThing share one.
    Quota(
        "*Shadow*", 4000, "L-6CC6395A", select=400, also="sa-east-1", endpoint="iot-data",
        name="Device Shadow API requests/second per account",
    ),
)  # fmt: skip


def rules() -> Iterator[dict[str, Any]]:
    """The fault rules that hold every region to its quotas."""
    for quota in QUOTAS:
        rule = {
            "service": quota.endpoint,
            "operation": quota.operation,
            "effect": "throttle",
            "message": "Rate exceeded",
        }
        name = quota.operation.strip("*")
        yield {**rule, "id": f"{RULE}{name}", "rate": quota.value}
        for region in iot_regions():
            if (value := quota.in_region(region)) < quota.value:
                yield {**rule, "id": f"{RULE}{name}-{region}", "region": region, "rate": value}
