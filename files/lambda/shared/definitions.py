"""Policies, thing types and thing groups: how an item of the table ``definitions`` and what is in this region compare.

A definition is named as the table's key: ``policy#<name>``, ``type#<name>`` or ``group#<name>``.
"""

from __future__ import annotations

import json

from aws import aws, code
from botocore.exceptions import ClientError
from policy_documents import Document, rewritten
from rows_table import APPLICATION, REGION, Item, put, read

OWN = f"{APPLICATION}-device"  # policy and type of the fleet's own stack
OWN_POLICIES = (OWN, f"{APPLICATION}-load-test")  # each region has them from a stack


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


def is_applied(item: Item) -> bool:
    """Whether this region is as the item says, as far as convergence knows."""
    return bool(read("device-status", ThingName=_mark(item["Name"])).get("AppliedWriteId") == item["WriteId"])


def mark_applied(item: Item) -> None:
    """Remember that this region is as the item says."""
    put("device-status", {"ThingName": _mark(item["Name"]), "AppliedWriteId": item["WriteId"]})


def _mark(definition: str) -> str:
    return f"definition/{definition}"
