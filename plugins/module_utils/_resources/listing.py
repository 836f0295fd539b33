# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One small reader per kind of resource, each a list of plain dicts. Private to the collection.

What a fleet owns is known by its name (docs/architecture.md), by its domain, or by its CA's fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._devices.calls import certificates_of_ca, things_of_type
from ansible_collections.iotops.fleet.plugins.module_utils._devices.claims import claim_certificates as find_claims
from ansible_collections.iotops.fleet.plugins.module_utils._iot.ca_certificates import find as find_ca
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing

Resource = dict[str, Any]


@dataclass(frozen=True)
class Scope:
    """One fleet in one region, with a boto3 client for each service that is asked.

    ``ca_fingerprints``, ``domain`` and ``hosted_zone_id`` may be empty; what they identify is then not listed.
    """

    application: str
    region: str
    domain: str
    hosted_zone_id: str
    ca_fingerprints: tuple[str, ...]
    clients: dict[str, Any]

    def owns(self, name: str) -> bool:
        """Whether a name is one of the fleet's: the application, a hyphen, and more."""
        return name.startswith(f"{self.application}-")


def _pages(client: Any, operation: str, **arguments: Any) -> Iterable[dict[str, Any]]:
    """Pages of an operation, or its one answer where AWS has no paginator for it."""
    if client.can_paginate(operation):
        return client.get_paginator(operation).paginate(**arguments)
    return [getattr(client, operation)(**arguments)]


def _entries(client: Any, operation: str, member: str, **arguments: Any) -> Iterable[Any]:
    return (entry for page in _pages(client, operation, **arguments) for entry in page.get(member, []))


@api_call("list the stacks")
def stacks(scope: Scope) -> list[Resource]:
    """Stacks, with their status and parameters, among which ``Application`` says for certain whose they are."""
    found = _entries(scope.clients["cloudformation"], "describe_stacks", "Stacks")
    return [
        {"name": each["StackName"], "status": each["StackStatus"], "parameters": _parameters(each)}
        for each in found
        if scope.owns(each["StackName"])
    ]


def _parameters(stack: dict[str, Any]) -> dict[str, str]:
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", [])}


@api_call("list the tables")
def tables(scope: Scope) -> list[Resource]:
    """Tables, replicas included."""
    found = _entries(scope.clients["dynamodb"], "list_tables", "TableNames")
    return [{"name": name} for name in found if scope.owns(name)]


@api_call("list the buckets")
def buckets(scope: Scope) -> list[Resource]:
    """Buckets of this region; their names end with it and the purpose."""
    found = _entries(scope.clients["s3"], "list_buckets", "Buckets")
    return [
        {"name": each["Name"]} for each in found if scope.owns(each["Name"]) and f"-{scope.region}-" in each["Name"]
    ]


@api_call("list the queues")
def queues(scope: Scope) -> list[Resource]:
    """Queues."""
    found = _entries(scope.clients["sqs"], "list_queues", "QueueUrls", QueueNamePrefix=f"{scope.application}-")
    return [{"name": url.rsplit("/", 1)[-1]} for url in found]


@api_call("list the event buses")
def event_buses(scope: Scope) -> list[Resource]:
    """Event buses, with the names of their rules."""
    events = scope.clients["events"]
    names = [
        each["Name"] for each in _entries(events, "list_event_buses", "EventBuses", NamePrefix=f"{scope.application}-")
    ]
    return [
        {
            "name": name,
            "rules": sorted(rule["Name"] for rule in _entries(events, "list_rules", "Rules", EventBusName=name)),
        }
        for name in names
    ]


@api_call("list the pipes")
def pipes(scope: Scope) -> list[Resource]:
    """Pipes, with their state."""
    found = _entries(scope.clients["pipes"], "list_pipes", "Pipes", NamePrefix=f"{scope.application}-")
    return [{"name": each["Name"], "status": each["CurrentState"]} for each in found]


@api_call("list the state machines")
def state_machines(scope: Scope) -> list[Resource]:
    """State machines, with their type."""
    found = _entries(scope.clients["stepfunctions"], "list_state_machines", "stateMachines")
    return [{"name": each["name"], "type": each["type"]} for each in found if scope.owns(each["name"])]


@api_call("list the functions")
def functions(scope: Scope) -> list[Resource]:
    """Lambda functions."""
    found = _entries(scope.clients["lambda"], "list_functions", "Functions")
    return [{"name": each["FunctionName"]} for each in found if scope.owns(each["FunctionName"])]


@api_call("list the log groups")
def log_groups(scope: Scope) -> list[Resource]:
    """Log groups of state machines, functions and APIs."""
    prefixes = [
        f"/aws/vendedlogs/states/{scope.application}",
        f"/aws/vendedlogs/apigateway/{scope.application}-",
        f"/aws/lambda/{scope.application}-",
    ]
    return [
        {"name": each["logGroupName"]}
        for prefix in prefixes
        for each in _entries(scope.clients["logs"], "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
    ]


@api_call("list the alarms")
def alarms(scope: Scope) -> list[Resource]:
    """Metric and composite alarms, with their state."""
    pages = _pages(
        scope.clients["cloudwatch"],
        "describe_alarms",
        AlarmNamePrefix=f"{scope.application}-",
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
    )
    return [
        {"name": each["AlarmName"], "status": each["StateValue"]}
        for page in pages
        for kind in ("MetricAlarms", "CompositeAlarms")
        for each in page.get(kind, [])
    ]


@api_call("list the secrets")
def secrets(scope: Scope) -> list[Resource]:
    """Secrets of Secrets Manager, those that wait for their deletion too; never a value."""
    filters = [{"Key": "name", "Values": [f"{scope.application}-"]}]
    found = _entries(
        scope.clients["secretsmanager"], "list_secrets", "SecretList", Filters=filters, IncludePlannedDeletion=True
    )
    return [{"name": each["Name"]} for each in found if scope.owns(each["Name"])]


@api_call("list the topic rules")
def topic_rules(scope: Scope) -> list[Resource]:
    """Topic rules; their names have underscores for hyphens."""
    prefix = f"{scope.application}-".replace("-", "_")
    found = _entries(scope.clients["iot"], "list_topic_rules", "rules")
    return [{"name": each["ruleName"]} for each in found if each["ruleName"].startswith(prefix)]


@api_call("list the device policies")
def iot_policies(scope: Scope) -> list[Resource]:
    """IoT policies."""
    found = _entries(scope.clients["iot"], "list_policies", "policies")
    return [{"name": each["policyName"]} for each in found if scope.owns(each["policyName"])]


@api_call("list the thing types")
def thing_types(scope: Scope) -> list[Resource]:
    """Thing types."""
    found = _entries(scope.clients["iot"], "list_thing_types", "thingTypes")
    return [{"name": each["thingTypeName"]} for each in found if scope.owns(each["thingTypeName"])]


@api_call("list the provisioning templates")
def provisioning_templates(scope: Scope) -> list[Resource]:
    """Provisioning templates."""
    found = _entries(scope.clients["iot"], "list_provisioning_templates", "templates")
    return [{"name": each["templateName"]} for each in found if scope.owns(each["templateName"])]


@api_call("list the domain configurations")
def domain_configurations(scope: Scope) -> list[Resource]:
    """Domain configurations, with domain, status and the certificates that they serve."""
    iot = scope.clients["iot"]
    found = _entries(iot, "list_domain_configurations", "domainConfigurations")
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
    found = _entries(acm, "list_certificates", "CertificateSummaryList", Includes={"keyTypes": key_types})
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


def ca_certificates(scope: Scope) -> list[Resource]:
    """The registered CAs whose certificates have the fleet's fingerprints."""
    found = [find_ca(scope.clients["iot"], each) for each in scope.ca_fingerprints]
    return [
        {
            "id": each["certificateId"],
            "arn": each["certificateArn"],
            "status": each["status"],
            "auto_registration": each["autoRegistrationStatus"],
            "mode": each.get("certificateMode"),
        }
        for each in found
        if each is not None
    ]


def claim_certificates(scope: Scope) -> list[Resource]:
    """Claim certificates, with their status."""
    found = find_claims(scope.clients["iot"], scope.application)
    return [{"id": each.certificate_id, "arn": each.arn, "status": each.status} for each in found]


def devices(scope: Scope) -> list[Resource]:
    """Number of things of the fleet's type and of certificates that its CA registered; empty when there is neither."""
    iot = scope.clients["iot"]
    certificates = {each for ca in ca_certificates(scope) for each in certificates_of_ca(iot, ca["id"])}
    counts = {"things": len(things_of_type(iot, f"{scope.application}-device")), "certificates": len(certificates)}
    return [counts] if any(counts.values()) else []


@none_if_missing
@api_call("list the DNS records")
def _records(scope: Scope) -> list[dict[str, Any]] | None:
    route53 = scope.clients["route53"]
    found = _entries(route53, "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=scope.hosted_zone_id)
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
        for each in _entries(scope.clients["route53"], "list_health_checks", "HealthChecks")
        if each["Id"] in used or each["HealthCheckConfig"].get("FullyQualifiedDomainName") == watched
    ]


@api_call("list the roles of the stacks")
def iam_roles(scope: Scope) -> list[Resource]:
    """IAM roles of this region's stacks; roles belong to no region, and their names do not tell."""
    cloudformation = scope.clients["cloudformation"]
    return [
        {"name": each["PhysicalResourceId"]}
        for stack in stacks(scope)
        for each in _entries(cloudformation, "list_stack_resources", "StackResourceSummaries", StackName=stack["name"])
        if each["ResourceType"] == "AWS::IAM::Role" and each.get("PhysicalResourceId")
    ]


@dataclass(frozen=True)
class Reader:
    """How one kind is read, and the services it asks."""

    read: Callable[[Scope], list[Resource]]
    services: tuple[str, ...]


READERS: dict[str, Reader] = {
    "alarms": Reader(alarms, ("cloudwatch",)),
    "buckets": Reader(buckets, ("s3",)),
    "ca_certificates": Reader(ca_certificates, ("iot",)),
    "claim_certificates": Reader(claim_certificates, ("iot",)),
    "devices": Reader(devices, ("iot",)),
    "dns_records": Reader(dns_records, ("route53",)),
    "domain_configurations": Reader(domain_configurations, ("iot",)),
    "event_buses": Reader(event_buses, ("events",)),
    "functions": Reader(functions, ("lambda",)),
    "health_checks": Reader(health_checks, ("iot", "route53")),
    "iam_roles": Reader(iam_roles, ("cloudformation",)),
    "iot_policies": Reader(iot_policies, ("iot",)),
    "log_groups": Reader(log_groups, ("logs",)),
    "pipes": Reader(pipes, ("pipes",)),
    "provisioning_templates": Reader(provisioning_templates, ("iot",)),
    "queues": Reader(queues, ("sqs",)),
    "secrets": Reader(secrets, ("secretsmanager",)),
    "server_certificates": Reader(server_certificates, ("acm",)),
    "stacks": Reader(stacks, ("cloudformation",)),
    "state_machines": Reader(state_machines, ("stepfunctions",)),
    "tables": Reader(tables, ("dynamodb",)),
    "thing_types": Reader(thing_types, ("iot",)),
    "topic_rules": Reader(topic_rules, ("iot",)),
}


def read_all(scope: Scope, kinds: Iterable[str]) -> dict[str, list[Resource]]:
    """Read the kinds at the same time; every list is sorted, so that two listings of the same state are equal."""
    kinds = sorted(kinds)
    with ThreadPoolExecutor(max_workers=8) as pool:
        lists = pool.map(lambda kind: sorted(READERS[kind].read(scope), key=str), kinds)
        return dict(zip(kinds, lists, strict=True))


__all__ = ["READERS", "Scope", "read_all"]
