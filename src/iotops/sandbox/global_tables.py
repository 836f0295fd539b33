# SPDX-License-Identifier: GPL-3.0-or-later
"""Global tables: what CloudFormation's AWS::DynamoDB::GlobalTable does to each replica, and what DynamoDB refuses.

Sources: AWS::DynamoDB::GlobalTable in the CloudFormation template reference; UpdateTable and DeleteTable in the
DynamoDB API reference.
"""

from __future__ import annotations

import copy
import json
import time
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, request_scope
from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners

from iotops.sandbox import replication
from iotops.sandbox.patching import replace
from iotops.sandbox.replication import settings

__all__ = ["install", "settings"]

_SHARED = ("AttributeDefinitions", "BillingModeSummary", "GlobalSecondaryIndexes", "ProvisionedThroughput")
_SOURCE_LOCKED = (
    "Replica cannot be deleted because it has acted as a source region for new replica(s) being added to the table in "
    "the last 24 hours."
)


def _locked(table: dict[str, Any]) -> bool:
    return time.time() - table.get("_seeded_at", float("-inf")) < settings.source_table_lock_seconds


# --- the API ---------------------------------------------------------------------------------------------------------


def _delete_table(original: Any) -> Any:
    def delete_table(data: dict[str, Any]) -> Any:
        table = dynamodb._tables.get(dynamodb._normalize_table_name(data.get("TableName")))
        if table and _locked(table):
            return error_response_json("ValidationException", _SOURCE_LOCKED, 400)
        return original(data)

    return delete_table


def _update_table(original: Any) -> Any:
    def update_table(data: dict[str, Any]) -> Any:
        if len(data.get("ReplicaUpdates") or []) > 1:
            return error_response_json(
                "ValidationException",
                "One or more parameter values were invalid: one replica can be created, updated or deleted at a time",
                400,
            )
        return original(data)

    return update_table


# --- CloudFormation --------------------------------------------------------------------------------------------------


def _replicas(props: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {replica["Region"]: replica for replica in props.get("Replicas") or []}


def _check(props: dict[str, Any]) -> None:
    """What AWS refuses before it makes anything.

    Raises:
        ValueError: the template's replicas cannot be.

    """
    replicas = _replicas(props)
    if get_region() not in replicas:
        raise ValueError(f"Replicas must contain a replica in the Region of the stack, {get_region()}")
    view = (props.get("StreamSpecification") or {}).get("StreamViewType")
    if len(replicas) > 1 and view != "NEW_AND_OLD_IMAGES":
        raise ValueError("StreamSpecification with NEW_AND_OLD_IMAGES is required of a table with several replicas")
    paid = props.get("BillingMode") == "PAY_PER_REQUEST" or props.get("WriteProvisionedThroughputSettings")
    if len(replicas) > 1 and not paid:
        raise ValueError("WriteProvisionedThroughputSettings is required unless BillingMode is PAY_PER_REQUEST")


def _create(original: Any) -> Any:
    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        _check(props)
        name = props.get("TableName") or provisioners._physical_name(stack_name, logical_id, max_len=255)
        for region in _replicas(props):
            if dynamodb._tables.get_scoped(get_account_id(), region, name) is not None:
                raise ValueError(f"{name} already exists in {region} (Service: DynamoDb, Status Code: 400)")
        name, _attributes = original(logical_id, {**props, "TableName": name}, stack_name)
        table = dynamodb._tables[name]
        if table.get("LatestStreamArn"):
            table["LatestStreamLabel"] = dynamodb._stream_label()
            table["LatestStreamArn"] = f"{table['TableArn']}/stream/{table['LatestStreamLabel']}"
        _converge(name, props)
        return name, _attributes_of(table)

    return create


def _update(original: Any) -> Any:
    def update(physical_id: str, old_props: dict[str, Any], new_props: dict[str, Any], stack_name: str) -> Any:
        _check(new_props)
        changed = set(_replicas(old_props)) ^ set(_replicas(new_props))
        if len(changed) > 1:
            raise ValueError(
                "Only one replica can be added or removed in one stack update; this one changes "
                + ", ".join(sorted(changed))
            )
        name, _attributes = original(physical_id, old_props, new_props, stack_name)
        _converge(name, new_props)
        return name, _attributes_of(dynamodb._tables[name])

    return update


def _delete(_original: Any) -> Any:
    def delete(physical_id: str, props: dict[str, Any]) -> None:
        """Remove the other replicas, then the table of the stack's region."""
        del props
        table = dynamodb._tables.get(physical_id)
        if table is None:
            return
        regions = [region for region in dynamodb._replica_group(table) if region != get_region()]
        for region in [*regions, get_region()]:
            with request_scope(get_account_id(), region):
                answer = dynamodb._delete_table({"TableName": physical_id})
                if answer[0] >= 400 and physical_id in dynamodb._tables:
                    raise ValueError(json.loads(answer[2]).get("message"))

    return delete


def _converge(name: str, props: dict[str, Any]) -> None:
    """Make the replicas those of the template, each with its own settings and those that all share."""
    table, wanted = dynamodb._tables[name], _replicas(props)
    have = set(dynamodb._replica_group(table)) or {get_region()}
    updates = [{"Create": {"RegionName": region}} for region in sorted(set(wanted) - have)]
    updates += [{"Delete": {"RegionName": region}} for region in sorted(have - set(wanted))]
    error = dynamodb._apply_replica_updates(name, table, updates) if updates else None
    if error:
        raise ValueError(json.loads(error[2]).get("message"))
    for region, replica in wanted.items():
        with request_scope(get_account_id(), region):
            _set_replica(name, table, props, replica)


def _set_replica(name: str, home: dict[str, Any], props: dict[str, Any], replica: dict[str, Any]) -> None:
    table = dynamodb._tables[name]
    if table is not home:
        table.update({key: copy.deepcopy(home.get(key)) for key in _SHARED})
        table.pop(dynamodb._INDEX_MEMBERS, None)
    for index in table.get("GlobalSecondaryIndexes") or []:
        index.update(IndexStatus="ACTIVE", IndexArn=f"{table['TableArn']}/index/{index['IndexName']}")
        index.setdefault("ItemCount", 0)
        index.setdefault("IndexSizeBytes", 0)
    table["DeletionProtectionEnabled"] = replica.get("DeletionProtectionEnabled") in (True, "true")
    recovery = replica.get("PointInTimeRecoverySpecification") or {}
    dynamodb._pitr_settings[name] = recovery.get("PointInTimeRecoveryEnabled") in (True, "true")
    tags = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in replica.get("Tags") or []]
    dynamodb._tags[table["TableArn"]] = tags
    expiry = props.get("TimeToLiveSpecification") or {}
    if expiry.get("Enabled") in (True, "true"):
        dynamodb._ttl_settings[name] = {"TimeToLiveStatus": "ENABLED", "AttributeName": expiry["AttributeName"]}
    else:
        dynamodb._ttl_settings.pop(name, None)


def _attributes_of(table: dict[str, Any]) -> dict[str, str]:
    attributes = {"Arn": table["TableArn"], "TableId": table["TableId"]}
    if table.get("LatestStreamArn"):
        attributes["StreamArn"] = table["LatestStreamArn"]
    return attributes


def install() -> None:
    """Replicas from CloudFormation, replication as on AWS."""
    replication.install()
    replace(dynamodb, "_delete_table", "data", _delete_table)
    replace(dynamodb, "_update_table", "data", _update_table)
    replace(provisioners, "_ddb_global_table_create", "logical_id, props, stack_name", _create)
    replace(provisioners, "_ddb_global_table_update", "physical_id, old_props, new_props, stack_name", _update)
    replace(provisioners, "_ddb_global_table_delete", "physical_id, props", _delete)
    provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::GlobalTable"].update(
        create=provisioners._ddb_global_table_create,
        update=provisioners._ddb_global_table_update,
        delete=provisioners._ddb_global_table_delete,
    )
