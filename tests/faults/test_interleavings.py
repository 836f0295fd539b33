# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices, operators and events over three regions in any order: in the end all agree and nothing that counts is lost.

Every state machine runs for real, with shorter waits. One step is one action; a failure is told as their sequence.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from iotops.sandbox.client import Sandbox
from tests.faults.interleaving_machine import Count, Interleaving
from tests.faults.interleaving_stage import REGIONS, Stage
from tests.integration.deployment import Deployment
from tests.integration.scaled import scaled

WAITS = 0.05  # factor
GRACE = 1  # second from a device's new certificate to the retirement of its old one, and from there to its revocation
PATIENT = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One fleet for all examples, which have devices of their own."""
    sandbox = Sandbox(tmp_path_factory.mktemp("interleavings-sandbox")).start()
    # Leases and time limits stay: with shorter ones a slow machine would do what the design rules out.
    definitions = scaled(WAITS, timeouts=1)
    deployment = Deployment(sandbox, tmp_path_factory.mktemp("interleavings"), REGIONS, definitions=definitions)
    for region in REGIONS:
        deployment.change_stack(
            region,
            "onboarding",
            RegisterDeviceDefinition="register-device",
            CertificateIdentityPackage="certificate-identity",
            CertificateGraceSeconds=str(GRACE),
        )
    yield Stage(deployment)
    sandbox.stop()


def interleave(stage: Stage, *, examples: int, steps: int, seed: int | None = None) -> Count:
    """Run ``examples`` of ``steps`` actions each; what was done and found. Without a seed always the same ones."""
    count, began = Count(), time.monotonic()

    def example() -> RuleBasedStateMachine:
        return Interleaving(stage, count)

    settings = hypothesis.settings(
        max_examples=examples, stateful_step_count=steps, derandomize=seed is None, **PATIENT
    )
    factory = example if seed is None else hypothesis.seed(seed)(example)
    # Without a minimum most examples of such a small number end after a step or two.
    run_state_machine_as_test(factory, settings=settings, _min_steps=steps)
    print(
        f"{count.steps} steps in {count.examples} examples, {count.lost} lost writes seen, "
        f"{len(count.violations)} violations, "
        f"{time.monotonic() - began:.0f} s of which {count.rest:.0f} at rest, seed {seed}"
    )
    return count


@pytest.mark.defect("S1-5", "D-12")
def test_all_regions_agree_and_nothing_is_lost_whatever_the_order(stage: Stage) -> None:
    count = interleave(stage, examples=5, steps=30)
    assert not count.violations, "\n\n".join(count.violations)
    assert count.steps >= 120
    assert count.lost >= 5, "writes at once are what this is about"


@pytest.mark.long
def test_all_regions_agree_and_nothing_is_lost_in_thousands_of_steps(stage: Stage) -> None:
    seed = random.randrange(2**32)
    count = interleave(stage, examples=64, steps=50, seed=seed)
    assert not count.violations, f"seed {seed}\n" + "\n\n".join(count.violations)
    assert count.steps >= 3000
    assert count.lost >= 100
