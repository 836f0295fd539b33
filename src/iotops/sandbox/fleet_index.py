# SPDX-License-Identifier: GPL-3.0-or-later
"""How fleet indexing is configured: custom and managed fields, and an index that takes a moment to build.

Sources: UpdateIndexingConfiguration and DescribeIndex of the AWS IoT API reference; "Managing fleet indexing" of the
Developer Guide.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, error_response_json
from ministack.services import iot

from iotops.sandbox.patching import replace

__all__ = ["INDEX", "RefusedError", "configuration", "install", "is_building", "managed", "unknown_index"]

Answer = tuple[int, dict[str, str], bytes]
INDEX = "AWS_Things"
_BUILDING = 1.0  # seconds; AWS takes half a minute and more
_TYPES = ("Number", "String", "Boolean")
_MANAGED = {
    "thingId": "String",
    "thingName": "String",
    "registry.version": "Number",
    "registry.thingTypeName": "String",
    "registry.thingGroupNames": "String",
}
_CONNECTIVITY = {
    "connectivity.timestamp": "Number",
    "connectivity.version": "Number",
    "connectivity.connected": "Boolean",
    "connectivity.disconnectReason": "String",
}
_CUSTOM_NAME = re.compile(r"attributes\.[A-Za-z0-9_-]+|shadow\.(desired|reported)\.[A-Za-z0-9_.-]+")
_ready_at = AccountRegionScopedDict()


class RefusedError(Exception):
    """AWS's error code, status and message."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.answer: Answer = tuple(error_response_json(code, message, status))


def configuration() -> dict[str, Any]:
    """The thingIndexingConfiguration of this account and region."""
    found: dict[str, Any] = iot._indexing_configuration()["thingIndexingConfiguration"]
    return found


def _update(original: Any) -> Any:
    def update_indexing_configuration(payload: dict[str, Any]) -> Answer:
        wanted = payload.get("thingIndexingConfiguration") or {}
        problem = _problem_of_fields(wanted.get("customFields") or [], wanted.get("thingIndexingMode"))
        if problem:
            return tuple(error_response_json("InvalidRequestException", problem, 400))
        was_off = configuration()["thingIndexingMode"] == "OFF"
        answer: Answer = tuple(original(payload))
        if answer[0] == 200 and was_off and configuration()["thingIndexingMode"] != "OFF":
            _ready_at[INDEX] = time.monotonic() + _BUILDING
        return answer

    return update_indexing_configuration


def _problem_of_fields(fields: list[dict[str, Any]], mode: str | None) -> str | None:
    names = [str(field.get("name", "")) for field in fields]
    for field, name in zip(fields, names, strict=True):
        if field.get("type") not in _TYPES:
            return f"The type of the custom field {name} has to be one of {', '.join(_TYPES)}"
        if not _CUSTOM_NAME.fullmatch(name):
            return f"{name} cannot be a custom field"
        if name.startswith("shadow.") and mode != "REGISTRY_AND_SHADOW":
            return f"The custom field {name} needs the thingIndexingMode REGISTRY_AND_SHADOW"
    if len(set(names)) < len(names):
        return "A custom field is named twice"
    return "Custom fields need a thingIndexingMode that is not OFF" if names and mode == "OFF" else None


def _get(original: Any) -> Any:
    def get_indexing_configuration() -> Answer:
        status, headers, body = original()
        content = json.loads(body)
        things = content["thingIndexingConfiguration"]
        if things["thingIndexingMode"] != "OFF":
            things["managedFields"] = [{"name": name, "type": kind} for name, kind in managed(things).items()]
        return status, headers, json.dumps(content).encode()

    return get_indexing_configuration


def managed(things: dict[str, Any]) -> dict[str, str]:
    """Names and types of the managed fields of a thingIndexingConfiguration."""
    connected = things.get("thingConnectivityIndexingMode") == "STATUS"
    return {**_MANAGED, **(_CONNECTIVITY if connected else {})}


def is_building() -> bool:
    """Whether the index was switched on a moment ago."""
    return bool(time.monotonic() < _ready_at.get(INDEX, 0.0))


def _describe(original: Any) -> Any:
    def describe_index(path: str) -> Answer:
        status, headers, body = original(path)
        if status == 200 and is_building():
            body = json.dumps({**json.loads(body), "indexStatus": "BUILDING"}).encode()
        elif status == 404:
            return unknown_index(path.rpartition("/")[2]).answer
        return status, headers, body

    return describe_index


def unknown_index(name: str) -> RefusedError:
    """What AWS says of an index that is off."""
    return RefusedError("ResourceNotFoundException", f"Index {name} does not exist", 404)


def install() -> None:
    """Refuse and tell what the base does not."""
    replace(iot, "_update_indexing_configuration", "payload", _update)
    replace(iot, "_get_indexing_configuration", "", _get)
    replace(iot, "_describe_index", "path", _describe)
