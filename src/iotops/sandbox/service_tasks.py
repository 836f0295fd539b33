# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of state machines that call AWS services, as the machine's role and in Step Functions' own spelling.

AWS SDK integrations reach any service that botocore knows: members are spelled as in the SDK for Java 2
(``ThingName``), timestamps are ISO 8601 strings, errors are ``<Prefix>.<Exception>``. Optimised integrations keep their
own prefixes.
Sources: "Learning to use AWS service SDK integrations in Step Functions" and "Integrating services with Step Functions"
of the AWS Step Functions Developer Guide.
"""

from __future__ import annotations

import contextvars
import datetime
import functools
import json
import re
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from ministack.core.responses import get_account_id, get_region
from ministack.services import stepfunctions as sfn

from iotops.sandbox import execution_role
from iotops.sandbox.patching import replace

__all__ = [
    "PRINCIPAL",
    "arn_of_machine",
    "botocore_name",
    "client",
    "install",
    "machine_arn",
    "machine_role",
    "members",
    "optimised_task",
]

PRINCIPAL = "states.amazonaws.com"
_LONGEST_DATA = 256 * 1024  # bytes of input or result
# Of the execution whose task this thread runs.
machine_role: contextvars.ContextVar[str] = contextvars.ContextVar("machine_role", default="")
machine_arn: contextvars.ContextVar[str] = contextvars.ContextVar("machine_arn", default="")

# Names in `aws-sdk:<name>` (package names of the SDK for Java 2) that botocore spells otherwise.
_BOTOCORE_NAMES = {
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "iotdataplane": "iot-data",
    "iotjobsdataplane": "iot-jobs-data",
    "sfn": "stepfunctions",
}
# Prefixes of errors that are not the capitalised service name.
_PREFIXES = {
    "acmpca": "AcmPca",
    "cloudformation": "CloudFormation",
    "cloudwatch": "CloudWatch",
    "cloudwatchlogs": "CloudWatchLogs",
    "dynamodb": "DynamoDb",
    "dynamodbstreams": "DynamoDbStreams",
    "eventbridge": "EventBridge",
    "iotdataplane": "IotDataPlane",
    "iotjobsdataplane": "IotJobsDataPlane",
    "route53": "Route53",
    "secretsmanager": "SecretsManager",
}
# service: (prefix, error of what the model does not name, members that take an object and send it as JSON text)
_OPTIMISED: dict[str, tuple[str, str, frozenset[str]]] = {
    "dynamodb": ("DynamoDB", "AmazonDynamoDBException", frozenset()),
    "events": ("EventBridge", "AmazonEventBridgeException", frozenset({"Detail"})),
    "lambda": ("Lambda", "AWSLambdaException", frozenset({"Payload"})),
    "sns": ("SNS", "AmazonSNSException", frozenset({"Message"})),
    "sqs": ("SQS", "AmazonSQSException", frozenset({"MessageBody"})),
    "stepfunctions": ("StepFunctions", "AWSStepFunctionsException", frozenset({"Input"})),
}
_OPTIMISED_ACTIONS = {
    "arn:aws:states:::dynamodb:putItem": ("dynamodb", "PutItem"),
    "arn:aws:states:::dynamodb:getItem": ("dynamodb", "GetItem"),
    "arn:aws:states:::dynamodb:deleteItem": ("dynamodb", "DeleteItem"),
    "arn:aws:states:::dynamodb:updateItem": ("dynamodb", "UpdateItem"),
    "arn:aws:states:::events:putEvents": ("events", "PutEvents"),
    "arn:aws:states:::sns:publish": ("sns", "Publish"),
    "arn:aws:states:::sqs:sendMessage": ("sqs", "SendMessage"),
}


def botocore_name(sdk_name: str) -> str:
    """What botocore calls the service of ``aws-sdk:<sdk_name>``."""
    return _BOTOCORE_NAMES.get(sdk_name, sdk_name)


def arn_of_machine(name: str) -> str:
    """The ARN of a state machine of this account and region."""
    return f"arn:aws:states:{get_region()}:{get_account_id()}:stateMachine:{name}"


def client(service: str) -> Any:
    """A botocore client that calls the gateway as the role of the machine whose task this thread runs.

    Raises:
        stepfunctions._ExecutionError: ``States.Permissions``: Step Functions may not assume the role.

    """
    try:
        return execution_role.client(machine_role.get(), service, PRINCIPAL, source_arn=machine_arn.get())
    except execution_role.RoleNotAssumableError as error:
        raise sfn._ExecutionError("States.Permissions", str(error)) from None


def call(
    service: str, action: str, arguments: Any, prefix: str, base_error: str, as_text: frozenset[str] = frozenset()
) -> Any:
    """Call ``action`` (PascalCase) of the botocore service ``service`` and answer in Step Functions' spelling.

    Raises:
        stepfunctions._ExecutionError: ``States.Runtime`` for arguments that the service's model does not know,
            ``<prefix>.<Exception>`` for what the service refused.

    """
    caller = client(service)
    model = caller.meta.service_model
    if action not in model.operation_names:
        raise sfn._ExecutionError("States.Runtime", f"The resource provided is not supported: {service}:{action}")
    operation = model.operation_model(action)
    parameters = _to_wire(arguments or {}, operation.input_shape, as_text) if operation.input_shape else {}
    try:
        answer = getattr(caller, xform_name(action))(**parameters)
    except ClientError as error:
        codes = [error.response["Error"].get(key, "") for key in ("Code", "QueryErrorCode")]
        code = _error_name(codes, model) or base_error
        status = error.response["ResponseMetadata"].get("HTTPStatusCode")
        message = error.response["Error"].get("Message", "")
        request = error.response["ResponseMetadata"].get("RequestId", "")
        raise sfn._ExecutionError(
            f"{prefix}.{code}", f"{message} (Service: {prefix}, Status Code: {status}, Request ID: {request})"
        ) from None
    except ParamValidationError as error:
        raise sfn._ExecutionError(
            "States.Runtime", f"The Parameters could not be used to start the Task: [{error}]"
        ) from None
    except BotoCoreError as error:
        raise sfn._ExecutionError(f"{prefix}.SdkClientException", str(error)) from None
    answer.pop("ResponseMetadata", None)
    result = _from_wire(answer, operation.output_shape)
    if len(json.dumps(result)) > _LONGEST_DATA:
        raise sfn._ExecutionError("States.DataLimitExceeded", f"The result of {service}:{action} is too large")
    return result


def _error_name(codes: list[str], model: Any) -> str | None:
    """The exception class that the SDK for Java 2 has for error codes; None when the model names none of them."""
    short = {code.rsplit("#", 1)[-1] for code in codes}
    for shape in model.error_shapes:
        if short & {shape.name, shape.metadata.get("error", {}).get("code")}:
            name: str = shape.name.removesuffix("Fault") if shape.name.endswith("Fault") else shape.name
            return name if name.endswith("Exception") else f"{name}Exception"
    return None


def _to_wire(value: Any, shape: Any, as_text: frozenset[str]) -> Any:
    """Arguments as botocore wants them; a member in any other spelling than the SDK's is refused, as on AWS."""
    if shape.type_name == "structure" and isinstance(value, dict):
        if getattr(shape, "is_document_type", False):
            return value
        names = members(shape)
        unknown = sorted(set(value) - set(names))
        if unknown:
            raise sfn._ExecutionError("States.Runtime", f'The field "{unknown[0]}" is not supported by Step Functions')
        return {
            names[key]: _text(item) if key in as_text else _to_wire(item, shape.members[names[key]], as_text)
            for key, item in value.items()
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [_to_wire(item, shape.member, as_text) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: _to_wire(item, shape.value, as_text) for key, item in value.items()}
    if shape.type_name == "blob":
        return _text(value)
    if shape.type_name == "timestamp" and isinstance(value, str):
        return datetime.datetime.fromisoformat(value)
    return value


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def members(shape: Any) -> dict[str, str]:
    """The members of a structure: the SDK's name -> the name on the wire."""
    return {_sdk_name(shape.name, name): name for name in shape.members}


def _sdk_name(shape_name: str, member: str) -> str:
    return str(sfn._SDK_MEMBER_NAME_OVERRIDES.get((shape_name, member)) or sfn._api_name_to_sfn_key(member))


def _from_wire(value: Any, shape: Any) -> Any:
    """An answer with the SDK's member names, ISO timestamps and text bodies; the keys of maps are data."""
    if isinstance(value, dict):
        if shape is not None and shape.type_name == "structure":
            return {_sdk_name(shape.name, k): _from_wire(v, shape.members.get(k)) for k, v in value.items()}
        return {key: _from_wire(item, getattr(shape, "value", None)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_from_wire(item, getattr(shape, "member", None)) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    if hasattr(value, "read"):
        value = value.read()
    return value.decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else value


def _sdk_task(_original: Any) -> Any:
    def invoke_aws_sdk_integration(resource: str, input_data: Any) -> Any:
        found = re.fullmatch(r"arn:aws:states:::aws-sdk:(\w+):(\w+)(\.waitForTaskToken)?", resource)
        if not found:
            raise sfn._ExecutionError("States.Runtime", f"The resource provided {resource} is not recognized")
        service, action = found.group(1), found.group(2)
        prefix = _PREFIXES.get(service, service[:1].upper() + service[1:])
        return call(
            botocore_name(service), action[:1].upper() + action[1:], input_data, prefix,
            f"{prefix}Exception",
        )  # fmt: skip

    return invoke_aws_sdk_integration


def optimised_task(service: str, action: str, arguments: Any) -> Any:
    """Call a service as its optimised integration does, with the errors of that."""
    prefix, base_error, as_text = _OPTIMISED[service]
    return call(service, action, arguments, prefix, base_error, as_text)


def _lambda_task(_original: Any) -> Any:
    def call_lambda(func_ref: str, event: Any) -> Any:
        """The function's answer; a failed function raises the error type it reported, with the report as cause."""
        answer = optimised_task("lambda", "Invoke", {"FunctionName": func_ref, "Payload": event})
        text = answer.get("Payload") or "null"
        payload = json.loads(text)
        if answer.get("FunctionError"):
            report = payload if isinstance(payload, dict) else {}
            raise sfn._ExecutionError(report.get("errorType") or "Lambda.Unknown", text)
        return payload

    return call_lambda


def _start_task(_original: Any) -> Any:
    def invoke_nested_start_execution(resource: str, input_data: Any) -> Any:
        del resource
        return optimised_task("stepfunctions", "StartExecution", input_data)

    return invoke_nested_start_execution


def install() -> None:
    """Send every task that calls a service through the gateway, as the machine's role."""
    replace(sfn, "_invoke_aws_sdk_integration", "resource, input_data", _sdk_task)
    replace(sfn, "_call_lambda", "func_ref, event", _lambda_task)
    replace(sfn, "_invoke_nested_start_execution", "resource, input_data", _start_task)
    for resource, (service, action) in _OPTIMISED_ACTIONS.items():
        sfn._SERVICE_DISPATCH[resource] = functools.partial(_dispatch, service, action)


def _dispatch(service: str, action: str, _resource: str, arguments: Any) -> Any:
    return optimised_task(service, action, arguments)
