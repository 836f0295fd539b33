"""Everything that stands in an account, per region, with what chance decides replaced by its kind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from iotops.sandbox.client import Sandbox

CHANCE = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<digest>"),
    (re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]+(Z|\+00:00)?"), "<time>"),
    (re.compile(r"-\d\d-\d\d\.\d{3}\b"), "-<stream>"),
    (re.compile(r"http://[\w.:]+/"), "<gateway>/"),
    (re.compile(r"-[A-Za-z0-9]{12,13}\b(?=$|[\"'/:])"), "-<suffix>"),
]

# service, operation, member that lists, attributes that describe an entry
REGIONAL: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("acm", "list_certificates", "CertificateSummaryList", ("DomainName", "Type", "Status")),
    ("apigatewayv2", "get_apis", "Items", ("Name", "ProtocolType")),
    ("cloudformation", "describe_stacks", "Stacks", ("StackName", "StackStatus", "Tags")),
    ("cloudwatch", "describe_alarms", "MetricAlarms", ("AlarmName",)),
    ("dynamodb", "list_tables", "TableNames", ()),
    ("events", "list_event_buses", "EventBuses", ("Name",)),
    ("iot", "list_ca_certificates", "certificates", ("status",)),
    ("iot", "list_certificates", "certificates", ("status",)),
    ("iot", "list_domain_configurations", "domainConfigurations", ("domainConfigurationName",)),
    ("iot", "list_policies", "policies", ("policyName",)),
    ("iot", "list_thing_types", "thingTypes", ("thingTypeName",)),
    ("iot", "list_things", "things", ("thingName", "thingTypeName")),
    ("iot", "list_topic_rules", "rules", ("ruleName", "topicPattern")),
    ("lambda", "list_functions", "Functions", ("FunctionName", "Runtime", "Handler", "Architectures")),
    ("logs", "describe_log_groups", "logGroups", ("logGroupName",)),
    ("pipes", "list_pipes", "Pipes", ("Name", "CurrentState")),
    ("secretsmanager", "list_secrets", "SecretList", ("Name",)),
    ("sqs", "list_queues", "QueueUrls", ()),
    ("stepfunctions", "list_state_machines", "stateMachines", ("name", "type")),
]
GLOBAL: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("iam", "list_roles", "Roles", ("RoleName",)),
    ("route53", "list_health_checks", "HealthChecks", ("HealthCheckConfig",)),
]


def without_chance(value: Any) -> str:
    """Text of ``value`` with ids, digests and times replaced by their kind."""
    text = str(value)
    for pattern, kind in CHANCE:
        text = pattern.sub(kind, text)
    return text


def _entries(client: Any, operation: str, member: str, attributes: tuple[str, ...]) -> Iterable[str]:
    pages = (
        client.get_paginator(operation).paginate() if client.can_paginate(operation) else [getattr(client, operation)()]
    )
    for page in pages:
        for entry in page.get(member, []):
            yield without_chance([entry.get(a) for a in attributes] if attributes else entry)


def _stack_resources(cloudformation: Any) -> Iterable[str]:
    for stack in cloudformation.describe_stacks()["Stacks"]:
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack["StackName"]):
            for resource in page["StackResourceSummaries"]:
                described = (resource[key] for key in ("LogicalResourceId", "ResourceType", "ResourceStatus"))
                yield " ".join([stack["StackName"], *described])


def _records(route53: Any) -> Iterable[str]:
    for zone in route53.list_hosted_zones()["HostedZones"]:
        for page in route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone["Id"]):
            for record in page["ResourceRecordSets"]:
                yield without_chance([zone["Name"], record["Type"], record.get("SetIdentifier"), record.get("Region")])


def _objects(s3: Any) -> Iterable[str]:
    for bucket in s3.list_buckets()["Buckets"]:
        yield bucket["Name"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
            yield from (f"{bucket['Name']}/{without_chance(o['Key'])}" for o in page.get("Contents", []))


def resources(sandbox: Sandbox, regions: Iterable[str]) -> dict[str, list[str]]:
    """``{"<region> <service> <list>": [entry, ...]}``, sorted and without what chance decides; empty lists left out."""
    found: dict[str, list[str]] = {}
    for region in regions:
        for service, operation, member, attributes in REGIONAL:
            found[f"{region} {service} {member}"] = list(
                _entries(sandbox.client(service, region), operation, member, attributes)
            )
        found[f"{region} cloudformation resources"] = list(_stack_resources(sandbox.client("cloudformation", region)))
        found[f"{region} iot events"] = [
            without_chance(sandbox.client("iot", region).describe_event_configurations().get("eventConfigurations", {}))
        ]
    home = next(iter(regions))
    for service, operation, member, attributes in GLOBAL:
        found[f"{service} {member}"] = list(_entries(sandbox.client(service, home), operation, member, attributes))
    found["route53 records"] = list(_records(sandbox.client("route53", home)))
    found["s3 objects"] = list(_objects(sandbox.client("s3", home)))
    return {name: sorted(entries) for name, entries in found.items() if entries}
