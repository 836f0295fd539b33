# SPDX-License-Identifier: GPL-3.0-or-later
"""Lambda functions woken by SQS queues, as the function's role.

Messages are received and deleted through the gateway by a session of the role, so that IAM, the journal and fault rules
apply. Source: "Using Lambda with Amazon SQS" and CreateEventSourceMapping of the AWS Lambda documentation.
"""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import error_response_json, get_region, request_scope
from ministack.services import lambda_svc as base
from ministack.services import sqs
from ministack.services.cloudformation import provisioners

from iotops.sandbox import execution_role
from iotops.sandbox.patching import replace
from iotops.sandbox.queues import queue_url

__all__ = ["install"]

PRINCIPAL = "lambda.amazonaws.com"
_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
_POLL = 0.1  # seconds between two looks at a queue nobody has sent to: delays and visibility timeouts end unannounced
_BACKOFF = 1.0  # seconds before another try after one that failed
_LARGEST_RECEIVE = 10  # messages
# Batches at once. AWS begins with five; here each of them is a process, and more of them than processors are slower.
_CONCURRENCY = os.cpu_count() or 1
_NUMBERS = ("BatchSize", "MaximumBatchingWindowInSeconds", "MaximumRetryAttempts", "MaximumRecordAgeInSeconds")
_receiving: set[str] = set()  # mappings whose next batch is being received


class _Wake:
    """The base's event that a source has something, which it waits for up to a second."""

    def __getattr__(self, name: str) -> Any:
        return getattr(base.esm_wake, name)

    def wait(self, timeout: float) -> bool:
        return base.esm_wake.wait(min(timeout, _POLL))


# --- definitions -----------------------------------------------------------------------------------------------------


def _create(original: Any) -> Any:
    def create_esm(data: dict[str, Any]) -> Any:
        return _refusal(data) or original(data)

    return create_esm


def _update(original: Any) -> Any:
    def update_esm(esm_id: str, data: dict[str, Any]) -> Any:
        known = base._esms.get(esm_id)
        return (_refusal({**known, **data}, esm_id) if known else None) or original(esm_id, data)

    return update_esm


def _refusal(data: dict[str, Any], esm_id: str = "") -> Any:
    """AWS's answer to a mapping that cannot work; None when it can, or when the base refuses it."""
    arn = data.get("EventSourceArn") or ""
    name, _qualifier, missing = base._resolve_existing_esm_function(data.get("FunctionName", ""))
    if missing or ":sqs:" not in arn:
        return None
    for known in base._esms.values():
        if known["UUID"] != esm_id and (known["EventSourceArn"], known["FunctionName"]) == (arn, name):
            message = f'An event source mapping with SQS arn (" {arn} ") and function (" {name} ") already exists.'
            return error_response_json(
                "ResourceConflictException",
                f"{message} Please update or delete the existing mapping with UUID {known['UUID']}",
                409,
            )
    problem = _problem(data, base._functions[name]["config"], sqs._queue_by_arn(arn))
    return error_response_json("InvalidParameterValueException", problem, 400) if problem else None


def _problem(data: dict[str, Any], function: dict[str, Any], queue: dict[str, Any] | None) -> str | None:
    if queue is None:
        return (
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error "
            "Message: The specified queue does not exist for this wsdl version."
        )
    visibility, timeout = int(queue["attributes"].get("VisibilityTimeout", 30)), int(function.get("Timeout", 3))
    if visibility < timeout:
        return f"Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout} seconds"
    if int(data.get("BatchSize") or 10) > _LARGEST_RECEIVE and not int(data.get("MaximumBatchingWindowInSeconds") or 0):
        return "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
    for action in _ACTIONS:
        try:
            execution_role.require_allowed(
                function["Role"], PRINCIPAL, action, data["EventSourceArn"], source_arn=function["FunctionArn"]
            )
        except PermissionError:
            call = action.removeprefix("sqs:")
            return f"The function execution role does not have permissions to call {call} on SQS"
    return None


def _stack_create(_original: Any) -> Any:
    def lambda_esm_create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        """As the API does it, with the numbers and truths that templates may spell as text."""
        del logical_id, stack_name
        data = _typed(props)
        status, _headers, body = base._create_esm(data)
        answer = json.loads(body)
        if status >= 400:
            raise ValueError(
                f"{answer.get('message') or answer.get('Message')} (Service: Lambda, Status Code: {status})"
            )
        return answer["UUID"], provisioners._lambda_esm_attrs(answer["UUID"])

    return lambda_esm_create


def _stack_update(original: Any) -> Any:
    def lambda_esm_update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str) -> Any:
        new = _typed(new)
        made = original(physical_id, old, new, stack_name)
        if "Enabled" in new:
            enabled = new["Enabled"]
            base._esms[made[0]].update(Enabled=enabled, State="Enabled" if enabled else "Disabled")
        return made

    return lambda_esm_update


def _typed(props: dict[str, Any]) -> dict[str, Any]:
    """The properties with numbers and truths that are such."""
    found = {**props, **{name: int(props[name]) for name in _NUMBERS if props.get(name) is not None}}
    if "Enabled" in props:
        found["Enabled"] = str(props["Enabled"]).lower() == "true"
    if props.get("ScalingConfig"):
        found["ScalingConfig"] = {name: int(value) for name, value in props["ScalingConfig"].items()}
    return found


# --- running ---------------------------------------------------------------------------------------------------------


def _poll(_original: Any) -> Any:
    def poll_sqs() -> bool:
        """Begin a batch for each mapping whose queue has a message; whether there was one."""
        began = False
        for account, region, mapping in base._iter_all_esms():
            with request_scope(account, region):
                began = _begin(mapping) or began
        return began

    return poll_sqs


def _begin(mapping: dict[str, Any]) -> bool:
    mapping_id = mapping["UUID"]
    if not mapping.get("Enabled", True) or mapping_id in _receiving or ":sqs:" not in mapping["EventSourceArn"]:
        return False
    if base._esm_backoff_until.get(mapping_id, 0) > time.time():
        return False
    function, config = base._get_func_record_for_qualifier(mapping["FunctionName"], mapping.get("Qualifier"))
    queue = sqs._queue_by_arn(mapping["EventSourceArn"])
    if not function or not queue or not _has_message(queue):
        return False
    limit = int((mapping.get("ScalingConfig") or {}).get("MaximumConcurrency") or _CONCURRENCY)
    limit = min(limit, _CONCURRENCY)
    if base._esm_inflight.get(mapping_id, 0) >= limit:
        return False
    _receiving.add(mapping_id)
    base._dispatch_esm_batch(mapping_id, _batch, mapping, function, config)
    return True


def _has_message(queue: dict[str, Any]) -> bool:
    now = time.time()
    return any(message.get("visible_at", 0) <= now for message in list(queue["messages"]))


def _batch(mapping: dict[str, Any], function: dict[str, Any], config: dict[str, Any]) -> None:
    try:
        client = execution_role.client(config.get("Role"), "sqs", PRINCIPAL, source_arn=config["FunctionArn"])
        url = queue_url(mapping["EventSourceArn"])
        try:
            messages = _receive(client, url, mapping)
        finally:
            _receiving.discard(mapping["UUID"])
        done = _handled(mapping, function, messages) if messages else []
        for start in range(0, len(done), _LARGEST_RECEIVE):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(done[start : start + _LARGEST_RECEIVE])
            ]
            client.delete_message_batch(QueueUrl=url, Entries=entries)
    except (ClientError, BotoCoreError, PermissionError) as error:
        base.logger.warning("Lambda %s: %s", mapping["FunctionName"], error)
        mapping["LastProcessingResult"] = f"PROBLEM: {error}"[:512]
        base._esm_backoff_until[mapping["UUID"]] = time.time() + _BACKOFF
    finally:
        _receiving.discard(mapping["UUID"])


def _receive(client: Any, url: str, mapping: dict[str, Any]) -> list[dict[str, Any]]:
    """The next batch: what there is, or what comes until the batching window closes."""
    messages: list[dict[str, Any]] = []
    size = int(mapping.get("BatchSize") or 10)
    until = time.monotonic() + float(mapping.get("MaximumBatchingWindowInSeconds") or 0)
    while len(messages) < size:
        wanted = min(size - len(messages), _LARGEST_RECEIVE)
        found = client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=wanted, AttributeNames=["All"], MessageAttributeNames=["All"]
        ).get("Messages", [])
        messages += found
        if len(found) < wanted:
            if time.monotonic() >= until:
                break
            time.sleep(_POLL)
    return messages


def _handled(mapping: dict[str, Any], function: dict[str, Any], messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Invoke the function; the messages that are done with, because it took them or the filter does not want them."""
    records = base._apply_filter_criteria([_record(mapping, message) for message in messages], mapping)
    if not records:
        return messages
    result = base._execute_function_with_config_scope(function, {"Records": records})
    invoked = {record["messageId"] for record in records}
    failed = invoked if result.get("error") else _failures(mapping, result.get("body"), invoked)
    mapping["LastProcessingResult"] = "OK" if not failed else "PROBLEM: Function call failed"
    if failed:
        base.logger.warning("Lambda %s failed: %s", mapping["FunctionName"], result.get("body"))
    if failed == invoked:
        base._esm_backoff_until[mapping["UUID"]] = time.time() + _BACKOFF
    return [message for message in messages if message["MessageId"] not in failed]


def _record(mapping: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    attributes = {
        name: {key[0].lower() + key[1:]: _plain(item) for key, item in value.items()}
        for name, value in (message.get("MessageAttributes") or {}).items()
    }
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes") or {},
        "messageAttributes": attributes,
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": mapping["EventSourceArn"],
        "awsRegion": get_region(),
    }


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _failures(mapping: dict[str, Any], body: Any, invoked: set[str]) -> set[str]:
    """The messages that the function says it failed; all of them when the answer cannot be understood."""
    if "ReportBatchItemFailures" not in (mapping.get("FunctionResponseTypes") or []) or body is None:
        return set()
    try:
        failed = {entry["itemIdentifier"] for entry in body.get("batchItemFailures") or []}
    except (AttributeError, KeyError, TypeError):
        return invoked
    return failed if failed <= invoked else invoked


def install() -> None:
    """Poll queues here; the base keeps the mappings, and polls streams."""
    base._esm_wake = _Wake()
    replace(base, "_poll_sqs", "", _poll)
    replace(base, "_create_esm", "data", _create)
    replace(base, "_update_esm", "esm_id, data", _update)
    replace(provisioners, "_lambda_esm_create", "logical_id, props, stack_name", _stack_create)
    replace(provisioners, "_lambda_esm_update", "physical_id, old_props, new_props, stack_name", _stack_update)
    provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"].update(
        create=provisioners._lambda_esm_create, update=provisioners._lambda_esm_update
    )
