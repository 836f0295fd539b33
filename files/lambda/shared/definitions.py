"""Policies, thing types and thing groups: how an item of the table ``definitions`` and what is in this region compare.

A definition is named as the table's key: ``policy#<name>``, ``type#<name>`` or ``group#<name>``.
"""

from __future__ import annotations

import json
from typing import Any

from aws import aws, code
from botocore.exceptions import ClientError
from rows_table import APPLICATION, REGION, Item, put, read

OWN = f"{APPLICATION}-device"  # policy and type of the fleet's own stack
Document = dict[str, Any]


def here(definition: str) -> Item | None:
    """``{State, Document, Parent?}`` as this region has it, no Document when it is not there; None for a dynamic group.

    A deprecated thing type is DELETED: no thing may get it any more.
    """
    kind, _, name = definition.partition("#")
    try:
        return {"policy": _policy, "type": _type, "group": _group}[kind](name)
    except ClientError as error:
        if code(error) == "ResourceNotFoundException":
            return {"State": "DELETED"}
        raise


def _policy(name: str) -> Item:
    return {"State": "ACTIVE", "Document": json.loads(aws("iot").get_policy(policyName=name)["policyDocument"])}


def _type(name: str) -> Item:
    found = aws("iot").describe_thing_type(thingTypeName=name)
    properties, metadata = found.get("thingTypeProperties") or {}, found.get("thingTypeMetadata") or {}
    document = {
        "description": properties.get("thingTypeDescription") or "",
        "searchableAttributes": sorted(properties.get("searchableAttributes") or []),
    }
    return {"State": "DELETED" if metadata.get("deprecated") else "ACTIVE", "Document": document}


def _group(name: str) -> Item | None:
    found = aws("iot").describe_thing_group(thingGroupName=name)
    if found.get("queryString"):
        return None
    properties, metadata = found.get("thingGroupProperties") or {}, found.get("thingGroupMetadata") or {}
    document = {
        "description": properties.get("thingGroupDescription") or "",
        "attributes": (properties.get("attributePayload") or {}).get("attributes") or {},
    }
    parent = metadata.get("parentGroupName")
    return {"State": "ACTIVE", "Document": document, **({"Parent": parent} if parent else {})}


def document_here(item: Item) -> Document:
    """The item's document with the ARNs of this region."""
    document: Document = json.loads(item["Document"])
    return rewritten(document, item["Region"], REGION) if item["Name"].startswith("policy#") else document


def rewritten(policy: Document, source: str, target: str) -> Document:
    """The policy document with the ARNs of region ``source`` in ``target``; those of any other region stay."""

    def statement(content: Document) -> Document:
        return {
            name: _moved(value, source, target) if name in ("Resource", "NotResource", "Condition") else value
            for name, value in content.items()
        }

    statements = policy.get("Statement", [])
    one = isinstance(statements, dict)
    moved = [statement(each) for each in ([statements] if one else statements)]
    return {**policy, "Statement": moved[0] if one else moved}


def _moved(value: Any, source: str, target: str) -> Any:
    if isinstance(value, list):
        return [_moved(each, source, target) for each in value]
    if isinstance(value, dict):
        return {name: _moved(each, source, target) for name, each in value.items()}
    fields = value.split(":", 5) if isinstance(value, str) else []
    if len(fields) == 6 and fields[0] == "arn" and fields[3] == source:
        return ":".join([*fields[:3], target, *fields[4:]])
    return value


def is_applied(item: Item) -> bool:
    """Whether this region is as the item says, as far as convergence knows."""
    return bool(read("device-status", ThingName=_mark(item["Name"])).get("AppliedWriteId") == item["WriteId"])


def mark_applied(item: Item) -> None:
    """Remember that this region is as the item says."""
    put("device-status", {"ThingName": _mark(item["Name"]), "AppliedWriteId": item["WriteId"]})


def _mark(definition: str) -> str:
    return f"definition/{definition}"
