# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource types that the base's CloudFormation lacks.

Each type has functions ``create(logical_id, properties, stack_name)`` and ``update(physical_id, old, new,
stack_name)``, which answer the physical id and the attributes for GetAtt, and ``delete(physical_id, properties)``.
Source: the AWS resource and property types reference of the CloudFormation template reference.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core.responses import get_account_id, new_uuid
from ministack.services import cloudwatch, route53
from ministack.services.cloudformation import provisioners

from iotops.sandbox import cloudformation_properties, iot_api

__all__ = ["install"]

Made = tuple[str, dict[str, Any]]
Properties = dict[str, Any]


# --- AWS::Route53::HealthCheck ---------------------------------------------------------------------------------------

_NUMBERS = ("Port", "RequestInterval", "FailureThreshold", "HealthThreshold")
_SWITCHES = ("MeasureLatency", "EnableSNI", "Inverted", "Disabled")
_FIXED = ("Type", "RequestInterval", "MeasureLatency", "RoutingControlArn")  # a change replaces the check


def _health_check_configuration(props: Properties) -> Properties:
    configuration = dict(props.get("HealthCheckConfig") or {})
    if not configuration.get("Type"):
        raise ValueError("HealthCheckConfig.Type is required")
    if configuration["Type"] not in ("CALCULATED", "CLOUDWATCH_METRIC", "RECOVERY_CONTROL"):
        configuration = {"RequestInterval": 30, "FailureThreshold": 3, **configuration}
        if not configuration.get("FullyQualifiedDomainName") and not configuration.get("IPAddress"):
            raise ValueError("HealthCheckConfig needs FullyQualifiedDomainName or IPAddress")
        if int(configuration["RequestInterval"]) not in (10, 30):
            raise ValueError("HealthCheckConfig.RequestInterval must be 10 or 30")
    for name in _NUMBERS:
        if name in configuration:
            configuration[name] = int(configuration[name])
    for name in _SWITCHES:
        if name in configuration:
            configuration[name] = str(configuration[name]).lower() == "true"
    return configuration


def _health_check_create(logical_id: str, props: Properties, stack_name: str) -> Made:
    del logical_id, stack_name
    identity, reference = route53._hc_id(), new_uuid()
    route53._health_checks[identity] = {
        "id": identity,
        "caller_reference": reference,
        "config": _health_check_configuration(props),
        "version": 1,
    }
    route53._hc_caller_refs[reference] = identity
    _tag_health_check(identity, props)
    return identity, {"HealthCheckId": identity}


def _tag_health_check(identity: str, props: Properties) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in props.get("HealthCheckTags") or []}
    route53._tags[("healthcheck", identity)] = tags


def _health_check_update(physical_id: str, old: Properties, new: Properties, stack_name: str) -> Made:
    before, after = _health_check_configuration(old), _health_check_configuration(new)
    if any(before.get(name) != after.get(name) for name in _FIXED):
        made = _health_check_create("", new, stack_name)
        provisioners._delete_predecessor(_health_check_delete, physical_id, old)
        return made
    check = route53._health_checks[physical_id]
    check.update(config=after, version=check["version"] + 1)
    _tag_health_check(physical_id, new)
    return physical_id, {"HealthCheckId": physical_id}


def _health_check_delete(physical_id: str, props: Properties) -> None:
    del props
    check = route53._health_checks.pop(physical_id, None)
    if check:
        route53._hc_caller_refs.pop(check["caller_reference"], None)
        route53._tags.pop(("healthcheck", physical_id), None)


# --- AWS::Route53::RecordSetGroup ------------------------------------------------------------------------------------


def _records_of_group(props: Properties) -> list[Properties]:
    zone = {key: props[key] for key in ("HostedZoneId", "HostedZoneName") if props.get(key)}
    return [{**zone, **record} for record in props.get("RecordSets") or []]


def _record_key(props: Properties) -> tuple[Any, ...]:
    record = provisioners._r53_record_set_build_rs(props)
    return (provisioners._r53_resolve_hosted_zone_id(props), *route53._rs_key(record))


def _record_group_create(logical_id: str, props: Properties, stack_name: str) -> Made:
    made: list[Properties] = []
    for record in _records_of_group(props):
        try:
            provisioners._r53_record_set_create(logical_id, record, stack_name)
        except Exception:
            for other in made:
                provisioners._r53_record_set_delete("", other)
            raise
        made.append(record)
    return provisioners._physical_name(stack_name, logical_id), {}


def _record_group_update(physical_id: str, old: Properties, new: Properties, stack_name: str) -> Made:
    before = {_record_key(record): record for record in _records_of_group(old)}
    after = {_record_key(record): record for record in _records_of_group(new)}
    for key, record in before.items():
        if after.get(key) != record:
            provisioners._r53_record_set_delete("", record)
    for key, record in after.items():
        if before.get(key) != record:
            provisioners._r53_record_set_create("", record, stack_name)
    return physical_id, {}


def _record_group_delete(physical_id: str, props: Properties) -> None:
    for record in _records_of_group(props):
        provisioners._r53_record_set_delete(physical_id, record)


# --- AWS::CloudWatch::CompositeAlarm ---------------------------------------------------------------------------------


def _composite_alarm_put(name: str, props: Properties) -> Made:
    if not props.get("AlarmRule"):
        raise ValueError("AlarmRule is required")
    request = {**props, "AlarmName": name, "ActionsEnabled": str(props.get("ActionsEnabled", True)).lower() == "true"}
    is_new = name not in cloudwatch._composite_alarms
    if not is_new or not request.get("Tags"):
        request.pop("Tags", None)
    else:
        request["Tags"] = [tag for tag in request["Tags"] if not tag["Key"].startswith("aws:")]
    answer = cloudwatch._put_composite_alarm({}, request, False, True)
    if answer[0] >= 400:
        raise ValueError(json.loads(answer[2]).get("message") or str(answer[2]))
    return name, {"Arn": cloudwatch._composite_alarms[name]["AlarmArn"]}


def _composite_alarm_create(logical_id: str, props: Properties, stack_name: str) -> Made:
    name = props.get("AlarmName") or provisioners._physical_name(stack_name, logical_id, max_len=255)
    if name in cloudwatch._composite_alarms:
        raise ValueError(f"{name} already exists")
    return _composite_alarm_put(name, props)


def _composite_alarm_update(physical_id: str, old: Properties, new: Properties, stack_name: str) -> Made:
    if new.get("AlarmName", physical_id) != physical_id:
        made = _composite_alarm_create("", new, stack_name)
        provisioners._delete_predecessor(_composite_alarm_delete, physical_id, old)
        return made
    return _composite_alarm_put(physical_id, new)


def _composite_alarm_delete(physical_id: str, props: Properties) -> None:
    del props
    cloudwatch._composite_alarms.pop(physical_id, None)


# --- AWS::IoT::Logging -----------------------------------------------------------------------------------------------


def _logging_put(props: Properties) -> Made:
    if props.get("AccountId") != get_account_id():
        raise ValueError(f"AccountId {props.get('AccountId')} is not the account of the stack")
    if not props.get("DefaultLogLevel") or not props.get("RoleArn"):
        raise ValueError("DefaultLogLevel and RoleArn are required")
    iot_api._logging_options["v2"] = {
        "roleArn": props["RoleArn"],
        "defaultLogLevel": props["DefaultLogLevel"],
        "disableAllLogs": False,
    }
    return props["AccountId"], {}


def _logging_create(logical_id: str, props: Properties, stack_name: str) -> Made:
    del logical_id, stack_name
    if not iot_api._logging_options.get("v2", {"disableAllLogs": True})["disableAllLogs"]:
        raise ValueError(f"Resource of type 'AWS::IoT::Logging' with identifier '{get_account_id()}' already exists.")
    return _logging_put(props)


def _logging_update(physical_id: str, old: Properties, new: Properties, stack_name: str) -> Made:
    del physical_id, old, stack_name
    return _logging_put(new)


def _logging_delete(physical_id: str, props: Properties) -> None:
    del physical_id, props
    iot_api._logging_options.pop("v2", None)


_TYPES = {
    "AWS::CloudWatch::CompositeAlarm": (_composite_alarm_create, _composite_alarm_update, _composite_alarm_delete),
    "AWS::IoT::Logging": (_logging_create, _logging_update, _logging_delete),
    "AWS::Route53::HealthCheck": (_health_check_create, _health_check_update, _health_check_delete),
    "AWS::Route53::RecordSetGroup": (_record_group_create, _record_group_update, _record_group_delete),
}
_TAGS = {"AWS::CloudWatch::CompositeAlarm": "Tags", "AWS::Route53::HealthCheck": "HealthCheckTags"}


def install() -> None:
    """Add the types, and what the base drops of those it has."""
    cloudformation_properties.install()
    for kind, (create, update, delete) in _TYPES.items():
        provisioners._RESOURCE_HANDLERS.setdefault(kind, {"create": create, "update": update, "delete": delete})
    for kind, name in _TAGS.items():
        provisioners._STACK_TAG_PROPERTY.setdefault(kind, (name, "list"))
