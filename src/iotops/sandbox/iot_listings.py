# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of AWS IoT that grow with the fleet, a page at a time.

ListThings, ListCertificates, ListCertificatesByCA, ListTargetsForPolicy and ListThingsInThingGroup. The first page
remembers the names of what there is; each page then looks up those that it shows, so that it costs the same in a fleet
of any size. What is deleted meanwhile is left out and makes nothing else move.
https://docs.aws.amazon.com/iot/latest/apireference/API_ListThings.html and the pages of the others
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import iot

from iotops.sandbox.patching import replace

__all__ = ["continued", "cut", "install", "token_of"]

Answer = tuple[int, dict[str, str], bytes]
Query = dict[str, str]
_LONGEST_PAGE, _DEFAULT_SIZE = 250, 25
_KEPT = 32  # lists that are remembered; older ones are forgotten, and their tokens refused


@dataclass(frozen=True)
class _List:
    """One operation: the names of what it lists, and what it shows of one (None: it is not there any more)."""

    path: re.Pattern[str]
    size: str
    token_in: str
    token_out: str
    result: str
    names: Callable[[str, Query], list[str] | Answer]
    show: Callable[[str, str], Any]


@dataclass(frozen=True)
class _Remembered:
    path: str
    scope: tuple[str, str]
    names: list[str]


_remembered: OrderedDict[str, _Remembered] = OrderedDict()


def _route(original: Any) -> Any:
    async def route_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Answer:
        query = {name: value[0] if isinstance(value, list) else value for name, value in query_params.items()}
        for listing in _LISTS if method == "GET" or path.startswith(_POSTED) else ():
            if (match := listing.path.fullmatch(path)) and query.get("recursive", "").lower() != "true":
                return _page(listing, unquote("".join(match.groups())), path, query)
        return tuple(await original(method, path, headers, body, query_params))

    return route_request


def _page(listing: _List, subject: str, path: str, query: Query) -> Answer:
    text = query.get(listing.size) or str(_DEFAULT_SIZE)
    if not text.isdecimal() or not 1 <= int(text) <= _LONGEST_PAGE:
        return _invalid(f"Value {text} at '{listing.size}' failed to satisfy constraint: between 1 and {_LONGEST_PAGE}")
    if token := query.get(listing.token_in):
        found = continued(token, path)
        if found is None:
            return _invalid(f"The {listing.token_in} is not valid")
        key, start, names = found
    else:
        key, start, wanted = uuid.uuid4().hex, 0, listing.names(subject, query)
        if isinstance(wanted, tuple):
            return wanted
        names = wanted
    shown, end = cut(names, start, int(text), lambda name: listing.show(subject, name))
    answer: dict[str, Any] = {listing.result: shown}
    if end < len(names):
        answer[listing.token_out] = token_of(key, path, names, end)
    return tuple(json_response(answer))


def cut(names: list[str], start: int, size: int, show: Callable[[str], Any]) -> tuple[list[Any], int]:
    """Up to ``size`` of what is still there from ``start`` on, and where the next page begins.

    ``show`` answers None for what is gone.
    """
    shown: list[Any] = []
    position = start
    while position < len(names) and len(shown) < size:
        one = show(names[position])
        position += 1
        if one is not None:
            shown.append(one)
    return shown, position


def token_of(key: str, path: str, names: list[str], end: int) -> str:
    """The token of the page that begins at ``end``; the list is remembered under ``key``."""
    _remembered.setdefault(key, _Remembered(path, _scope(), names))
    while len(_remembered) > _KEPT:
        _remembered.popitem(last=False)
    return base64.b64encode(f"{key}:{end}".encode()).decode()


def continued(token: str, path: str) -> tuple[str, int, list[str]] | None:
    """Key, position and names of a token; None when it is not one of this list, region and account."""
    try:
        key, _, position = base64.b64decode(token, validate=True).decode().partition(":")
        start = int(position)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    found = _remembered.get(key)
    if found is None or (found.path, found.scope) != (path, _scope()):
        return None
    _remembered.move_to_end(key)
    return key, start, found.names


def _scope() -> tuple[str, str]:
    return get_account_id(), get_region()


def _invalid(message: str) -> Answer:
    return tuple(error_response_json("InvalidRequestException", message, 400))


# --- things ----------------------------------------------------------------------------------------------------------


def _things(_subject: str, query: Query) -> list[str] | Answer:
    name, value, kind = (query.get(each) for each in ("attributeName", "attributeValue", "thingTypeName"))
    if value is not None and name is None:
        return _invalid("attributeName is required when attributeValue is specified")
    by_prefix = query.get("usePrefixAttributeValue", "").lower() == "true"
    if by_prefix and value is None:
        return _invalid("attributeValue is required when usePrefixAttributeValue is true")

    def is_wanted(thing: dict[str, Any]) -> bool:
        found = (thing.get("attributes") or {}).get(name) if name is not None else ""
        if found is None or (kind is not None and thing.get("thingTypeName") != kind):
            return False
        return value is None or (found.startswith(value) if by_prefix else found == value)

    return [str(thing_name) for thing_name, thing in iot._things.items() if is_wanted(thing)]


def _thing(_subject: str, name: str) -> dict[str, Any] | None:
    thing = iot._things.get(name)
    if thing is None:
        return None
    shown = {
        "thingName": name,
        "thingArn": thing["thingArn"],
        "attributes": thing.get("attributes") or {},
        "version": thing.get("version", 1),
    }
    return {**shown, "thingTypeName": thing["thingTypeName"]} if thing.get("thingTypeName") else shown


def _members(group_name: str, _query: Query) -> list[str] | Answer:
    group = iot._thing_groups.get(group_name)
    return list(group.get("things", [])) if group else tuple(iot._error_not_found("ThingGroupMember", group_name))


def _member(group_name: str, name: str) -> str | None:
    return name if group_name in ((iot._things.get(name) or {}).get("thingGroupNames") or ()) else None


# --- certificates ----------------------------------------------------------------------------------------------------


def _certificates(_subject: str, query: Query) -> list[str]:
    return _by_age(iot._certificates.items(), query)


def _certificates_of(ca_id: str, query: Query) -> list[str] | Answer:
    if not re.fullmatch(r"[a-fA-F0-9]{64}", ca_id):
        return _invalid(f"Value {ca_id} at 'caCertificateId' failed to satisfy constraint: [a-fA-F0-9]{{64}}")
    records = iot._certificates.items()
    return _by_age(((key, record) for key, record in records if record.get("caCertificateId") == ca_id), query)


def _by_age(records: Iterable[tuple[str, dict[str, Any]]], query: Query) -> list[str]:
    """Certificate ids, the newest first unless the query wants them ascending."""
    ordered = sorted(records, key=lambda found: (found[1].get("creationDate") or 0.0, found[0]))
    ids = [key for key, _record in ordered]
    return ids if query.get("isAscendingOrder", "").lower() == "true" else ids[::-1]


def _certificate(_subject: str, certificate_id: str) -> dict[str, Any] | None:
    record = iot._certificates.get(certificate_id)
    members = ("certificateArn", "certificateId", "status", "certificateMode", "creationDate")
    return record and {member: record[member] for member in members if record.get(member) is not None}


def _targets(policy_name: str, _query: Query) -> list[str] | Answer:
    policy = iot._policies.get(policy_name)
    return list(policy.get("targets", [])) if policy else tuple(iot._error_not_found("Policy", policy_name))


def _target(policy_name: str, arn: str) -> str | None:
    """The target, unless it is a certificate that the policy was detached from since."""
    if ":cert/" not in arn:
        return arn
    record = iot._certificates.get(arn.rpartition("/")[2])
    return arn if record and policy_name in record.get("attachedPolicies", ()) else None


_POSTED = "/policy-targets/"  # the one list that is not got
_BY_TOKEN = ("maxResults", "nextToken", "nextToken")
_BY_MARKER = ("pageSize", "marker", "nextMarker")
_LISTS = (
    _List(re.compile(r"/things"), *_BY_TOKEN, "things", _things, _thing),
    _List(re.compile(r"/thing-groups/([^/]+)/things"), *_BY_TOKEN, "things", _members, _member),
    _List(re.compile(r"/certificates"), *_BY_MARKER, "certificates", _certificates, _certificate),
    _List(re.compile(r"/certificates-by-ca/([^/]+)"), *_BY_MARKER, "certificates", _certificates_of, _certificate),
    _List(re.compile(r"/policy-targets/([^/]+)"), *_BY_MARKER, "targets", _targets, _target),
)


def install() -> None:
    """Put these before everything else that answers the control plane; to be installed after it."""
    replace(iot, "_route_request", "method, path, headers, body, query_params", _route)
