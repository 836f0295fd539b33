# SPDX-License-Identifier: GPL-3.0-or-later
"""Which API call a request is: region, service (as boto3 names it), operation and caller."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

import botocore.session
from botocore.exceptions import UnknownServiceError

# Signing names whose boto3 service is called differently.
_BOTO3_NAMES = {"states": "stepfunctions", "iotdata": "iot-data", "monitoring": "cloudwatch"}
# What the calls of a state machine's tasks carry (task_calls.py).
STATE_HEADER, EXECUTION_HEADER = "x-sandbox-state", "x-sandbox-execution"
_CREDENTIAL = re.compile(r"Credential=([^/,]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_QUERY_ACTION = re.compile(rb"(?:^|&)Action=(\w+)")
_CBOR_PATH = re.compile(r"/service/[^/]+/operation/(\w+)$")
# What a request names: not values of items, which are objects, nor JSON in a text, whose quotes are escaped.
_NAMED = re.compile(rb'"(?:TableName|stateMachineArn|QueueUrl|EventBusName)"\s*:\s*"([^"]+)"')
_FUNCTION = re.compile(r"/functions/([^/]+)/invocations$")
# An HTTP API's own address on the gateway; its callers sign nothing.
_API = re.compile(r"/_aws/execute-api/(\w+)/")
_READING = re.compile(r"(Get|List|Describe|Head|Query$|Scan|BatchGet|Search|Lookup|Detect|Validate|Test|Filter)")


@dataclass(frozen=True)
class Call:
    """One API call. ``region``, ``service`` and ``operation`` are empty when the request does not say.

    ``state`` and ``execution`` (an ARN) of the state machine that makes it; empty when none does.
    """

    region: str
    service: str
    operation: str
    access_key: str
    cbor: bool = False
    state: str = ""
    execution: str = ""

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return not _READING.match(self.operation)

    @property
    def caller(self) -> str:
        """The caller's ARN, or the access key of the root user."""
        from ministack.core.iam_evaluator import resolve_caller_identity  # the CLI works without the base

        identity = resolve_caller_identity(self.access_key) if self.access_key else None
        arn = str((identity or {}).get("userArn") or "")
        return arn if arn and not arn.endswith(":root") else self.access_key

    @property
    def input(self) -> str:
        """The input of the execution that makes it, as it was given."""
        if not self.execution:
            return ""
        from ministack.services import stepfunctions

        region, account = self.execution.split(":")[3:5]
        record = stepfunctions._executions.get_scoped(account, region, self.execution)
        return str((record or {}).get("input", ""))


def call_of(scope: dict[str, Any], headers: dict[str, str], body: bytes | None = None) -> Call:
    """The call of an ASGI request; ``body`` is needed only for the query protocol (``needs_body``)."""
    signed = _CREDENTIAL.search(headers.get("authorization", ""))
    if not signed:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        presigned = (query.get("X-Amz-Credential") or [""])[0]
        signed = _CREDENTIAL.search(f"Credential={presigned}")
    if not signed:
        api = _API.match(scope.get("path", ""))
        return Call(_region_of_api(api[1]), "execute-api", "Invoke", "") if api else Call("", "", "", "")
    key, region, service = signed.groups()
    target = headers.get("x-amz-target", "")
    if target.startswith("DynamoDBStreams"):
        service = "dynamodbstreams"
    service = _BOTO3_NAMES.get(service, service)
    return Call(
        region,
        service,
        _operation(service, scope, headers, body),
        key,
        cbor="smithy-protocol" in headers,
        state=headers.get(STATE_HEADER, ""),
        execution=headers.get(EXECUTION_HEADER, ""),
    )


def _region_of_api(api_id: str) -> str:
    from ministack.services import apigateway  # the CLI works without the base

    return next((region for (_account, region, each), _api in apigateway._apis.all_items() if each == api_id), "")


def needs_body(headers: dict[str, str]) -> bool:
    """Whether the body says which operation it is (query protocol) or of which resource (JSON protocols)."""
    return "x-amz-target" in headers or headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def resources_of(call: Call, path: str, body: bytes | None) -> list[str]:
    """The tables, queues, state machines, event buses or functions that a request names, by their short names.

    One for each item of a transaction or a batch.
    """
    if function := _FUNCTION.search(path):
        return [unquote(function.group(1)).rsplit(":", 1)[-1]]
    if body and call.operation in ("BatchGetItem", "BatchWriteItem"):
        wanted = json.loads(body).get("RequestItems", {})
        return [table for table, of in wanted.items() for _item in (of["Keys"] if isinstance(of, dict) else of)]
    return [re.split("[:/]", name.decode())[-1] for name in _NAMED.findall(body or b"")]


def _operation(service: str, scope: dict[str, Any], headers: dict[str, str], body: bytes | None) -> str:
    if target := headers.get("x-amz-target", ""):
        return target.rsplit(".", 1)[-1]
    if cbor := _CBOR_PATH.match(scope["path"]):
        return cbor.group(1)
    if body and (action := _QUERY_ACTION.search(body)):
        return action.group(1).decode()
    names = set(parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
    for route in _routes(service):
        if route.matches(scope["method"], path, names, headers):
            return route.operation
    return ""


@dataclass(frozen=True)
class _Route:
    method: str
    path: re.Pattern[str]
    query: frozenset[str]
    headers: frozenset[str]
    operation: str

    def matches(self, method: str, path: str, names: set[str], headers: dict[str, str]) -> bool:
        given = self.method == method and self.query <= names and self.headers <= headers.keys()
        return given and self.path.fullmatch(path) is not None


@functools.lru_cache(maxsize=64)
def _routes(service: str) -> list[_Route]:
    """The service's REST routes, the most specific first (more query string, more headers, fewer placeholders)."""
    try:
        model = botocore.session.get_session().get_service_model(service)
    except UnknownServiceError:
        return []
    routes = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path, _, query = http.get("requestUri", "/").partition("?")
        pattern = re.sub(r"\\\{\w+\\\+\\\}", ".+", re.escape(path).replace("/\\{Bucket\\}", "/[^/]+"))
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", pattern)
        required = frozenset(part.partition("=")[0] for part in query.split("&") if part)
        needed = _required_headers(model.operation_model(name).input_shape)
        routes.append(_Route(http.get("method", "POST"), re.compile(pattern + "/?"), required, needed, name))
    return sorted(routes, key=_specificity)


def _specificity(route: _Route) -> tuple[int, ...]:
    pattern = route.path.pattern
    return -len(route.query), -len(route.headers), pattern.count("["), pattern.count(".+")


def _required_headers(shape: Any) -> frozenset[str]:
    """CopyObject differs from PutObject in nothing else."""
    members = [shape.members[name].serialization for name in shape.required_members] if shape else []
    return frozenset(member["name"].lower() for member in members if member.get("location") == "header")
