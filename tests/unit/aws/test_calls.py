# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils.aws import (
    FleetError,
    api_call,
    error_code,
    may_have_happened,
    none_if_missing,
    poll,
    run_module,
)


def client_error(code: str, status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "DescribeThing")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sleeping takes no time, but moves the clock; the sleeps."""
    slept: list[float] = []
    start = time.monotonic()
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: start + sum(slept))
    return slept


def failing(*errors: Exception, repeatable: bool = True) -> Any:
    left = list(errors)

    @api_call("describe the thing", repeatable=repeatable)
    def call() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return call


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "Throttling", "TooManyRequestsException", "ServiceUnavailableException"]
)
def test_a_passing_failure_is_retried(code: str, clock: list[float]):
    assert failing(*[client_error(code)] * 5)() == "answer"
    assert len(clock) == 5


def test_retries_end():
    with pytest.raises(AnsibleAWSError, match="Failed to describe the thing"):
        failing(*[client_error("ThrottlingException")] * 8)()


def test_other_errors_are_not_retried(clock: list[float]):
    with pytest.raises(AnsibleAWSError, match="AccessDeniedException"):
        failing(client_error("AccessDeniedException"))()
    assert clock == []


def test_a_call_that_must_not_be_repeated_is_retried_only_when_throttled():
    assert failing(client_error("ThrottlingException"), repeatable=False)() == "answer"
    with pytest.raises(AnsibleAWSError):
        failing(client_error("InternalFailure", 500), repeatable=False)()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("InternalFailure", 500), True),
        (client_error("AccessDeniedException", 403), False),
        (EndpointConnectionError(endpoint_url="http://x"), True),
    ],
)
def test_only_an_answer_below_500_is_final(error: Exception, expected: bool):
    assert may_have_happened(AnsibleAWSError(message="Failed", exception=error)) is expected


def test_missing_is_none_and_everything_else_an_error():
    assert none_if_missing(failing(client_error("ResourceNotFoundException", 404)))() is None
    assert none_if_missing(failing())() == "answer"
    with pytest.raises(AnsibleAWSError):
        none_if_missing(failing(client_error("AccessDeniedException", 403)))()


def test_the_error_code_is_found_inside_the_translated_error():
    assert error_code(AnsibleAWSError(message="Failed", exception=client_error("X"))) == "X"
    assert error_code(ValueError()) is None


def test_poll_waits_with_a_growing_bounded_delay(clock: list[float]):
    answers = iter(range(30))
    assert poll(lambda: next(answers), lambda n: n == 20, timeout=900, describe="20", max_delay=5) == 20
    assert len(clock) == 20
    assert clock[0] <= 0.2
    assert 2.5 <= clock[-1] <= 5


def test_poll_ends_at_its_timeout_and_says_what_it_saw(clock: list[float]):
    with pytest.raises(FleetError, match=r"after 10 s waiting for 3, saw 2"):
        poll(lambda: 2, lambda n: n == 3, timeout=10, describe=lambda n: f"3, saw {n}")
    assert sum(clock) == pytest.approx(10)


class Ended(Exception):
    """A module that has ended."""


class FakeModule:
    """A module that remembers how it ended."""

    answer: dict[str, Any]

    def exit_json(self, **kwargs: Any) -> Any:
        self.answer = kwargs
        raise Ended

    def fail_json(self, msg: str, **kwargs: Any) -> Any:
        self.answer = {"msg": msg, "failed": True, **kwargs}
        raise Ended


def ended(body: Any) -> dict[str, Any]:
    module = FakeModule()
    with pytest.raises(Ended):
        run_module(module, body)
    return module.answer


def test_a_result_ends_the_module_well():
    assert ended(lambda _: {"changed": True}) == {"changed": True}


def raising(error: Exception) -> Any:
    def body(_: Any) -> dict[str, Any]:
        raise error

    return body


def test_every_known_error_ends_in_one_line():
    ours = ended(raising(FleetError("path: nothing\nthere", path="x")))
    assert ours == {"msg": "path: nothing there", "failed": True, "path": "x"}
    translated = ended(raising(AnsibleAWSError(message="Failed to x", exception=client_error("DeniedException"))))
    assert translated["error_code"] == "DeniedException"
    assert translated["msg"].startswith("Failed to x: ")
    assert ended(raising(EndpointConnectionError(endpoint_url="http://x")))["failed"]


def test_a_defect_of_ours_keeps_its_traceback():
    with pytest.raises(KeyError):
        run_module(FakeModule(), raising(KeyError("x")))
