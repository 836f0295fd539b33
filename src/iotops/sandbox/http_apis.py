# SPDX-License-Identifier: GPL-3.0-or-later
"""What HTTP APIs of API Gateway lack in the base.

The caller's address (event, ``X-Forwarded-For``), and which public address a loopback address stands for; one request
id in event, answer and log; the stage's throttling and access log; the largest payload; the function's permission; the
answer when the function fails; metrics. Sources: "Logging variables for HTTP APIs", "Throttle requests to your HTTP
APIs", "Quotas for configuring and running an HTTP API" and "Working with metrics for HTTP APIs" of the API Gateway
developer guide.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region, get_request_client_ip, request_scope
from ministack.services import apigateway, cloudwatch, cloudwatch_logs
from ministack.services.cloudformation import provisioners

from iotops.sandbox.errors import SandboxError
from iotops.sandbox.faults import Bucket
from iotops.sandbox.patching import replace

__all__ = ["install", "set_viewers"]

LARGEST = 10 * 1024 * 1024  # bytes of a payload
PRINCIPAL = "apigateway.amazonaws.com"
_VARIABLE = re.compile(r"\$context((?:\.\w+)+)")
_viewers: dict[str, str] = {}
_buckets: dict[tuple[str, ...], Bucket] = {}

Answer = tuple[int, dict[str, Any], bytes]


@dataclass
class _Request:
    """What is known of a request beside what the base hands on."""

    source: str
    id: str = field(default_factory=lambda: base64.b64encode(os.urandom(11)).decode())
    started: float = field(default_factory=time.monotonic)
    route_key: str = "-"
    integration: float | None = None  # seconds


_current: ContextVar[_Request] = ContextVar("sandbox_http_api_request")


def set_viewers(wanted: dict[str, str]) -> dict[str, str]:
    """Say which public address each loopback address stands for, in place of what was said before.

    Raises:
        SandboxError: a key that is no loopback address, or a value that is no address.

    """
    for peer, public in wanted.items():
        try:
            loopback, _ = ipaddress.ip_address(peer).is_loopback, ipaddress.ip_address(public)
        except ValueError as error:
            raise SandboxError(f"viewers: {error}") from None
        if not loopback:
            raise SandboxError(f"viewers: {peer} is no loopback address, only these stand for others")
    _viewers.clear()
    _viewers.update(wanted)
    return dict(_viewers)


# --- requests --------------------------------------------------------------------------------------------------------


def _execute(original: Any) -> Any:
    async def handle_execute(
        api_id: str,
        stage: str,
        path: str,
        method: str,
        headers: dict[str, str],
        body: bytes,
        query_params: dict[str, Any],
        raw_query_string: str | None = None,
    ) -> Answer:
        scope = apigateway.find_api_scope(api_id)
        if scope is None:
            return tuple(await original(api_id, stage, path, method, headers, body, query_params, raw_query_string))
        peer = get_request_client_ip()
        request = _Request(_viewers.get(peer, peer))
        token = _current.set(request)
        known = headers.get("x-forwarded-for")
        headers = {**headers, "x-forwarded-for": f"{known}, {request.source}" if known else request.source}
        try:
            with request_scope(*scope):
                settings = apigateway._stages.get(api_id, {}).get(stage) or {}
                answer = _refusal(api_id, stage, settings, body) or await original(
                    api_id, stage, path, method, headers, body, query_params, raw_query_string
                )
                answer[1]["apigw-requestid"] = request.id
                _log(settings, _variables(request, api_id, stage, path, method, answer))
                _count(request, api_id, stage, answer[0])
        finally:
            _current.reset(token)
        return answer

    return handle_execute


def _message(status: int, text: str) -> Answer:
    return status, {"Content-Type": "application/json"}, f'{{"message":"{text}"}}'.encode()


def _refusal(api_id: str, stage: str, settings: dict[str, Any], body: bytes) -> Answer | None:
    if len(body or b"") > LARGEST:
        return _message(413, "Request Entity Too Large")
    limits = settings.get("defaultRouteSettings") or {}
    rate, burst = limits.get("throttlingRateLimit"), limits.get("throttlingBurstLimit")
    if rate is None or burst is None:
        return None
    key, now = (get_account_id(), get_region(), api_id, stage, str(rate), str(burst)), time.monotonic()
    bucket = _buckets.setdefault(key, Bucket(float(rate), float(burst), now))
    return None if bucket.take(now) else _message(429, "Too Many Requests")


def _invoked(original: Any) -> Any:
    async def run_reentrant(fn: Any, *args: Any, thread_name: str = "ministack-reentrant") -> Any:
        event = args[1] if len(args) > 1 else None
        request = _current.get(None)
        if request is None or not isinstance(event, dict) or "http" not in event.get("requestContext", {}):
            return await original(fn, *args, thread_name=thread_name)
        context = event["requestContext"]
        context["requestId"], context["http"]["sourceIp"] = request.id, request.source
        request.route_key = context["routeKey"]
        if not _may_invoke(args[0], context, event["rawPath"]):
            return {"error": True, "body": _failed()}
        started = time.monotonic()
        result = await original(fn, *args, thread_name=thread_name)
        request.integration = time.monotonic() - started
        return {**result, "body": _failed()} if result.get("error") else result

    return run_reentrant


def _failed() -> dict[str, Any]:
    status, headers, body = _message(500, "Internal Server Error")
    return {"statusCode": status, "headers": headers, "body": body.decode()}


def _may_invoke(function: dict[str, Any], context: dict[str, Any], path: str) -> bool:
    """Whether the function's policy lets this API invoke it for this request."""
    region, account = get_region(), get_account_id()
    source = f"{context['apiId']}/{context['stage']}/{context['http']['method']}{path}"
    source = f"arn:aws:execute-api:{region}:{account}:{source}"
    asked = iam_evaluator.EvalContext(
        PRINCIPAL, "Service", account, "lambda:InvokeFunction", function["config"]["FunctionArn"], region,
        service_context={"aws:sourceaccount": account, "aws:sourcearn": source},
    )  # fmt: skip
    policy = function.get("policy")
    return bool(iam_evaluator.evaluate_resource_policy(policy, asked, service=PRINCIPAL).decision == "Allow")


# --- logs and metrics ------------------------------------------------------------------------------------------------


def _variables(
    request: _Request, api_id: str, stage: str, path: str, method: str, answer: Answer
) -> dict[str, str | int]:
    status, _headers, body = answer
    names: dict[str, str | int] = {
        "accountId": get_account_id(),
        "apiId": api_id,
        "httpMethod": method,
        "identity.sourceIp": request.source,
        "path": path,
        "protocol": "HTTP/1.1",
        "requestId": request.id,
        "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()),
        "requestTimeEpoch": int(time.time() * 1000),
        "responseLatency": round((time.monotonic() - request.started) * 1000),
        "responseLength": len(body),
        "routeKey": request.route_key,
        "stage": stage,
        "status": status,
    }
    if request.integration is not None:
        names["integrationLatency"] = round(request.integration * 1000)
    return names


def _log(settings: dict[str, Any], variables: dict[str, str | int]) -> None:
    logging = settings.get("accessLogSettings") or {}
    group = logging.get("destinationArn", "").partition(":log-group:")[2].removesuffix(":*")
    if group not in cloudwatch_logs._log_groups:
        return
    stream = f"{variables['apiId']}/{settings['stageName']}"
    if stream not in cloudwatch_logs._log_groups[group]["streams"]:
        cloudwatch_logs._create_log_stream({"logGroupName": group, "logStreamName": stream})
    line = _VARIABLE.sub(lambda found: str(variables.get(found[1][1:], "-")), logging.get("format", ""))
    cloudwatch_logs._put_log_events({"logGroupName": group, "logStreamName": stream, "logEvents": [{"message": line}]})


def _count(request: _Request, api_id: str, stage: str, status: int) -> None:
    latency = (time.monotonic() - request.started) * 1000
    for dimensions in ({"ApiId": api_id}, {"ApiId": api_id, "Stage": stage}):
        for name, value in (("Count", 1), ("4xx", status // 100 == 4), ("5xx", status // 100 == 5)):
            cloudwatch.record_metric("AWS/ApiGateway", name, float(value), "Count", dimensions)
        cloudwatch.record_metric("AWS/ApiGateway", "Latency", latency, "Milliseconds", dimensions)


# --- stages of templates ---------------------------------------------------------------------------------------------


def _stage(original: Any) -> Any:
    def apigw_v2_stage_props(props: dict[str, Any]) -> dict[str, Any]:
        """The settings in the spelling of the API, in which GetStage answers them; numbers of parameters are text."""
        record: dict[str, Any] = original(props)
        record["defaultRouteSettings"] = _spelled(record["defaultRouteSettings"])
        record["routeSettings"] = {route: _spelled(each) for route, each in record["routeSettings"].items()}
        return record

    return apigw_v2_stage_props


def _spelled(settings: dict[str, Any]) -> dict[str, Any]:
    kinds: dict[str, Any] = {"ThrottlingBurstLimit": int, "ThrottlingRateLimit": float}
    return {name[0].lower() + name[1:]: kinds.get(name, lambda value: value)(each) for name, each in settings.items()}


def install() -> None:
    """Wrap the way of a request through the base."""
    parameters = "api_id, stage, path, method, headers, body, query_params, raw_query_string"
    replace(apigateway, "handle_execute", parameters, _execute)
    replace(apigateway, "run_reentrant", "fn, args, thread_name", _invoked)
    replace(provisioners, "_apigw_v2_stage_props", "props", _stage)
