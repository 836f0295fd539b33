# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module that calls AWS shares: one way to call, to wait, to compare tags and to end.

A module is read as: one small function per API call, decorated with :func:`api_call`; functions that compare and
converge, which raise :class:`FleetError`; and ``main()``, which is ``run_module(module, body)``.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, Protocol, TypeVar, cast

try:
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:  # AnsibleAWSModule tells the user
    if not TYPE_CHECKING:
        BotoCoreError = ClientError = type("MissingBotocoreError", (Exception,), {})

from ansible_collections.amazon.aws.plugins.module_utils.errors import AWSErrorHandler
from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
    boto3_tag_list_to_ansible_dict,
    compare_aws_tags,
)
from ansible_collections.amazon.aws.plugins.module_utils.transformation import boto3_resource_to_ansible_dict

__all__ = [
    "FleetError",
    "api_call",
    "error_code",
    "none_if_missing",
    "poll",
    "run_module",
    "snake",
    "tags_diff",
    "tags_to_dict",
    "tags_to_list",
]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
M = TypeVar("M", bound="Module")

# Besides those that AWSRetry knows. https://docs.aws.amazon.com/general/latest/gr/api-retries.html
RETRIED_CODES = (
    "InternalFailureException",
    "InternalServerError",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestThrottled",
    "ServiceUnavailableException",
    "ThrottledException",
    "ThrottlingException",
)
MISSING_CODES = frozenset({"ResourceNotFoundException", "ResourceNotFound", "NotFoundException"})


class Module(Protocol):
    """The part of AnsibleModule and AnsibleAWSModule that :func:`run_module` needs."""

    def exit_json(self, **kwargs: Any) -> NoReturn:
        """End well."""

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
        """End badly."""


class FleetError(Exception):
    """What is wrong, in one line: the input, its value and the remedy. ``context`` is added to the module's answer."""

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message)
        self.context = context


def api_call(description: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function the one place of an API call: throttling is retried with jitter, errors are translated.

    ``description`` completes "Failed to ...". The function may page; then the whole listing is what is retried.

    Raises (the decorated function):
        AnsibleAWSError: with botocore's error as ``exception``.

    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        retry = AWSRetry.jittered_backoff(retries=8, delay=0.5, max_delay=20, catch_extra_error_codes=RETRIED_CODES)
        return cast("Callable[P, R]", AWSErrorHandler.common_error_handler(description)(retry(function)))

    return decorate


def none_if_missing(function: Callable[P, R]) -> Callable[P, R | None]:
    """Let a function decorated with :func:`api_call` return None where AWS says that the resource does not exist."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except (AnsibleAWSError, ClientError) as error:
            if error_code(error) in MISSING_CODES:
                return None
            raise

    return wrapper


def error_code(error: BaseException) -> str | None:
    """AWS's error code, for example ``ThrottlingException``, or None when the error is not an answer of AWS."""
    inner = error.exception if isinstance(error, AnsibleAWSError) else error
    return str(inner.response["Error"]["Code"]) if isinstance(inner, ClientError) else None


def poll(
    read: Callable[[], T],
    done: Callable[[T], bool],
    *,
    timeout: float,
    describe: str | Callable[[T], str],
    delay: float = 0.2,
    max_delay: float = 5.0,
) -> T:
    """Read until ``done``, with a growing, jittered pause between ``delay`` and ``max_delay`` seconds.

    ``describe`` says what is waited for; as a function it is given what was read last.

    Raises:
        FleetError: not done after ``timeout`` seconds.

    """
    end = time.monotonic() + timeout
    while not done(seen := read()):
        left = end - time.monotonic()
        if left <= 0:
            awaited = describe if isinstance(describe, str) else describe(seen)
            raise FleetError(f"Timed out after {timeout:g} s waiting for {awaited}")
        time.sleep(min(left, random.uniform(delay / 2, delay)))  # noqa: S311  # jitter is no secret
        delay = min(delay * 1.6, max_delay)
    return seen


def run_module(module: M, body: Callable[[M], Mapping[str, Any]]) -> NoReturn:
    """Run ``body(module)`` and end the module: with its result, or with one clear line.

    The only ``except`` of a module; what it does not name is a defect of ours and keeps its traceback.
    """
    try:
        result = body(module)
    except FleetError as error:
        module.fail_json(msg=_one_line(error), **error.context)
    except (AnsibleAWSError, BotoCoreError, ClientError) as error:
        module.fail_json(msg=_one_line(error), error_code=error_code(error))
    module.exit_json(**result)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def snake(value: Any) -> Any:
    """boto3's answer (a dict, or a list of them) with snake_case keys, ISO dates, and ``Tags`` as a dict."""
    if isinstance(value, list):
        return [snake(item) for item in value]
    return boto3_resource_to_ansible_dict(value, force_tags=False) if isinstance(value, dict) else value


def tags_to_list(tags: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """``{"a": "b"}`` as ``[{"Key": "a", "Value": "b"}]``, the form of nearly all AWS services."""
    return ansible_dict_to_boto3_tag_list({key: str(value) for key, value in (tags or {}).items()})


def tags_to_dict(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """The reverse of :func:`tags_to_list`."""
    return boto3_tag_list_to_ansible_dict(tags or [])


def tags_diff(
    current: Mapping[str, str], wanted: Mapping[str, Any] | None, *, purge: bool = True
) -> tuple[dict[str, str], list[str]]:
    """Tags to set and keys to remove so that ``current`` becomes ``wanted``.

    ``wanted`` None leaves all as it is; without ``purge`` nothing is removed; ``aws:`` tags are never touched.
    """
    if wanted is None:
        return {}, []
    to_set, to_remove = compare_aws_tags(dict(current), {k: str(v) for k, v in wanted.items()}, purge_tags=purge)
    return dict(sorted(to_set.items())), sorted(to_remove)
