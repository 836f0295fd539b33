# SPDX-License-Identifier: GPL-3.0-or-later
"""When a wave ends, what becomes of its devices, and when a campaign has to stop."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._rotation import wave as waves
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.wave import Limits, Outcome, Wave

JOB = "app-rotate-1"
OLD = {"State": "ACTIVE", "CertificateId": "old", "Certificates": {"old": {"Pem": "old"}}}
GIVEN = {**OLD, "Certificates": {"old": {"Pem": "old"}, "new": {"Pem": "new", "JobId": JOB, "PresentBy": "later"}}}
ROTATED = {
    **OLD,
    "CertificateId": "new",
    "Certificates": {"new": {"Pem": "new", "JobId": JOB, "PresentBy": "later", "PresentedAt": "now"}},
}


class Region:
    """A region's desk, with the statuses that its job shows."""

    def __init__(self, region: str, **statuses: str) -> None:
        self.region, self.iot, self.statuses = region, self, statuses
        self.cancelled: list[tuple[str, bool]] = []


class Replica:
    """Rows by name."""

    client = inventory = None

    def __init__(self, **rows: dict[str, Any]) -> None:
        self.rows = {name: {**row, "ThingName": name} for name, row in rows.items()}


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions and a replica in the place of AWS."""

    def cancel(iot: Region, _job: str, thing: str, *, force: bool) -> bool:
        iot.cancelled.append((thing, force))
        return True

    monkeypatch.setattr(waves.jobs, "executions", lambda iot, _job: iot.statuses)
    monkeypatch.setattr(waves.jobs, "reason_of", lambda _iot, _job, thing: "" if thing == "mute" else "no disk")
    monkeypatch.setattr(waves.jobs, "cancel_execution", cancel)


def watched(
    monkeypatch: pytest.MonkeyPatch, rows: dict[str, Any], *regions: Region, seconds: float = 0, **more: Any
) -> tuple[Wave, dict[str, Outcome]]:
    replica = Replica(**rows)
    monkeypatch.setattr(waves, "existing", lambda *_: list(replica.rows.values()))
    limits = more.pop("limits", Limits(canary=False, percentage=100, minimum=1))
    wave: Any = Wave(
        desks=list(regions), replica=replica, devices=dict.fromkeys(rows, JOB), limits=limits,
        report=lambda _line: None, pause=0.01, **more,
    )  # fmt: skip
    return wave, {each.thing_name: each for each in wave.watch(seconds)}


def test_the_row_is_believed_and_not_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Region("here", a="IN_PROGRESS", b="SUCCEEDED", c="SUCCEEDED")
    _wave, found = watched(monkeypatch, {"a": ROTATED, "b": OLD, "c": GIVEN}, here)
    assert {name: each.outcome for name, each in found.items()} == {"a": "rotated", "b": "failed", "c": "failed"}
    assert found["b"].reason.endswith("it reported success in here, and was not seen with a new certificate")


def test_who_has_not_rotated_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        "told": OLD, "mute": GIVEN, "gone": {**OLD, "State": "SUSPENDED"}, "given": GIVEN, "begun": OLD,
        "offline": OLD, "cancelled": OLD, "late": OLD,
    }  # fmt: skip
    here = Region("here", told="FAILED", mute="TIMED_OUT", given="IN_PROGRESS", offline="QUEUED", cancelled="CANCELED")
    there = Region("there", told="QUEUED", begun="IN_PROGRESS", offline="QUEUED", cancelled="CANCELED")
    _wave, found = watched(monkeypatch, rows, here, there)
    assert {name: (each.outcome, each.reason) for name, each in found.items()} == {
        "told": ("failed", "no disk (FAILED in here)"),
        "mute": ("failed", "TIMED_OUT in here, it was given a certificate, and was not seen with it"),
        "gone": ("failed", "the device is SUSPENDED"),
        "given": ("failed", "not finished after 0 s: it was given a certificate, and was not seen with it"),
        "begun": ("failed", "not finished after 0 s: it was not given a certificate"),
        "offline": ("waiting", "has not taken its job, which stays for it in here, there"),
        "cancelled": ("failed", "its job was cancelled in here, there"),
        "late": ("waiting", "has not taken its job, which stays for it in here, there"),
    }


def test_what_waits_elsewhere_for_a_device_that_has_ended_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"a": ROTATED, "b": ROTATED, "c": OLD, "d": OLD, "e": ROTATED}
    here = Region("here", a="SUCCEEDED", b="IN_PROGRESS", c="FAILED", d="IN_PROGRESS", e="SUCCEEDED")
    there = Region("there", a="QUEUED", b="QUEUED", c="QUEUED", d="QUEUED", e="IN_PROGRESS")
    watched(monkeypatch, rows, here, there)
    assert here.cancelled == []
    # b is about to report here; d may yet come back there.
    assert there.cancelled == [("a", False), ("b", False), ("c", False), ("e", True)]


def test_of_an_old_job_only_those_that_have_begun_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Region("here", a="QUEUED")
    _wave, found = watched(monkeypatch, {"a": OLD}, here, seconds=600, late=frozenset({JOB}))
    assert found["a"].outcome == "waiting"


def test_the_first_failure_of_a_canary_stops_the_campaign_and_the_others_are_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Region("here", a="FAILED", b="IN_PROGRESS", c="QUEUED")
    limits = Limits(canary=True, percentage=50, minimum=1)
    wave, found = watched(monkeypatch, {"a": OLD, "b": OLD, "c": OLD}, here, seconds=600, limits=limits)
    assert wave.stopped == "1 of the canary devices failed"
    assert [each.outcome for each in found.values()] == ["failed", "cancelled", "cancelled"]
    assert here.cancelled == []


@pytest.mark.parametrize(
    ("canary", "before", "rotated", "failed", "over", "stops"),
    [
        (True, 0, 1, 0, True, False),
        (True, 0, 0, 0, True, True),  # nothing is proven
        (True, 0, 0, 0, False, False),
        (True, 0, 4, 1, False, True),
        (False, 5, 0, 1, False, False),  # too few to tell
        (False, 5, 13, 2, False, False),
        (False, 5, 12, 3, False, True),
        (False, 5, 0, 1, True, True),
        (False, 5, 4, 1, True, False),
        (False, 0, 0, 0, True, False),
    ],
)
def test_when_a_campaign_stops(
    *, canary: bool, before: int, rotated: int, failed: int, over: bool, stops: bool
) -> None:
    limits = Limits(canary=canary, percentage=10, minimum=20, rotated=before)
    assert bool(limits.broken(rotated, failed, over=over)) is stops
