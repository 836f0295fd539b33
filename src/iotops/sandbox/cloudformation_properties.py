# SPDX-License-Identifier: GPL-3.0-or-later
"""What the base's CloudFormation drops or overlooks in types it knows.

Logging of state machines; backups, expiry and protection of tables; validation records of certificates; the registry
events of things, types and groups; and the refusal to take over a resource that is there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ministack.services import acm, cloudwatch_logs, dynamodb, eventbridge, iot, pipes, route53, sqs
from ministack.services import stepfunctions as sfn
from ministack.services.cloudformation import provisioners

from iotops.sandbox import machine_permissions, service_tasks

__all__ = ["install"]

Properties = dict[str, Any]


def _flag(value: Any) -> bool:
    return str(value).lower() == "true"


# --- refusing what exists --------------------------------------------------------------------------------------------


# type: (property that names the resource, whether one of that name exists)
_EXISTS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "AWS::DynamoDB::Table": ("TableName", lambda name: name in dynamodb._tables),
    "AWS::Events::EventBus": ("Name", lambda name: name in eventbridge._event_buses),
    "AWS::IoT::TopicRule": ("RuleName", lambda name: name in iot._topic_rules),
    "AWS::Logs::LogGroup": ("LogGroupName", lambda name: name in cloudwatch_logs._log_groups),
    "AWS::Pipes::Pipe": ("Name", lambda name: name in pipes._pipes),
    "AWS::SQS::Queue": ("QueueName", lambda name: name in sqs._queue_name_to_url),
    "AWS::StepFunctions::StateMachine": (
        "StateMachineName",
        lambda name: service_tasks.arn_of_machine(name) in sfn._state_machines,
    ),
}


def _unless_there(kind: str, create: Any) -> Any:
    key, exists = _EXISTS[kind]

    def checked(logical_id: str, props: Properties, stack_name: str) -> Any:
        name = props.get(key)
        if name and exists(name):
            raise ValueError(f"Resource of type '{kind}' with identifier '{name}' already exists.")
        return create(logical_id, props, stack_name)

    return checked


# --- AWS::StepFunctions::StateMachine --------------------------------------------------------------------------------


def _with_api_logging(props: Properties) -> Properties:
    """The properties with the logging configuration in the spelling of the API, in which the base keeps it."""
    if "LoggingConfiguration" not in props:
        return props
    given = props["LoggingConfiguration"] or {}
    destinations = [
        {"cloudWatchLogsLogGroup": {"logGroupArn": entry["CloudWatchLogsLogGroup"]["LogGroupArn"]}}
        for entry in given.get("Destinations") or []
    ]
    level = given.get("Level", "OFF")
    logging = {"level": level, "includeExecutionData": _flag(given.get("IncludeExecutionData", False))}
    return {**props, "LoggingConfiguration": {**logging, **({"destinations": destinations} if destinations else {})}}


def _checked_machine(props: Properties) -> Properties:
    props = _with_api_logging(props)
    arn = service_tasks.arn_of_machine(props.get("StateMachineName") or "unnamed")
    refusal = machine_permissions.refusal(props.get("RoleArn"), arn, props.get("LoggingConfiguration") or {})
    if refusal:
        raise ValueError(f"{refusal[1]} (Service: Sfn, Status Code: 400)")
    return props


def _machine_create(create: Any) -> Any:
    return lambda logical_id, props, stack_name: create(logical_id, _checked_machine(props), stack_name)


def _machine_update(update: Any) -> Any:
    def machine_update(physical_id: str, old: Properties, new: Properties, stack_name: str, *more: Any) -> Any:
        return update(physical_id, _with_api_logging(old), _checked_machine(new), stack_name, *more)

    return machine_update


# --- AWS::DynamoDB::Table --------------------------------------------------------------------------------------------


def _with_protection(props: Properties) -> Properties:
    return {**props, "DeletionProtectionEnabled": _flag(props.get("DeletionProtectionEnabled", False))}


def _configure_table(name: str, props: Properties) -> None:
    recovery = props.get("PointInTimeRecoverySpecification") or {}
    dynamodb._pitr_settings[name] = _flag(recovery.get("PointInTimeRecoveryEnabled"))
    expiry = props.get("TimeToLiveSpecification") or {}
    if _flag(expiry.get("Enabled")):
        dynamodb._ttl_settings[name] = {"TimeToLiveStatus": "ENABLED", "AttributeName": expiry["AttributeName"]}
    else:
        dynamodb._ttl_settings.pop(name, None)


def _table_create(create: Any) -> Any:
    def table_create(logical_id: str, props: Properties, stack_name: str) -> Any:
        name, attributes = create(logical_id, _with_protection(props), stack_name)
        table = dynamodb._tables[name]
        if table.get("LatestStreamArn"):
            table["LatestStreamLabel"] = table["LatestStreamArn"].rpartition("/")[2]
        for index in table.get("GlobalSecondaryIndexes") or []:
            index.update(IndexStatus="ACTIVE", IndexArn=f"{table['TableArn']}/index/{index['IndexName']}")
        _configure_table(name, props)
        return name, attributes

    return table_create


def _table_update(update: Any) -> Any:
    def table_update(physical_id: str, old: Properties, new: Properties, stack_name: str, *more: Any) -> Any:
        name, attributes = update(physical_id, _with_protection(old), _with_protection(new), stack_name, *more)
        _configure_table(name, new)
        return name, attributes

    return table_update


def _table_delete(_delete: Any) -> Any:
    def table_delete(physical_id: str, props: Properties) -> None:
        del props
        if dynamodb._tables.get(physical_id, {}).get("DeletionProtectionEnabled"):
            raise ValueError("Resource cannot be deleted as it is currently protected against deletion.")
        dynamodb._delete_table({"TableName": physical_id})

    return table_delete


# --- AWS::CertificateManager::Certificate ----------------------------------------------------------------------------


def _certificate_create(create: Any) -> Any:
    def certificate_create(logical_id: str, props: Properties, stack_name: str) -> Any:
        zones = {
            option["DomainName"]: option.get("HostedZoneId") for option in props.get("DomainValidationOptions") or []
        }
        for zone in filter(None, zones.values()):
            if zone.removeprefix("/hostedzone/") not in route53._zones:
                raise ValueError(f"No hosted zone found with ID: {zone}")
        arn, attributes = create(logical_id, props, stack_name)
        for option in acm._certificates[arn]["DomainValidationOptions"]:
            zone = zones.get(option["DomainName"]) or zones.get(props["DomainName"])
            if zone and "ResourceRecord" in option:
                _add_validation_record(zone.removeprefix("/hostedzone/"), option["ResourceRecord"])
        return arn, attributes

    return certificate_create


def _add_validation_record(zone: str, record: dict[str, str]) -> None:
    """The same name in every region: the second stack finds it there. CloudFormation never deletes it."""
    wanted = {"Name": record["Name"], "Type": record["Type"], "TTL": "300", "ResourceRecords": [record["Value"]]}
    records = list(route53._records.get(zone) or [])
    if route53._rs_key(wanted) not in [route53._rs_key(present) for present in records]:
        route53._records[zone] = [*records, wanted]


# --- AWS::IoT::Thing, ThingGroup and ThingType -----------------------------------------------------------------------


_publishing: set[asyncio.Task[None]] = set()


def _reported(handler: Any) -> Any:
    def reporting(*arguments: Any, **named: Any) -> Any:
        """The base publishes the events of API calls only."""
        events: list[Any] = []
        token = iot._pending_events.set(events)
        try:
            return handler(*arguments, **named)
        finally:
            iot._pending_events.reset(token)
            for event in events:
                task = asyncio.get_running_loop().create_task(iot._publish_event(*event))
                _publishing.add(task)
                task.add_done_callback(_publishing.discard)

    return reporting


# type: {operation: function that wraps the base's}
_WRAPPED: dict[str, dict[str, Callable[[Any], Any]]] = {
    "AWS::CertificateManager::Certificate": {"create": _certificate_create},
    "AWS::DynamoDB::Table": {"create": _table_create, "update": _table_update, "delete": _table_delete},
    "AWS::StepFunctions::StateMachine": {"create": _machine_create, "update": _machine_update},
}


def install() -> None:
    """Wrap the handlers of the base's table."""
    handlers = provisioners._RESOURCE_HANDLERS
    for kind, wrappers in _WRAPPED.items():
        for operation, wrap in wrappers.items():
            handlers[kind][operation] = wrap(handlers[kind][operation])
    for kind in ("AWS::IoT::Thing", "AWS::IoT::ThingGroup", "AWS::IoT::ThingType"):
        for operation in ("create", "update", "delete"):
            handlers[kind][operation] = _reported(handlers[kind][operation])
    for kind in _EXISTS:
        handlers[kind]["create"] = _unless_there(kind, handlers[kind]["create"])
