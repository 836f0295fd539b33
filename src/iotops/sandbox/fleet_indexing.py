# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleet indexing: custom fields, an index that takes a moment to build, queries, statistics and cardinality.

The registry is the index, so that it is never behind. Sources: SearchIndex, GetStatistics, GetCardinality and
UpdateIndexingConfiguration of the AWS IoT API reference; "Managing fleet indexing" and "Querying for aggregate data"
of the Developer Guide. Which error a field that is not indexed gives an aggregation is not documented.
"""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from ministack.core.responses import (
    AccountRegionScopedDict,
    error_response_json,
    get_account_id,
    get_region,
    json_response,
)
from ministack.services import iot

from iotops.sandbox import iot_listings
from iotops.sandbox.fleet_query import Query, QueryError, number, parse
from iotops.sandbox.patching import replace

__all__ = ["install"]

Answer = tuple[int, dict[str, str], bytes]
_INDEX = "AWS_Things"
_BUILDING = 1.0  # seconds; AWS takes half a minute and more
_LONGEST_PAGE = 100
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


class _RefusedError(Exception):
    """AWS's error code, status and message."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.answer: Answer = tuple(error_response_json(code, message, status))


# --- configuration ---------------------------------------------------------------------------------------------------


def _configuration() -> dict[str, Any]:
    found: dict[str, Any] = iot._indexing_configuration()["thingIndexingConfiguration"]
    return found


def _update(original: Any) -> Any:
    def update_indexing_configuration(payload: dict[str, Any]) -> Answer:
        wanted = payload.get("thingIndexingConfiguration") or {}
        problem = _problem_of_fields(wanted.get("customFields") or [], wanted.get("thingIndexingMode"))
        if problem:
            return tuple(error_response_json("InvalidRequestException", problem, 400))
        was_off = _configuration()["thingIndexingMode"] == "OFF"
        answer: Answer = tuple(original(payload))
        if answer[0] == 200 and was_off and _configuration()["thingIndexingMode"] != "OFF":
            _ready_at[_INDEX] = time.monotonic() + _BUILDING
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
            things["managedFields"] = [{"name": name, "type": kind} for name, kind in _managed(things).items()]
        return status, headers, json.dumps(content).encode()

    return get_indexing_configuration


def _managed(things: dict[str, Any]) -> dict[str, str]:
    connected = things.get("thingConnectivityIndexingMode") == "STATUS"
    return {**_MANAGED, **(_CONNECTIVITY if connected else {})}


def _is_building() -> bool:
    return bool(time.monotonic() < _ready_at.get(_INDEX, 0.0))


def _describe(original: Any) -> Any:
    def describe_index(path: str) -> Answer:
        status, headers, body = original(path)
        if status == 200 and _is_building():
            body = json.dumps({**json.loads(body), "indexStatus": "BUILDING"}).encode()
        elif status == 404:
            return _unknown_index(path.rpartition("/")[2]).answer
        return status, headers, body

    return describe_index


def _unknown_index(name: str) -> _RefusedError:
    return _RefusedError("ResourceNotFoundException", f"Index {name} does not exist", 404)


# --- queries ---------------------------------------------------------------------------------------------------------


def _query(payload: dict[str, Any]) -> Query:
    """The query of a request to an index that is there, of fields that are indexed."""
    things, name = _configuration(), payload.get("indexName") or _INDEX
    if name != _INDEX or things["thingIndexingMode"] == "OFF":
        raise _unknown_index(name)
    if _is_building():
        raise _RefusedError("IndexNotReadyException", f"Creation of index {_INDEX} is in progress")
    try:
        query = parse(payload.get("queryString") or "")
    except QueryError as error:
        raise _RefusedError("InvalidQueryException", str(error)) from None
    for field in query.fields:
        problem = iot._search_field_error(
            field, things["thingIndexingMode"], things.get("thingConnectivityIndexingMode", "OFF")
        )
        if problem:
            raise _RefusedError("InvalidQueryException", problem)
    return query


class _Things:
    """The things as the index has them."""

    def __init__(self) -> None:
        things = _configuration()
        self._shadows = things["thingIndexingMode"] == "REGISTRY_AND_SHADOW"
        self._connected = things.get("thingConnectivityIndexingMode") == "STATUS"
        self._where = get_account_id(), get_region()

    def matching(self, query: Query) -> Iterator[tuple[str, Callable[[str], Any]]]:
        """Name, and a look-up of fields, of each."""
        for name, thing in iot._things.items():
            lookup = self._lookup(name, thing)
            if query.matches(lookup):
                yield name, lookup

    def _lookup(self, name: str, thing: dict[str, Any]) -> Callable[[str], Any]:
        def lookup(field: str) -> Any:
            if field.startswith("attributes."):  # most of them
                return (thing.get("attributes") or {}).get(field[11:])
            if field.startswith("registry."):
                return thing.get(field[9:], 1 if field == "registry.version" else None)
            if field == "thingId":
                return thing.get("thingId")
            shadow = self._shadow(name) if field.startswith("shadow.") else None
            connectivity = iot._thing_connectivity(*self._where, name) if field.startswith("connectivity.") else {}
            return iot._search_field_value(thing, field, shadow, connectivity)

        return lookup

    def _shadow(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = iot._classic_shadow_state(name) if self._shadows else None
        return found

    def shown(self, name: str) -> dict[str, Any] | None:
        """A thing as SearchIndex shows it; None when it is gone."""
        thing = iot._things.get(name)
        if thing is None:
            return None
        shown = {
            "thingName": name,
            "thingId": thing["thingId"],
            "attributes": thing.get("attributes") or {},
            "thingGroupNames": list(thing.get("thingGroupNames") or ()),
        }
        if thing.get("thingTypeName"):
            shown["thingTypeName"] = thing["thingTypeName"]
        if self._connected:
            shown["connectivity"] = iot._thing_connectivity(*self._where, name)
        if shadow := self._shadow(name):
            shown["shadow"] = json.dumps({half: shadow[half] for half in ("desired", "reported") if half in shadow})
        return shown


def _search(payload: dict[str, Any]) -> Answer:
    query, size, things = _query(payload), payload.get("maxResults", _LONGEST_PAGE), _Things()
    if not 1 <= size <= _LONGEST_PAGE:
        raise _RefusedError("InvalidRequestException", f"maxResults has to be between 1 and {_LONGEST_PAGE}")
    path = f"/indices/search {payload['queryString']}"
    if token := payload.get("nextToken"):
        found = iot_listings.continued(token, path)
        if found is None:
            raise _RefusedError("InvalidRequestException", "The nextToken is not valid")
        key, start, names = found
    else:
        key, start, names = uuid.uuid4().hex, 0, [name for name, _lookup in things.matching(query)]
    shown, end = iot_listings.cut(names, start, size, things.shown)
    answer: dict[str, Any] = {"things": shown}
    if end < len(names):
        answer["nextToken"] = iot_listings.token_of(key, path, names, end)
    return tuple(json_response(answer))


# --- aggregates ------------------------------------------------------------------------------------------------------


def _type_of(field: str) -> str:
    things = _configuration()
    known = {**_managed(things), **{each["name"]: each["type"] for each in things.get("customFields") or ()}}
    if field not in known:
        raise _RefusedError("InvalidAggregationException", f"{field} is neither a managed nor a custom field")
    return str(known[field])


def _values(payload: dict[str, Any]) -> tuple[str, list[Any]]:
    """Type and values of the aggregation field; a value of another type is passed over."""
    query, field = _query(payload), payload.get("aggregationField") or "registry.version"
    kind = _type_of(field)
    found = [lookup(field) for _name, lookup in _Things().matching(query)]
    if kind == "Number":
        numbers = [value for value in map(number, found) if value is not None]
        return kind, [value for value in numbers if math.isfinite(value)]
    if kind == "Boolean":
        flags = {"true": True, "false": False}
        return kind, [flags[text] for text in (str(value).lower() for value in found) if text in flags]
    return kind, [value for value in found if value is not None]


def _statistics(payload: dict[str, Any]) -> Answer:
    kind, values = _values(payload)
    if kind == "String" or not values:
        return tuple(json_response({"statistics": {"count": len(values)}}))
    count, total = len(values), math.fsum(values)
    average = total / count
    variance = math.fsum((value - average) ** 2 for value in values) / count
    statistics = {
        "count": count,
        "average": average,
        "sum": total,
        "minimum": float(min(values)),
        "maximum": float(max(values)),
        "sumOfSquares": math.fsum(value * value for value in values),
        "variance": variance,
        "stdDeviation": math.sqrt(variance),
    }
    return tuple(json_response({"statistics": statistics}))


def _cardinality(payload: dict[str, Any]) -> Answer:
    _kind, values = _values(payload)
    single = (each for value in values for each in (value if isinstance(value, list) else [value]))
    return tuple(json_response({"cardinality": len(set(single))}))


_OPERATIONS = {
    "/indices/search": _search,
    "/indices/statistics": _statistics,
    "/indices/cardinality": _cardinality,
}


def _route(original: Any) -> Any:
    async def route_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Answer:
        operation = _OPERATIONS.get(path) if method == "POST" else None
        if operation is None:
            return tuple(await original(method, path, headers, body, query_params))
        try:
            return operation(json.loads(body or b"{}"))
        except _RefusedError as refused:
            return refused.answer

    return route_request


def install() -> None:
    """Take the place of the base's queries, and put the aggregates beside them."""
    replace(iot, "_update_indexing_configuration", "payload", _update)
    replace(iot, "_get_indexing_configuration", "", _get)
    replace(iot, "_describe_index", "path", _describe)
    replace(iot, "_route_request", "method, path, headers, body, query_params", _route)
