"""Make this region's policies, thing types and thing groups what the table ``definitions`` says.

Woken by the pipe from the region's stream of the table, with stream records that only say which item; and by a
schedule, for whatever a stream no longer holds.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from aws import aws, pages, plain
from definitions import OWN, OWN_POLICIES, Document, document_here, here, is_applied, mark_applied
from rows_table import APPLICATION, Item, read

POLICY_VERSIONS = 5  # https://docs.aws.amazon.com/general/latest/gr/iot-core.html
log = logging.getLogger(__name__)


def handler(event: list[dict[str, Any]] | dict[str, Any], context: object) -> None:  # noqa: ARG001 - Lambda's signature
    """AWS Lambda's entry point: a pipe's batch of stream records, or anything else to look at every item."""
    if isinstance(event, list):
        for record in event:
            converge(record["dynamodb"]["Keys"]["Name"]["S"])
        return
    for page in pages("dynamodb", "scan", TableName=f"{APPLICATION}-definitions", ConsistentRead=True):
        for item in map(plain, page["Items"]):
            if not is_applied(item):
                converge(item["Name"])


def converge(name: str) -> None:
    """Make one definition what its item says now; nothing when there is no item, or when it is the fleet's own."""
    kind, _, short = name.partition("#")
    own = {"policy": OWN_POLICIES, "type": (OWN,)}
    item = {} if short in own.get(kind, ()) else read("definitions", Name=name)
    found = here(name) if item else None
    if found is None:
        return
    {"policy": _policy, "type": _type, "group": _group}[kind](short, item, found)
    mark_applied(item)


def _policy(name: str, item: Item, found: Item) -> None:
    wanted = document_here(item)
    if "Document" not in found:
        aws("iot").create_policy(policyName=name, policyDocument=json.dumps(wanted))
    elif found["Document"] != wanted:
        versions = aws("iot").list_policy_versions(policyName=name)["policyVersions"]
        if len(versions) >= POLICY_VERSIONS:
            spare = [version for version in versions if not version["isDefaultVersion"]]
            oldest = min(spare, key=lambda version: int(version["versionId"]))
            aws("iot").delete_policy_version(policyName=name, policyVersionId=oldest["versionId"])
        aws("iot").create_policy_version(policyName=name, policyDocument=json.dumps(wanted), setAsDefault=True)


def _type(name: str, item: Item, found: Item) -> None:
    """A thing type cannot be changed, and is never deleted here: things may still have it."""
    if item["State"] == found["State"]:
        return
    if "Document" in found:
        aws("iot").deprecate_thing_type(thingTypeName=name, undoDeprecate=item["State"] == "ACTIVE")
    elif item["State"] == "ACTIVE":
        wanted = document_here(item)
        properties: Document = {"searchableAttributes": wanted["searchableAttributes"]}
        if wanted["description"]:
            properties["thingTypeDescription"] = wanted["description"]
        aws("iot").create_thing_type(thingTypeName=name, thingTypeProperties=properties)


def _group(name: str, item: Item, found: Item) -> None:
    """A group cannot get another parent: that would take a new group, and every thing out of the old one."""
    if item["State"] == "DELETED":
        if found["State"] == "ACTIVE":
            for child in _children(name):  # AWS deletes no parent before them, and we may hear of it first
                converge(f"group#{child}")
            aws("iot").delete_thing_group(thingGroupName=name)
        return
    wanted, parent = document_here(item), item.get("Parent")
    properties: Document = {
        "thingGroupDescription": wanted["description"],
        "attributePayload": {"attributes": wanted["attributes"]},
    }
    if found["State"] == "DELETED":
        if parent:
            converge(f"group#{parent}")
        arguments = {"parentGroupName": parent} if parent else {}
        aws("iot").create_thing_group(thingGroupName=name, thingGroupProperties=properties, **arguments)
        return
    if found.get("Parent") != parent:
        log.warning("Group %s has the parent %s and should have %s: left as it is", name, found.get("Parent"), parent)
    if found["Document"] != wanted:
        aws("iot").update_thing_group(thingGroupName=name, thingGroupProperties=properties)


def _children(group: str) -> list[str]:
    found = pages("iot", "list_thing_groups", parentGroup=group, recursive=False)
    return [each["groupName"] for page in found for each in page["thingGroups"]]
