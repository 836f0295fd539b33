# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations and limits of the AWS IoT control and data planes that the base lacks.

ListThingPrincipalsV2, ListPrincipalThingsV2, V2 logging, GetConnection, DeleteConnection and
ListNamedShadowsForThing; five versions of a policy; an endpoint name without port; 501 for what is not there.
https://docs.aws.amazon.com/iot/latest/apireference/
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from ministack.core.responses import (
    AccountRegionScopedDict,
    error_response_json,
    get_account_id,
    get_region,
    json_response,
)
from ministack.services import iot, iot_data

from iotops.sandbox.iot_paging import cut_page, strip_token
from iotops.sandbox.patching import replace

Answer = tuple[int, dict[str, str], bytes]
POLICY_VERSIONS = 5

_logging_options = AccountRegionScopedDict()


def _control_plane(original: Any) -> Any:
    async def route_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Answer:
        query = {name: value[0] if isinstance(value, list) else value for name, value in query_params.items()}
        for at, pattern, operation in _OPERATIONS:
            if method == at and (match := pattern.fullmatch(path)):
                answer = operation(match, headers, query, body)
                break
        else:
            answer = _not_there(await original(method, path, headers, body, strip_token(method, path, query_params)))
        return cut_page(path, query, answer) if method == "GET" and answer[0] == 200 else answer

    return route_request


def _not_there(answer: Answer) -> Answer:
    """The base answers 400 to a path it does not know, which reads as a mistake of the caller's."""
    if answer[0] == 400 and b"Unsupported iot" in answer[2].replace(b"IoT", b"iot"):
        return tuple(error_response_json("NotImplementedException", "The sandbox lacks this operation.", 501))
    return answer


def _thing_principals_v2(match: re.Match[str], _headers: Any, query: dict[str, str], _body: bytes) -> Answer:
    name = unquote(match.group(1))
    thing = iot._things.get(name)
    if thing is None:
        return tuple(iot._error_not_found("ListThingPrincipals", name))
    found = [{"principal": arn, "thingPrincipalType": _type_of(thing, arn)} for arn in thing.get("principals", [])]
    return _of_type(query, "thingPrincipalObjects", found)


def _principal_things_v2(_match: Any, headers: dict[str, str], query: dict[str, str], _body: bytes) -> Answer:
    principal = headers.get("x-amzn-principal") or query.get("principal") or ""
    things = [(name, thing) for name, thing in iot._things.items() if principal in thing.get("principals", [])]
    found = [{"thingName": name, "thingPrincipalType": _type_of(thing, principal)} for name, thing in things]
    return _of_type(query, "principalThingObjects", found)


def _of_type(query: dict[str, str], member: str, found: list[dict[str, str]]) -> Answer:
    wanted = query.get("thingPrincipalType")
    return tuple(json_response({member: [one for one in found if wanted in (None, one["thingPrincipalType"])]}))


def _type_of(thing: dict[str, Any], principal: str) -> str:
    return str(thing.get("principalTypes", {}).get(principal, "NON_EXCLUSIVE_THING"))


def _remember_type(original: Any) -> Any:
    def handle_thing_principals(
        method: str, path: str, headers: dict[str, str], body: bytes, qp: dict[str, str]
    ) -> Answer:
        answer: Answer = original(method, path, headers, body, qp)
        if method == "PUT" and answer[0] == 200 and "thingPrincipalType" in qp:
            thing = iot._things[path.split("/")[2]]
            principal = headers.get("x-amzn-principal") or qp.get("principal")
            thing.setdefault("principalTypes", {})[principal] = qp["thingPrincipalType"]
        return answer

    return handle_thing_principals


def _set_logging(_match: Any, _headers: Any, _query: Any, body: bytes) -> Answer:
    _logging_options["v2"] = json.loads(body or "{}")
    return tuple(json_response({}))


def _get_logging(_match: Any, _headers: Any, _query: Any, _body: bytes) -> Answer:
    if "v2" not in _logging_options:
        return tuple(error_response_json("NotConfiguredException", "Logging is not configured.", 404))
    return tuple(json_response(_logging_options["v2"]))


_Operation = Callable[[re.Match[str], dict[str, str], dict[str, str], bytes], Answer]
_OPERATIONS: tuple[tuple[str, re.Pattern[str], _Operation], ...] = (
    ("GET", re.compile(r"/things/([^/]+)/principals-v2"), _thing_principals_v2),
    ("GET", re.compile(r"/principals/things-v2"), _principal_things_v2),
    ("POST", re.compile(r"/v2LoggingOptions"), _set_logging),
    ("GET", re.compile(r"/v2LoggingOptions"), _get_logging),
)


def _endpoint(original: Any) -> Any:
    def describe_endpoint(qp: dict[str, str]) -> Answer:
        answer: Answer = original(qp)
        if answer[0] == 200:
            prefix, suffix = iot._endpoint_prefix(get_account_id()), f".iot.{get_region()}.amazonaws.com"
            kind = ".credentials" if qp.get("endpointType") == "iot:CredentialProvider" else "-ats"
            return tuple(json_response({"endpointAddress": prefix + kind + suffix}))
        return answer

    return describe_endpoint


def _limited_versions(original: Any) -> Any:
    def create_policy_version(name: str, payload: dict[str, Any], qp: dict[str, str]) -> Answer:
        policy = iot._policies.get(name)
        if policy and len(policy["versions"]) >= POLICY_VERSIONS:
            message = f"The policy {name} already has the maximum number of versions ({POLICY_VERSIONS})"
            return tuple(error_response_json("VersionsLimitExceededException", message, 409))
        return tuple(original(name, payload, qp))

    return create_policy_version


def _known_issuer(original: Any) -> Any:
    async def register_certificate(payload: dict[str, Any], qp: dict[str, str], *, without_ca: bool = False) -> Answer:
        pem = payload.get("certificatePem") or ""
        implied = not without_ca and "BEGIN CERTIFICATE" in pem and not payload.get("caCertificatePem")
        if implied and iot._registered_issuer_id(pem) is None:
            message = "No CA certificate exists for the given certificate"
            return tuple(error_response_json("CertificateStateException", message, 406))
        return tuple(await original(payload, qp, without_ca=without_ca))

    return register_certificate


def _data_plane(original: Any) -> Any:
    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Answer:
        if match := re.fullmatch(r"/connections/(.+)", path):
            return await _connection(method, unquote(match.group(1)))
        if match := re.fullmatch(r"/api/things/shadow/ListNamedShadowsForThing/([^/]+)", path):
            return _named_shadows(unquote(match.group(1)))
        return _not_there(await original(method, path, headers, body, query_params))

    return handle_request


async def _connection(method: str, client_id: str) -> Answer:
    key = (get_account_id(), get_region(), client_id)
    session = iot._connected_clients.get(key)
    if session is None:
        return tuple(error_response_json("ResourceNotFoundException", f"{client_id} is not connected", 404))
    if method == "DELETE":
        session._forced_disconnect_reason = "API_INITIATED_DISCONNECT"
        await session._send({"type": "websocket.close", "code": 1000})
        return tuple(json_response({}))
    thing = client_id if client_id in iot._things else None
    return tuple(json_response({"connected": True, "clientId": client_id, "thingName": thing, "cleanSession": True}))


def _named_shadows(thing: str) -> Answer:
    if thing not in iot._things:
        return tuple(error_response_json("ResourceNotFoundException", f"No thing {thing}", 404))
    shadows = iot._shadows.items()
    names = sorted(name for (owner, name), shadow in shadows if owner == thing and name and not shadow.get("deleted"))
    return tuple(json_response({"results": names, "timestamp": int(time.time())}))


def _saved(original: Any) -> Any:
    def get_state() -> dict[str, Any]:
        return {**original(), "sandbox_logging_options": _logging_options}

    return get_state


def _loaded(original: Any) -> Any:
    def load_persisted_state(data: dict[str, Any]) -> None:
        original(data)
        _logging_options.update(data.get("sandbox_logging_options", {}))

    return load_persisted_state


def install() -> None:
    """Put ours before the base's routes."""
    request = "method, path, headers, body, query_params"
    replace(iot, "_route_request", request, _control_plane)
    replace(iot_data, "handle_request", request, _data_plane)
    replace(iot, "_describe_endpoint", "qp", _endpoint)
    replace(iot, "_create_policy_version", "name, payload, qp", _limited_versions)
    replace(iot, "_register_certificate", "payload, qp, without_ca", _known_issuer)
    replace(iot, "_handle_thing_principals", "method, path, headers, body, qp", _remember_type)
    replace(iot, "get_state", "", _saved)
    replace(iot, "load_persisted_state", "data", _loaded)
