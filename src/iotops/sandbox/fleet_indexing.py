# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleet indexing: queries, statistics and cardinality.

The registry is the index, so that it is never behind. Sources: SearchIndex, GetStatistics and GetCardinality of the
AWS IoT API reference; "Querying for aggregate data" of the Developer Guide. Which error a field that is not indexed
gives an aggregation is not documented.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from ministack.core.responses import get_account_id, get_region, json_response
from ministack.services import iot

from iotops.sandbox import fleet_index, iot_listings
from iotops.sandbox.fleet_index import INDEX, RefusedError, configuration, is_building, managed, unknown_index
from iotops.sandbox.fleet_query import Query, QueryError, number, parse
from iotops.sandbox.patching import replace

__all__ = ["install"]

Answer = tuple[int, dict[str, str], bytes]
_LONGEST_PAGE = 100


# --- queries ---------------------------------------------------------------------------------------------------------


def _query(payload: dict[str, Any]) -> Query:
    """The query of a request to an index that is there, of fields that are indexed."""
    things, name = configuration(), payload.get("indexName") or INDEX
    if name != INDEX or things["thingIndexingMode"] == "OFF":
        raise unknown_index(name)
    if is_building():
        raise RefusedError("IndexNotReadyException", f"Creation of index {INDEX} is in progress")
    try:
        query = parse(payload.get("queryString") or "")
    except QueryError as error:
        raise RefusedError("InvalidQueryException", str(error)) from None
    for field in query.fields:
        problem = iot._search_field_error(
            field, things["thingIndexingMode"], things.get("thingConnectivityIndexingMode", "OFF")
        )
        if problem:
            raise RefusedError("InvalidQueryException", problem)
    return query


class _Things:
    """The things as the index has them."""

    def __init__(self) -> None:
        things = configuration()
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
        raise RefusedError("InvalidRequestException", f"maxResults has to be between 1 and {_LONGEST_PAGE}")
    path = f"/indices/search {payload['queryString']}"
    if token := payload.get("nextToken"):
        found = iot_listings.continued(token, path)
        if found is None:
            raise RefusedError("InvalidRequestException", "The nextToken is not valid")
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
    things = configuration()
    known = {**managed(things), **{each["name"]: each["type"] for each in things.get("customFields") or ()}}
    if field not in known:
        raise RefusedError("InvalidAggregationException", f"{field} is neither a managed nor a custom field")
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
        except RefusedError as refused:
            return refused.answer

    return route_request


def install() -> None:
    """Take the place of the base's queries, and put the aggregates beside them."""
    fleet_index.install()
    replace(iot, "_route_request", "method, path, headers, body, query_params", _route)
