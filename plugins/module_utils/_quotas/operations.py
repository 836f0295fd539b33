# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quotas of the operations of AWS IoT Core's control plane and shadows. Private to the collection."""

from __future__ import annotations

from ansible_collections.iotops.fleet.plugins.module_utils._quotas.quota import Quota, select


def _shadow(name: str) -> Quota:
    """All operations on shadows share one quota."""
    title = "Device Shadow API requests/second per account"
    return Quota(name, 4000, code="L-6CC6395A", title=title, exceptions={**select(400), "sa-east-1": 400})


def _device_management(name: str, value: float, *, code: str = "", adjustable: bool = True) -> Quota:
    source = "AWS IoT Device Management endpoints and quotas, AWS General Reference"
    title = f"{name} {'rate' if code else 'throttle limit'}"
    return Quota(name, value, service="iot", code=code, adjustable=adjustable, title=title, source=source)


_RECORDS = (
    # Things
    Quota("CreateThing", 100, code="L-64CBACAC", exceptions=select(50)),
    Quota("UpdateThing", 100, code="L-211F680E", exceptions=select(50)),
    Quota("DeleteThing", 100, code="L-889800F7", exceptions=select(50)),
    Quota("DescribeThing", 350, code="L-0EF0F5EE"),
    Quota("ListThings", 10, code="L-57AAC135"),
    Quota("AttachThingPrincipal", 100, code="L-F64D1AA6", exceptions=select(50)),
    Quota("DetachThingPrincipal", 100, code="L-B5EE4A16", exceptions=select(50)),
    Quota("ListThingPrincipals", 20, code="L-FC3EF4D9"),
    Quota("ListPrincipalThings", 10, code="L-C481616A"),
    Quota("RegisterThing", 10, code="L-C0B2EF8B"),
    # Groups
    Quota("AddThingToThingGroup", 100, code="L-2904683A", exceptions=select(60)),
    Quota("RemoveThingFromThingGroup", 100, code="L-2A81A394", exceptions=select(50)),
    Quota("ListThingGroups", 10, code="L-1E5260D6"),
    Quota("ListThingGroupsForThing", 100, code="L-75F129AD", exceptions=select(50)),
    Quota("ListThingsInThingGroup", 25, code="L-D33FD5F9"),
    # Certificates
    Quota("RegisterCertificate", 10, code="L-8C0011A3"),
    Quota("RegisterCertificateWithoutCA", 10, code="L-4671C7C8"),
    Quota("DescribeCertificate", 10, code="L-FC864907"),
    Quota("UpdateCertificate", 10, code="L-77B523DC"),
    Quota("DeleteCertificate", 10, code="L-EEB8F0B1"),
    Quota("ListCertificates", 10, code="L-97DA2C60"),
    Quota("ListCertificatesByCA", 10, code="L-5A0AFD83"),
    Quota("CreateCertificateFromCsr", 15, code="L-01BCDDCA"),
    Quota("CreateKeysAndCertificate", 10, code="L-40B55430"),
    Quota("RegisterCACertificate", 10, code="L-B3AC62F0"),
    Quota("DescribeCACertificate", 10, code="L-E72BB356"),
    Quota("UpdateCACertificate", 10, code="L-A755E860"),
    Quota("DeleteCACertificate", 10, code="L-944099F0"),
    Quota("ListCACertificates", 10, code="L-15185D92"),
    Quota("GetRegistrationCode", 10, code="L-83705EE2"),
    # Policies
    Quota("AttachPolicy", 15, code="L-CA7D4E3E"),
    Quota("DetachPolicy", 15, code="L-EC88D510"),
    Quota("ListAttachedPolicies", 15, code="L-B2DA2A45"),
    Quota("GetEffectivePolicies", 5, code="L-CE45290D"),
    Quota("GetPolicy", 10, code="L-5CE9072D"),
    Quota("GetPolicyVersion", 15, code="L-1FE17093"),
    Quota("ListPolicies", 10, code="L-2B86A5A0"),
    Quota("ListPolicyVersions", 10, code="L-E67DF416"),
    Quota("ListTargetsForPolicy", 10, code="L-D7C50543"),
    # Rules, domain configurations, the account
    Quota("CreateTopicRule", 5, code="L-E817179B", adjustable=False),
    Quota("ReplaceTopicRule", 5, code="L-D12550DB", adjustable=False),
    Quota("DeleteTopicRule", 20, code="L-B8E3A42A", adjustable=False, exceptions=select(5)),
    Quota("GetTopicRule", 200, code="L-EF53B0E4", adjustable=False, exceptions=select(20)),
    Quota("ListTopicRules", 1, code="L-860C3E36", adjustable=False),
    Quota("CreateDomainConfiguration", 1, code="L-9410BF75", adjustable=False),
    Quota("DescribeDomainConfiguration", 10, code="L-7027E8DD"),
    Quota("UpdateDomainConfiguration", 10, code="L-D624FA43"),
    Quota("DeleteDomainConfiguration", 10, code="L-FBA96CAB", adjustable=False),
    Quota("ListDomainConfigurations", 10, code="L-4BDBE56D"),
    Quota("DescribeEndpoint", 10, code="L-F30831DF", adjustable=False),
    Quota("DescribeEventConfigurations", 10, code="L-AC832B8A"),
    Quota("UpdateEventConfigurations", 10, code="L-9C512C33"),
    Quota("SetV2LoggingOptions", 2, code="L-137EE1A7", adjustable=False),
    # Fleet indexing and jobs
    _device_management("SearchIndex", 15, code="L-908D0FBE"),
    _device_management("GetStatistics", 15, code="L-090EA78D"),
    _device_management("GetCardinality", 15, code="L-B359270D"),
    _device_management("GetPercentiles", 15, code="L-4627F3A5"),
    _device_management("CreateJob", 10, adjustable=False),
    # The data plane
    _shadow("GetThingShadow"),
    _shadow("UpdateThingShadow"),
    _shadow("DeleteThingShadow"),
    _shadow("ListNamedShadowsForThing"),
    Quota("DeleteConnection", None, source="no quota of it is published", date="2026-11"),
)
OPERATIONS = {quota.name: quota for quota in _RECORDS}

__all__ = ["OPERATIONS"]
