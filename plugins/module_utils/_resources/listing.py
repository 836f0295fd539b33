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

from ansible_collections.iotops.fleet.plugins.module_utils._resources import endpoint, iot
from ansible_collections.iotops.fleet.plugins.module_utils._resources.scope import Resource, Scope, entries, pages
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call


@api_call("list the stacks")
def stacks(scope: Scope) -> list[Resource]:
    """Stacks, with their status and parameters, among which ``Application`` says for certain whose they are."""
    found = entries(scope.clients["cloudformation"], "describe_stacks", "Stacks")
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
    found = entries(scope.clients["dynamodb"], "list_tables", "TableNames")
    return [{"name": name} for name in found if scope.owns(name)]


@api_call("list the buckets")
def buckets(scope: Scope) -> list[Resource]:
    """Buckets of this region; their names end with it and the purpose."""
    found = entries(scope.clients["s3"], "list_buckets", "Buckets")
    return [
        {"name": each["Name"]} for each in found if scope.owns(each["Name"]) and f"-{scope.region}-" in each["Name"]
    ]


@api_call("list the queues")
def queues(scope: Scope) -> list[Resource]:
    """Queues."""
    found = entries(scope.clients["sqs"], "list_queues", "QueueUrls", QueueNamePrefix=f"{scope.application}-")
    return [{"name": url.rsplit("/", 1)[-1]} for url in found]


@api_call("list the event buses")
def event_buses(scope: Scope) -> list[Resource]:
    """Event buses, with the names of their rules."""
    events = scope.clients["events"]
    names = [
        each["Name"] for each in entries(events, "list_event_buses", "EventBuses", NamePrefix=f"{scope.application}-")
    ]
    return [
        {
            "name": name,
            "rules": sorted(rule["Name"] for rule in entries(events, "list_rules", "Rules", EventBusName=name)),
        }
        for name in names
    ]


@api_call("list the pipes")
def pipes(scope: Scope) -> list[Resource]:
    """Pipes, with their state."""
    found = entries(scope.clients["pipes"], "list_pipes", "Pipes", NamePrefix=f"{scope.application}-")
    return [{"name": each["Name"], "status": each["CurrentState"]} for each in found]


@api_call("list the state machines")
def state_machines(scope: Scope) -> list[Resource]:
    """State machines, with their type."""
    found = entries(scope.clients["stepfunctions"], "list_state_machines", "stateMachines")
    return [{"name": each["name"], "type": each["type"]} for each in found if scope.owns(each["name"])]


@api_call("list the functions")
def functions(scope: Scope) -> list[Resource]:
    """Lambda functions."""
    found = entries(scope.clients["lambda"], "list_functions", "Functions")
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
        for each in entries(scope.clients["logs"], "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
    ]


@api_call("list the alarms")
def alarms(scope: Scope) -> list[Resource]:
    """Metric and composite alarms, with their state."""
    found = pages(
        scope.clients["cloudwatch"],
        "describe_alarms",
        AlarmNamePrefix=f"{scope.application}-",
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
    )
    return [
        {"name": each["AlarmName"], "status": each["StateValue"]}
        for page in found
        for kind in ("MetricAlarms", "CompositeAlarms")
        for each in page.get(kind, [])
    ]


@api_call("list the secrets")
def secrets(scope: Scope) -> list[Resource]:
    """Secrets of Secrets Manager, those that wait for their deletion too; never a value."""
    filters = [{"Key": "name", "Values": [f"{scope.application}-"]}]
    found = entries(
        scope.clients["secretsmanager"], "list_secrets", "SecretList", Filters=filters, IncludePlannedDeletion=True
    )
    return [{"name": each["Name"]} for each in found if scope.owns(each["Name"])]


@api_call("list the roles of the stacks")
def iam_roles(scope: Scope) -> list[Resource]:
    """IAM roles of this region's stacks; roles belong to no region, and their names do not tell."""
    cloudformation = scope.clients["cloudformation"]
    return [
        {"name": each["PhysicalResourceId"]}
        for stack in stacks(scope)
        for each in entries(cloudformation, "list_stack_resources", "StackResourceSummaries", StackName=stack["name"])
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
    "ca_certificates": Reader(iot.ca_certificates, ("iot",)),
    "claim_certificates": Reader(iot.claim_certificates, ("iot",)),
    "devices": Reader(iot.devices, ("iot",)),
    "dns_records": Reader(endpoint.dns_records, ("route53",)),
    "domain_configurations": Reader(endpoint.domain_configurations, ("iot",)),
    "event_buses": Reader(event_buses, ("events",)),
    "functions": Reader(functions, ("lambda",)),
    "health_checks": Reader(endpoint.health_checks, ("iot", "route53")),
    "iam_roles": Reader(iam_roles, ("cloudformation",)),
    "iot_policies": Reader(iot.iot_policies, ("iot",)),
    "log_groups": Reader(log_groups, ("logs",)),
    "pipes": Reader(pipes, ("pipes",)),
    "provisioning_templates": Reader(iot.provisioning_templates, ("iot",)),
    "queues": Reader(queues, ("sqs",)),
    "secrets": Reader(secrets, ("secretsmanager",)),
    "server_certificates": Reader(endpoint.server_certificates, ("acm",)),
    "stacks": Reader(stacks, ("cloudformation",)),
    "state_machines": Reader(state_machines, ("stepfunctions",)),
    "tables": Reader(tables, ("dynamodb",)),
    "thing_types": Reader(iot.thing_types, ("iot",)),
    "topic_rules": Reader(iot.topic_rules, ("iot",)),
}


def read_all(scope: Scope, kinds: Iterable[str]) -> dict[str, list[Resource]]:
    """Read the kinds at the same time; every list is sorted, so that two listings of the same state are equal."""
    kinds = sorted(kinds)
    with ThreadPoolExecutor(max_workers=8) as pool:
        lists = pool.map(lambda kind: sorted(READERS[kind].read(scope), key=str), kinds)
        return dict(zip(kinds, lists, strict=True))


__all__ = ["READERS", "Scope", "read_all"]
