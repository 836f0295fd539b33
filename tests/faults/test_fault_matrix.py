# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever goes wrong in whichever state: it finishes by itself, or it is told and can be healed."""

from __future__ import annotations

import pytest

from tests.faults.fleet import FaultyFleet
from tests.faults.matrix import FAULTS, Matrix, Report, cases, task_states
from tests.faults.scenarios import SCENARIOS

KILLED_AT_ONCE = 20  # cases; all of their calls have to be held at the same moment
# One of each kind of fault and of nearly each kind of call.
QUICK = (
    ("register-device", "TakeLease", "failed-after-it-took-effect"),
    ("register-device", "DescribeCertificate", "internal-error"),
    ("register-device", "CreateRow", "failed-after-it-took-effect"),
    ("register-device", "AddCertificate", "throttled-once"),
    ("register-device", "StartConvergence", "access-denied"),
    ("register-device", "RecordRejection", "bad-request"),
    ("converge-device", "ListAttachedPolicies", "internal-error"),
    ("converge-device", "PutOut", "failed-after-it-took-effect"),
    ("converge-device", "CreateThing", "failed-after-it-took-effect"),
    ("converge-device", "RegisterCertificate", "throttled-once"),
    ("converge-device", "AttachThing", "bad-request"),
    ("converge-device", "AttachPolicy", "access-denied"),
    ("converge-device", "RevokeCertificate", "internal-error"),
    ("converge-device", "WriteStatus", "failed-after-it-took-effect"),
)


def test_every_task_state_has_a_scenario() -> None:
    assert set(SCENARIOS) == set(task_states())


@pytest.mark.defect("S1-1", "S1-8", "S1-26")
@pytest.mark.quick
def test_a_part_of_the_matrix(express: FaultyFleet) -> None:
    report = Matrix(express).run(cases(express, QUICK))
    report.show()
    assert report.violations == []


@pytest.mark.long
def test_the_whole_matrix(standard: FaultyFleet) -> None:
    matrix, report = Matrix(standard), Report()
    states = task_states()
    alive = [(*state, fault) for fault in FAULTS if fault != "killed" for state in states]
    killed = [(*state, "killed") for state in states]
    for batch in [alive, *(killed[at : at + KILLED_AT_ONCE] for at in range(0, len(killed), KILLED_AT_ONCE))]:
        done = matrix.run(cases(standard, batch))
        report.cases += done.cases
        report.seconds += done.seconds
    report.show()
    assert len(report.cases) == len(states) * len(FAULTS)
    assert [case.name for case in report.cases if not case.struck] == []
    assert report.violations == []
