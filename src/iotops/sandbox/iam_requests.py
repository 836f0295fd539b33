# SPDX-License-Identifier: GPL-3.0-or-later
"""What IAM is told about a request, where the base says something else than AWS.

Attaching and detaching are authorised on the certificate (or other target), a stream's calls on the stream, those of a
connection on the client, those of a named shadow on the shadow, those of targets on their policy, those of a CA or a
domain configuration on itself, those of a job's execution on the thing and on the job, queries on their index, those of
a Map Run, a health check or a queue's dead letters on that; what a queue does in batches, as what it does singly. The
gateway's plain HTTP, which never leaves the machine, stands for TLS, so that policies may insist on it.
Source: "Actions, resources, and condition keys" of AWS IoT, of Amazon DynamoDB, of Amazon Route 53, of Amazon SQS and
of AWS Step Functions, Service Authorization Reference.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ministack import app
from ministack.core import iam_actions
from ministack.services import iot

from iotops.sandbox.patching import replace

__all__ = ["install"]

_PRINCIPALS = re.compile(r"/things/[^/]+/principals")
_CONFIGURATION = re.compile(r"/domainConfigurations/([^/]+)")
_CHECK = re.compile(r"/[\d-]+/healthcheck/([^/]+)(?:/status)?")
_AUTHORITY = re.compile(r"/cacertificate/([^/]+)")
_SHADOW = re.compile(r"/things/([^/]+)/shadow")
_EXECUTION = re.compile(r"/things/([^/]+)/jobs/([^/]+)(?:/.*)?")
_INDEX = re.compile(r"/indices/(?:search|statistics|cardinality|([^/]+))")
_SINGLE = ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:SendMessage")
_BATCHES = {f"{action}Batch": action for action in _SINGLE}


def _resource(service: str, path: str, headers: dict[str, str], body: bytes) -> str | None:
    """The ARN that the request names; None where the base knows it."""
    named: Any = None
    if service == "iot" and _PRINCIPALS.fullmatch(path):
        named = headers.get("x-amzn-principal")
    elif service == "iot" and path.startswith("/target-policies/"):
        named = _member(body, "target")
    elif service == "iot" and (match := _CONFIGURATION.fullmatch(path)):
        named = iot._domain_config_arn(match.group(1), None) + "/any"
        named = iot._domain_configurations.get(match.group(1), {}).get("domainConfigurationArn", named)
    elif service == "iot" and (match := _AUTHORITY.fullmatch(path)):
        named = iot._ca_cert_arn(match.group(1))
    elif service == "route53" and (match := _CHECK.fullmatch(path)):
        named = f"arn:aws:route53:::healthcheck/{match.group(1)}"
    elif service == "sqs":
        named = _member(body, "SourceArn")
    elif service == "states":
        named = _member(body, "mapRunArn")
    elif service == "dynamodbstreams":
        named = _member(body, "StreamArn")
    return named if isinstance(named, str) and named.startswith("arn:") else None


def _member(body: bytes, name: str) -> Any:
    try:
        return json.loads(body or b"{}").get(name)
    except (ValueError, AttributeError):
        return None


def _data_resource(path: str, query: dict[str, Any]) -> str | None:
    if path.startswith("/connections/"):
        return f"client/{path.removeprefix('/connections/')}"
    shadow = _SHADOW.fullmatch(path)
    name = query.get("name")
    name = name[0] if isinstance(name, list) else name
    return f"thing/{shadow.group(1)}/{name}" if shadow and name else None


def _action(original: Any) -> Any:
    def extract_iam_action(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> str | None:
        action: str | None = original(service, method, path, headers, body, query_params)
        return _BATCHES.get(action or "", action)

    return extract_iam_action


def _extract(original: Any) -> Any:
    def extract_resource_arn(
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query_params: dict[str, Any],
        region: str,
        account_id: str,
    ) -> str:
        found = _resource(service, path, headers, body)
        if service == "iot-data" and (name := _data_resource(path, query_params)):
            return f"arn:aws:iot:{region}:{account_id}:{name}"
        if service == "iot" and path.startswith("/policy-targets/"):
            return f"arn:aws:iot:{region}:{account_id}:policy/{path.removeprefix('/policy-targets/')}"
        if service == "iot" and (index := _INDEX.fullmatch(path)):
            name = index.group(1) or _member(body, "indexName") or "AWS_Things"
            return f"arn:aws:iot:{region}:{account_id}:index/{name}"
        return found or original(service, method, path, headers, body, query_params, region, account_id)

    return extract_resource_arn


def _several(original: Any) -> Any:
    def iot_resource_arns(method: str, path: str, body: bytes, region: str, account_id: str) -> list[str]:
        """All that a request has to be allowed on, where that is more than one."""
        if execution := _EXECUTION.fullmatch(path):
            thing, job = execution.groups()
            return [f"arn:aws:iot:{region}:{account_id}:{name}" for name in (f"thing/{thing}", f"job/{job}")]
        found: list[str] = original(method, path, body, region, account_id)
        return found

    return iot_resource_arns


def _secure(original: Any) -> Any:
    def pin_request_origin(source_ip: str, secure_transport: bool) -> None:  # noqa: ARG001 - the base's signature
        original(source_ip, True)

    return pin_request_origin


def install() -> None:
    """Name the resource and the transport as AWS does."""
    replace(app, "pin_request_origin", "source_ip, secure_transport", _secure)
    replace(iam_actions, "iot_resource_arns", "method, path, body, region, account_id", _several)
    parameters = "service, method, path, headers, body, query_params, region, account_id"
    replace(iam_actions, "extract_resource_arn", parameters, _extract)
    replace(iam_actions, "extract_iam_action", "service, method, path, headers, body, query_params", _action)
