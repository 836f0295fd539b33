# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of what answers to the fleet's domain: configurations, certificates, DNS. Private to the collection."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._resources.scope import Resource, Scope, entries
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing


@api_call("list the domain configurations")
def domain_configurations(scope: Scope) -> list[Resource]:
    """Domain configurations, with domain, status and the certificates that they serve."""
    iot = scope.clients["iot"]
    found = entries(iot, "list_domain_configurations", "domainConfigurations")
    names = [each["domainConfigurationName"] for each in found if scope.owns(each["domainConfigurationName"])]
    return [_domain_configuration(iot.describe_domain_configuration(domainConfigurationName=name)) for name in names]


def _domain_configuration(described: dict[str, Any]) -> Resource:
    served = [each["serverCertificateArn"] for each in described.get("serverCertificates", [])]
    return {
        "name": described["domainConfigurationName"],
        "domain": described.get("domainName"),
        "status": described.get("domainConfigurationStatus"),
        "server_certificate_arns": served,
    }


@api_call("list the certificates of ACM")
def server_certificates(scope: Scope) -> list[Resource]:
    """ACM certificates for the fleet's domain, imported or requested, with status and expiry (ISO 8601, or None)."""
    acm = scope.clients["acm"]
    key_types = ["RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1"]
    found = entries(acm, "list_certificates", "CertificateSummaryList", Includes={"keyTypes": key_types})
    arns = [each["CertificateArn"] for each in found if scope.domain and each.get("DomainName") == scope.domain]
    described = [acm.describe_certificate(CertificateArn=arn)["Certificate"] for arn in arns]
    return [
        {
            "arn": each["CertificateArn"],
            "type": each.get("Type"),
            "status": each.get("Status"),
            "not_after": each["NotAfter"].isoformat() if each.get("NotAfter") else None,
        }
        for each in described
    ]


@none_if_missing
@api_call("list the DNS records")
def _records(scope: Scope) -> list[dict[str, Any]] | None:
    route53 = scope.clients["route53"]
    found = entries(route53, "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=scope.hosted_zone_id)
    return list(found)


def dns_records(scope: Scope) -> list[Resource]:
    """The domain's record of this region, and the records by which ACM validates the domain (shared by all regions)."""
    if not (scope.domain and scope.hosted_zone_id):
        return []
    mine = [each for each in _records(scope) or [] if _is_record_of(scope, each)]
    return [
        {
            "name": each["Name"].rstrip("."),
            "type": each["Type"],
            "set_identifier": each.get("SetIdentifier"),
            "values": [value["Value"] for value in each.get("ResourceRecords", [])],
            "health_check_id": each.get("HealthCheckId"),
        }
        for each in mine
    ]


def _is_record_of(scope: Scope, record: dict[str, Any]) -> bool:
    name = record["Name"].rstrip(".")
    validates = name.startswith("_") and name.partition(".")[2] == scope.domain
    return validates or (name == scope.domain and record.get("SetIdentifier") == scope.region)


@api_call("list the health checks")
def health_checks(scope: Scope) -> list[Resource]:
    """Health checks of this region's record, or that look at this region's data endpoint."""
    watched = scope.clients["iot"].describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    used = {each["health_check_id"] for each in dns_records(scope)}
    return [
        {"id": each["Id"], "target": each["HealthCheckConfig"].get("FullyQualifiedDomainName")}
        for each in entries(scope.clients["route53"], "list_health_checks", "HealthChecks")
        if each["Id"] in used or each["HealthCheckConfig"].get("FullyQualifiedDomainName") == watched
    ]
