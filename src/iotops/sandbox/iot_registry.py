# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS IoT refuses of things, groups and certificates and the base does not, and what it lists otherwise.

Sources: CreateThing, UpdateThing, UpdateThingGroup, UpdateThingGroupsForThing, ListThingGroups, ListThingsInThingGroup
and UpdateCertificate of the AWS IoT API reference; "Static thing groups" and "AWS IoT Core thing resources quotas".
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from ministack.core.responses import error_response_json, json_response
from ministack.services import iot

from iotops.sandbox.patching import replace

__all__ = ["install"]

Answer = tuple[int, dict[str, str], bytes]
_UNTYPED_ATTRIBUTES, _TYPED_ATTRIBUTES, _GROUPS = 3, 50, 10
_NAME = re.compile(r"[a-zA-Z0-9_.,@/:#-]{1,128}")
_VALUE = re.compile(r"[a-zA-Z0-9_.,@/:#=\[\]-]{0,800}")


def _invalid(message: str) -> Answer:
    return tuple(error_response_json("InvalidRequestException", message, 400))


def _conflict(kind: str, name: str, expected: Any, version: int) -> Answer | None:
    if expected is None or int(expected) == version:
        return None
    message = f"The version for {kind} {name} does not match the expected version."
    return tuple(error_response_json("VersionConflictException", message, 409))


def _merged(payload: dict[str, Any], before: dict[str, str]) -> dict[str, str]:
    """The attributes after an update; an empty value removes its attribute."""
    given = payload.get("attributes") or {}
    return {key: value for key, value in ({**before, **given} if payload.get("merge") else given).items() if value}


# --- things ----------------------------------------------------------------------------------------------------------


def _problem(attributes: dict[str, str], kind: str | None, old_kind: str | None) -> str | None:
    """Why a thing cannot be so; None when it can."""
    for name, value in attributes.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value or ""):
            return f"Attribute {name}={value} failed to satisfy constraint: {_NAME.pattern}, {_VALUE.pattern}"
    limit = _TYPED_ATTRIBUTES if kind else _UNTYPED_ATTRIBUTES
    if len(attributes) > limit:
        return f"Attributes cannot be more than {limit} for a thing {'with' if kind else 'without'} a thing type"
    meta = (iot._thing_types.get(kind) or {}).get("thingTypeMetadata") or {}
    if kind and kind != old_kind and meta.get("deprecated"):
        return f"Can not associate thing with the deprecated thing type {kind}"
    return None


def _create_thing(original: Any) -> Any:
    def create_thing(name: str, payload: dict[str, Any]) -> Answer:
        attributes = (payload.get("attributePayload") or {}).get("attributes") or {}
        problem = None if name in iot._things else _problem(attributes, payload.get("thingTypeName"), None)
        return _invalid(problem) if problem else original(name, payload)

    return create_thing


def _update_thing(original: Any) -> Any:
    def update_thing(name: str, payload: dict[str, Any]) -> Answer:
        thing = iot._things.get(name)
        if thing is None:
            return tuple(original(name, payload))
        conflict = _conflict("thing", name, payload.get("expectedVersion"), thing.get("version", 1))
        if conflict:
            return conflict
        attributes, old_kind = thing.get("attributes") or {}, thing.get("thingTypeName")
        if "attributePayload" in payload:
            attributes = _merged(payload["attributePayload"] or {}, attributes)
            payload = {**payload, "attributePayload": {"attributes": attributes}}
        kind = None if payload.get("removeThingType") else payload.get("thingTypeName") or old_kind
        problem = _problem(attributes, kind, old_kind)
        return _invalid(problem) if problem else tuple(original(name, payload))

    return update_thing


# --- groups ----------------------------------------------------------------------------------------------------------


def _parent(group: dict[str, Any]) -> str:
    return str((group.get("thingGroupMetadata") or {}).get("parentGroupName") or "")


def _ancestors(group: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups above, the root first."""
    found: list[dict[str, Any]] = []
    while above := iot._thing_groups.get(_parent(found[0] if found else group)):
        found.insert(0, above)
    return found


def _root(name: str) -> str:
    group = iot._thing_groups.get(name) or {"thingGroupName": name}
    return str((_ancestors(group) or [group])[0]["thingGroupName"])


def _add(original: Any) -> Any:
    async def add_thing_to_group(payload: dict[str, Any]) -> Answer:
        group, thing, error = iot._membership_names(payload)
        others = [] if error else (iot._things.get(thing) or {}).get("thingGroupNames", [])
        if group in iot._thing_groups and group not in others:
            if any(_root(other) == _root(group) for other in others):
                return _invalid(f"Thing {thing} is already in a group of the hierarchy of {group}")
            if len(others) >= _GROUPS:
                message = f"Thing {thing} is in {_GROUPS} groups already"
                return tuple(error_response_json("LimitExceededException", message, 410))
        return tuple(await original(payload))

    return add_thing_to_group


def _update_group(original: Any) -> Any:
    def update_thing_group(name: str, payload: dict[str, Any]) -> Answer:
        group = iot._thing_groups.get(name)
        if group is None:
            return tuple(original(name, payload))
        conflict = _conflict("thing group", name, payload.get("expectedVersion"), group.get("version", 1))
        if conflict:
            return conflict
        properties = payload.get("thingGroupProperties") or {}
        if properties.get("attributePayload"):
            stored = group["thingGroupProperties"].get("attributePayload") or {}
            merged = _merged(properties["attributePayload"], stored.get("attributes") or {})
            properties = {**properties, "attributePayload": {"attributes": merged}}
        if properties and "thingGroupDescription" not in properties:
            description = group["thingGroupProperties"].get("thingGroupDescription")
            properties = {**properties, "thingGroupDescription": description}
        return tuple(original(name, {**payload, "thingGroupProperties": properties}))

    return update_thing_group


def _describe_group(original: Any) -> Any:
    def describe_thing_group(name: str) -> Answer:
        status, headers, body = original(name)
        if status != 200:
            return status, headers, body
        answer, group = json.loads(body), iot._thing_groups[name]
        metadata = {"creationDate": group["creationDate"], **(answer.get("thingGroupMetadata") or {})}
        above = _ancestors(group)
        if above:
            metadata["rootToParentThingGroups"] = [
                {"groupName": one["thingGroupName"], "groupArn": one["thingGroupArn"]} for one in above
            ]
        for private in ("things", "creationDate"):
            answer.pop(private, None)
        return tuple(json_response({**answer, "thingGroupMetadata": metadata}))

    return describe_thing_group


def _list_groups(_original: Any) -> Any:
    def list_thing_groups(query: dict[str, str]) -> Answer:
        parent, prefix = query.get("parentGroup"), query.get("namePrefixFilter") or ""
        if parent and parent not in iot._thing_groups:
            return tuple(iot._error_not_found("ThingGroup", parent))
        deep = (query.get("recursive") or "true").lower() == "true"
        found = [
            {"groupName": name, "groupArn": group["thingGroupArn"]}
            for name, group in iot._thing_groups.items()
            if name.startswith(prefix) and _is_listed(group, parent, deep=deep)
        ]
        return tuple(json_response({"thingGroups": found}))

    return list_thing_groups


def _is_listed(group: dict[str, Any], parent: str | None, *, deep: bool) -> bool:
    if not deep:
        return _parent(group) == (parent or "")
    return not parent or parent in [one["thingGroupName"] for one in _ancestors(group)]


def _route(original: Any) -> Any:
    async def route_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Answer:
        members = re.fullmatch(r"/thing-groups/([^/]+)/things", path)
        if method == "GET" and members and "true" in str(query_params.get("recursive")).lower():
            return _things_below(unquote(members.group(1)))
        if method == "PUT" and path == "/thing-groups/updateThingGroupsForThing":
            return await _update_groups_of(json.loads(body or b"{}"))
        return tuple(await original(method, path, headers, body, query_params))

    return route_request


def _things_below(name: str) -> Answer:
    if name not in iot._thing_groups:
        return tuple(iot._error_not_found("ThingGroupMember", name))
    things: dict[str, None] = {}
    for group_name, group in iot._thing_groups.items():
        if group_name == name or name in [one["thingGroupName"] for one in _ancestors(group)]:
            things.update(dict.fromkeys(group.get("things", [])))
    return tuple(json_response({"things": list(things)}))


async def _update_groups_of(payload: dict[str, Any]) -> Answer:
    changes = (
        ("thingGroupsToRemove", iot._remove_thing_from_group),
        ("thingGroupsToAdd", iot._add_thing_to_group),
    )
    for key, change in changes:
        for group in payload.get(key) or []:
            answer = await change({"thingName": payload.get("thingName"), "thingGroupName": group})
            if answer[0] != 200:
                return tuple(answer)
    return tuple(json_response({}))


# --- certificates ----------------------------------------------------------------------------------------------------


def _certificate(original: Any) -> Any:
    def handle_certificate(method: str, path: str, body: bytes, qp: dict[str, str]) -> Answer:
        """What is revoked stays so, and only AWS IoT itself makes a certificate pending."""
        record = iot._certificates.get(path.removeprefix("/certificates/"))
        wanted = qp.get("newStatus") or iot._parse_body(body).get("newStatus") if method == "PUT" else None
        if record and wanted:
            if wanted.startswith("PENDING_"):
                return _invalid(f"{wanted} cannot be set")
            if record["status"] == "REVOKED" and wanted != "REVOKED":
                message = f"Certificate {record['certificateId']} is REVOKED, which cannot be undone"
                return tuple(error_response_json("CertificateStateException", message, 406))
        return tuple(original(method, path, body, qp))

    return handle_certificate


def install() -> None:
    """Refuse and list as AWS does; to be installed before what cuts lists into pages."""
    replace(iot, "_create_thing", "name, payload", _create_thing)
    replace(iot, "_update_thing", "name, payload", _update_thing)
    replace(iot, "_add_thing_to_group", "payload", _add)
    replace(iot, "_update_thing_group", "name, payload", _update_group)
    replace(iot, "_describe_thing_group", "name", _describe_group)
    replace(iot, "_list_thing_groups", "qp", _list_groups)
    replace(iot, "_handle_certificate", "method, path, body, qp", _certificate)
    replace(iot, "_route_request", "method, path, headers, body, query_params", _route)
