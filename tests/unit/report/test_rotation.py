# SPDX-License-Identifier: GPL-3.0-or-later
"""The waves of a rotation campaign, before and after."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.filter.rotation import (
    rotation_counts,
    rotation_estimate,
    rotation_open,
    rotation_plan_rows,
    rotation_problem,
    rotation_rows,
    rotation_waves,
)


def job(number: int, age: int = 10, *, canary: bool = False, **devices: str) -> dict[str, Any]:
    return {"job_id": f"app-rotate-{number}", "age": age, "canary": canary, "devices": devices}


def answer(*jobs: dict[str, Any], known: tuple[int, ...] = (), last: int = 0) -> dict[str, Any]:
    numbers = known or tuple(int(each["job_id"].rpartition("-")[2]) for each in jobs)
    return {"jobs": list(jobs), "known": [f"app-rotate-{number}" for number in numbers], "last": last}


def device(name: str) -> dict[str, str]:
    return {"thing_name": name, "certificate_id": "0123456789abcdef", "not_after": "2026-01-31T12:00:00Z"}


CANDIDATES = {
    "last": 4,
    "waves": [{"canary": True, "devices": [device("a")]}, {"canary": False, "devices": [device("b"), device("c")]}],
}


def test_jobs_in_progress_are_taken_up_with_those_who_have_not_ended_everywhere() -> None:
    answers = {
        "here": answer(
            job(10, 99, a="QUEUED", b="SUCCEEDED", c="IN_PROGRESS", d="FAILED"), job(9, x="CANCELED"), known=(9, 10)
        ),
        "there": answer(job(2, y="QUEUED", canary=True), known=(2, 9)),
    }
    assert rotation_open(answers) == [
        {"job_id": "app-rotate-2", "canary": True, "age": 10, "devices": ["y"], "missing_in": ["here"]},
        {"job_id": "app-rotate-10", "canary": False, "age": 99, "devices": ["a", "c"], "missing_in": ["there"]},
    ]


def test_a_device_that_failed_here_and_waits_there_is_looked_at_again() -> None:
    answers = {"here": answer(job(1, a="FAILED")), "there": answer(job(1, a="QUEUED"))}
    assert rotation_open(answers)[0]["devices"] == ["a"]


def test_waves_are_numbered_from_the_highest_number_on() -> None:
    answers = {"here": answer(job(2, 99, x="QUEUED"), last=6), "there": answer(last=3)}
    waves = rotation_waves(answers, CANDIDATES, "app", 50)
    assert [(wave["title"], wave["canary"], wave["jobs"], wave["make"], wave["late"]) for wave in waves] == [
        ("taken up", False, {"app-rotate-2": ["x"]}, {"app-rotate-2": ["there"]}, ["app-rotate-2"]),
        ("canary", True, {"app-rotate-7": ["a"]}, {"app-rotate-7": ["here", "there"]}, []),
        ("wave", False, {"app-rotate-8": ["b", "c"]}, {"app-rotate-8": ["here", "there"]}, []),
    ]
    assert [(row["wave"], row["device"], row["certificate"]) for row in rotation_plan_rows(waves, CANDIDATES)] == [
        ("taken up", "x", None),
        ("canary", "a", "0123456789ab"),
        ("wave", "b", "0123456789ab"),
        ("wave", "c", "0123456789ab"),
    ]


@pytest.mark.parametrize(
    ("sizes", "per_minute", "expected"),
    [
        ([], 100, "0 devices in 0 waves: about 0 min when all are there, at most 0 min"),
        ([5], 100, "5 devices in 1 wave: about 1 min when all are there, at most 30 min"),
        ([5, 100, 95], 100, "200 devices in 3 waves: about 2 min when all are there, at most 90 min"),
        ([5, 100], 10, "105 devices in 2 waves: about 10 min when all are there, at most 60 min"),
        ([100] * 10, 100, "1000 devices in 10 waves: about 7 min when all are there, at most 5 h 0 min"),
    ],
)
def test_an_estimate(sizes: list[int], per_minute: int, expected: str) -> None:
    waves = [{"jobs": {"job": [str(number) for number in range(size)]}} for size in sizes]
    assert rotation_estimate(waves, per_minute, 1800) == expected


def outcome(name: str, kind: str, reason: str = "") -> dict[str, str]:
    return {"thing_name": name, "outcome": kind, "reason": reason, "certificate_id": "ab" * 32, "not_after": "2027"}


OUTCOMES = [
    outcome("a", "rotated"),
    outcome("d", "failed", "no disk"),
    outcome("c", "waiting", "offline"),
    outcome("b", "failed", "no key"),
]


def test_those_that_did_not_rotate_come_first() -> None:
    assert [(row["device"], row["outcome"]) for row in rotation_rows(OUTCOMES)] == [
        ("b", "failed"),
        ("d", "failed"),
        ("c", "waiting"),
        ("a", "rotated"),
    ]
    assert rotation_counts(OUTCOMES) == {"rotated": 1, "waiting": 1, "cancelled": 0, "failed": 2}


@pytest.mark.parametrize(
    ("fail_on", "expected"),
    [
        ("waiting", "3 of 4 devices have not rotated: b failed: no key; d failed: no disk; c waiting: offline"),
        ("failed", "2 of 4 devices have not rotated: b failed: no key; d failed: no disk"),
        ("none", ""),
    ],
)
def test_what_makes_a_campaign_fail(fail_on: str, expected: str) -> None:
    assert rotation_problem(OUTCOMES, fail_on) == expected
    assert rotation_problem(OUTCOMES[:1], fail_on) == ""


def test_a_campaign_that_was_stopped_fails_and_many_are_counted() -> None:
    assert rotation_problem(OUTCOMES[:1], "failed", "why").startswith("The campaign was stopped: why. 0 of 1")
    many = [outcome(f"d{number:02}", "failed", "x") for number in range(25)]
    assert rotation_problem(many, "failed").endswith("d19 failed: x; and 5 more (see the table)")
