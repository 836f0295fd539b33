# SPDX-License-Identifier: GPL-3.0-or-later
"""Lambda functions in local processes.

A bound on how many run at once, the exception's class as ``errorType``, packages whose compiled wheels are for another
interpreter or processor, the root logger's handler, no pause after each invocation, and the role's trust and
permissions.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core import lambda_runtime
from ministack.core.responses import error_response_json, now_iso
from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners

from iotops.sandbox import execution_role
from iotops.sandbox.patching import BaseChangedError, replace
from iotops.sandbox.queues import queue_url

# More processes than processors make every one of them slower; the rest wait. After a while some go ahead all the same,
# as one that runs may wait for them; the others are throttled, as by AWS when the account's concurrency is used up.
PROCESSES = 2 * (os.cpu_count() or 1)
PATIENCE = 20.0  # seconds
_slots, _spare = threading.BoundedSemaphore(PROCESSES), threading.BoundedSemaphore(PROCESSES)

# The deployed package comes first on the path. When it cannot be imported here (its wheels are for the declared runtime
# and architecture), it goes last, so that the sandbox's own packages are found before it.
_IMPORT = "mod = importlib.import_module(module_name)"
# The runtime gives the root logger a handler, so that what a function logs below WARNING is seen too.
# https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
_IMPORT_ANYWHERE = """import logging
        logging.basicConfig(stream=sys.stderr, format="[%(levelname)s] %(message)s")
        _loaded = set(sys.modules)
        try:
            mod = importlib.import_module(module_name)
        except ImportError:
            for _name in set(sys.modules) - _loaded:
                del sys.modules[_name]
            sys.path.remove(code_dir)
            sys.path.append(code_dir)
            importlib.invalidate_caches()
            mod = importlib.import_module(module_name)"""
# An exception ends an invocation and not its process: the worker answers it as a result of this one key.
_MARK = chr(30)
_ERROR = '"status": "error", "error": str(e), "trace": traceback.format_exc()'
_ERROR_AS_RESULT = '"status": "ok", "result": {chr(30): [type(e).__name__, str(e), traceback.format_exc()]}'
# The base waits 50 ms for log lines that may never come; the worker says where they end.
_CALL = "result = handler_fn(event, context)"
_CALL_AND_MARK = """try:
                result = handler_fn(event, context)
            finally:
                sys.stderr.write(chr(30) + chr(10))
                sys.stderr.flush()"""
_LONGEST_DRAIN = 0.25  # seconds
PRINCIPAL = "lambda.amazonaws.com"
_NOT_ASSUMABLE = "The role defined for the function cannot be assumed by Lambda."


def _bounded(original: Any) -> Any:
    def execute_function_warm(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        if _slots.acquire(timeout=PATIENCE):
            slots = _slots
        elif _spare.acquire(blocking=False):
            slots = _spare
        else:
            return dict(lambda_svc._throttle_response("ConcurrentInvocationLimitExceeded", "Rate Exceeded."))
        try:
            return _with_failure(original(func, event, request_id))
        finally:
            slots.release()

    return execute_function_warm


def _with_failure(result: dict[str, Any]) -> dict[str, Any]:
    body = result.get("body")
    if not isinstance(body, dict) or _MARK not in body:
        return result
    kind, message, trace = body[_MARK]
    report = {"errorMessage": message, "errorType": kind, "stackTrace": trace.splitlines()}
    return {"body": report, "error": True, "log": "\n".join(filter(None, [result.get("log"), trace]))}


def _drain(original: Any) -> Any:
    def drain_stderr_bounded(
        worker: Any, first_line_wait: float = 0.050, idle_confirm: float = 0.005, hard_cap: float = 0.250
    ) -> str:
        """The log of one invocation: up to the mark that the worker writes after it."""
        if not worker.config.get("Runtime", "").startswith("python"):
            return str(original(worker, first_line_wait, idle_confirm, hard_cap))
        lines: list[str] = []
        until = time.monotonic() + _LONGEST_DRAIN
        while time.monotonic() < until:
            try:
                line = worker._stderr_queue.get(timeout=until - time.monotonic())
            except (queue.Empty, ValueError):
                break
            if line == _MARK:
                break
            lines.append(line)
        return "\n".join(lines)

    return drain_stderr_bounded


# --- roles -----------------------------------------------------------------------------------------------------------


def _assumable(role_arn: str | None) -> bool:
    try:
        execution_role.require_trust(role_arn, PRINCIPAL)
    except execution_role.RoleNotAssumableError:
        return False
    return True


def _create(original: Any) -> Any:
    def create_function(data: dict[str, Any]) -> Any:
        if not _assumable(data.get("Role")):
            return error_response_json("InvalidParameterValueException", _NOT_ASSUMABLE, 400)
        return original(data)

    return create_function


def _update(original: Any) -> Any:
    def update_config(name: str, data: dict[str, Any]) -> Any:
        if data.get("Role") and not _assumable(data["Role"]):
            return error_response_json("InvalidParameterValueException", _NOT_ASSUMABLE, 400)
        return original(name, data)

    return update_config


def _in_stacks(handler: Any, position: int) -> Any:
    def checked(*arguments: Any, **named: Any) -> Any:
        if not _assumable(arguments[position].get("Role")):
            raise ValueError(f"{_NOT_ASSUMABLE} (Service: Lambda, Status Code: 400)")
        return handler(*arguments, **named)

    return checked


def _route_failure(original: Any) -> Any:
    def route_async_failure(target_arn: str, func_name: str, event: Any, result: dict[str, Any]) -> None:
        """What no attempt could handle goes to the queue as the function's role, in the form of its configuration."""
        if ":sqs:" not in target_arn:
            return original(target_arn, func_name, event, result)
        function = lambda_svc._functions[func_name]
        config = function["config"]
        body: Any = event
        if target_arn != (config.get("DeadLetterConfig") or {}).get("TargetArn"):
            settings = function.get("event_invoke_config") or (function.get("event_invoke_configs") or {}).get(
                "$LATEST"
            )
            attempts = (settings or {}).get("MaximumRetryAttempts")
            body = {
                "version": "1.0",
                "timestamp": now_iso(),
                "requestContext": {
                    "functionArn": f"{config['FunctionArn']}:$LATEST",
                    "condition": "RetriesExhausted",
                    "approximateInvokeCount": 1 + int(2 if attempts is None else attempts),
                },
                "requestPayload": event,
                "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
                "responsePayload": result.get("body"),
            }
        try:
            client = execution_role.client(config.get("Role"), "sqs", PRINCIPAL, source_arn=config["FunctionArn"])
            client.send_message(QueueUrl=queue_url(target_arn), MessageBody=json.dumps(body))
        except (ClientError, BotoCoreError, PermissionError) as error:
            lambda_svc.logger.error("Lambda %s: dead letter refused: %s", func_name, error)
        return None

    return route_async_failure


def install() -> None:
    """Bound the processes, edit the worker's script, check the roles.

    Raises:
        BaseChangedError: the script is not the one we know.

    """
    replace(lambda_svc, "_execute_function_warm", "func, event, request_id", _bounded)
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    for old, new in ((_IMPORT, _IMPORT_ANYWHERE), (_ERROR, _ERROR_AS_RESULT), (_CALL, _CALL_AND_MARK)):
        if script.count(old) != 1:
            raise BaseChangedError(
                f"the base's Lambda worker lacks {old!r}: install the version pinned in pyproject.toml"
            )
        script = script.replace(old, new)
    lambda_runtime._PYTHON_WORKER_SCRIPT = script
    replace(lambda_runtime.Worker, "_drain_stderr_bounded", "self, first_line_wait, idle_confirm, hard_cap", _drain)
    replace(lambda_svc, "_create_function", "data", _create)
    replace(lambda_svc, "_update_config", "name, data", _update)
    replace(lambda_svc, "_route_async_failure", "target_arn, func_name, event, result", _route_failure)
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    handlers.update(create=_in_stacks(handlers["create"], 1), update=_in_stacks(handlers["update"], 2))
