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

from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import (
    snake,
    tags_diff,
    tags_to_dict,
    tags_to_list,
)

__all__ = [
    "FleetError",
    "api_call",
    "error_code",
    "may_have_happened",
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

# https://docs.aws.amazon.com/general/latest/gr/api-retries.html
THROTTLED_CODES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
FAILED_CODES = frozenset({"InternalFailureException", "InternalServerError", "ServiceUnavailableException"})
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


class _Retry(AWSRetry):
    """All that amazon.aws retries, and the spelling of throttling and failure in newer services."""

    @staticmethod
    def found(response_code: str, catch_extra_error_codes: Any = None) -> bool:
        return response_code in THROTTLED_CODES | FAILED_CODES or AWSRetry.found(response_code, catch_extra_error_codes)


class _RetryThrottled(AWSRetry):
    """Throttled calls only: those were certainly not carried out."""

    @staticmethod
    def found(response_code: str, catch_extra_error_codes: Any = None) -> bool:  # noqa: ARG004  # the base's signature
        return response_code in THROTTLED_CODES


def api_call(description: str, *, repeatable: bool = True) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function the one place of an API call: throttling is retried with jitter, errors are translated.

    ``description`` completes "Failed to ...". The function may page; then the whole listing is what is retried.
    A call that is not ``repeatable`` (twice makes two) is not retried when it may have been carried out.

    Raises (the decorated function):
        AnsibleAWSError: with botocore's error as ``exception``.

    """
    retry = (_Retry if repeatable else _RetryThrottled).jittered_backoff(retries=8, delay=0.5, max_delay=20)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
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


def may_have_happened(error: BaseException) -> bool:
    """Whether a failed call may have been carried out all the same: no answer at all, or an answer 5xx."""
    inner = error.exception if isinstance(error, AnsibleAWSError) else error
    return not isinstance(inner, ClientError) or inner.response["ResponseMetadata"]["HTTPStatusCode"] >= 500


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
