# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a rotation of the issuing CA stands, from what the regions answer."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.filter.ca_rotation import (
    ca_generation_problems,
    ca_rotation,
    ca_rotation_rows,
    ca_rotation_waiting,
)

HOME, AWAY = "eu-west-1", "us-west-2"


def issuer(generation: int, state: str, **numbers: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("devices", "late", "retiring", "certificates", "issued", "left_behind", "waiting"), 0)
    identity = {"common_name": f"x Issuing CA G{generation}", "fingerprint": f"f{generation}", "not_after": "2036"}
    return {"generation": generation, "state": state, **identity, **counts, "named": [], **numbers}


def answers(*regions: tuple[str, ...], **numbers: Any) -> dict[str, Any]:
    """Each region's states of G1, G2 and so on; ``numbers`` are G1's."""
    return {
        region: {"issuers": [issuer(n, state, **(numbers if n == 1 else {})) for n, state in enumerate(states, 1)]}
        for region, states in zip((HOME, AWAY), regions, strict=False)
    }


@pytest.mark.parametrize(
    ("regions", "listed", "issuing", "phase", "allowed"),
    [
        ((("ACTIVE",), ("ACTIVE",)), [1], 1, "none", {"introduce", "abort"}),
        ((("ACTIVE", "ACTIVE"), ("ACTIVE", "ABSENT")), [1], 1, "introducing", {"introduce", "abort"}),
        ((("ACTIVE", "ABSENT"), ("ACTIVE", "ABSENT")), [1], 1, "introducing", {"introduce", "abort"}),
        ((("ACTIVE", "ACTIVE"), ("ACTIVE", "ACTIVE")), [1], 1, "introduced", {"introduce", "switch", "abort"}),
        ((("ACTIVE", "ACTIVE"), ("ACTIVE", "ACTIVE")), [1, 2], 2, "switched", {"introduce", "switch", "retire"}),
        ((("INACTIVE", "ACTIVE"), ("ACTIVE", "ACTIVE")), [1, 2], 2, "retiring", {"introduce", "retire"}),
        ((("CLOSED", "ACTIVE"), ("CLOSED", "ACTIVE")), [1, 2], 2, "retiring", {"introduce", "retire"}),
        ((("INACTIVE", "ACTIVE"), ("INACTIVE", "ACTIVE")), [2], 2, "retired", {"introduce", "retire", "delete"}),
        ((("ABSENT", "ACTIVE"), ("INACTIVE", "ACTIVE")), [2], 2, "deleting", {"introduce", "delete"}),
        ((("ABSENT", "ACTIVE"), ("ABSENT", "ACTIVE")), [1, 2], 2, "deleted", {"introduce", "delete"}),
        ((("ABSENT", "ACTIVE"), ("ABSENT", "ACTIVE")), [2], 2, "none", {"introduce", "abort"}),
    ],
)
def test_each_phase_is_read_from_the_regions_and_allows_its_own_steps(
    regions: tuple[tuple[str, ...], ...], listed: list[int], issuing: int, phase: str, allowed: set[str]
) -> None:
    found = ca_rotation(answers(*regions), listed, issuing)
    assert found["phase"] == phase
    assert {action for action, refusal in found["refusals"].items() if not refusal} == allowed


def test_after_a_rotation_the_next_one_is_to_the_generation_that_follows() -> None:
    done = ca_rotation(answers(("ABSENT", "ACTIVE"), ("ABSENT", "ACTIVE")), [2], 2)
    assert (done["old"], done["new"]) == (2, 3)


@pytest.mark.parametrize(
    ("regions", "listed", "issuing", "next_step"),
    [
        ((("ACTIVE", "ACTIVE"),), [1], 1, "set fleet_ca_generations: [1, 2] in group_vars"),
        ((("ACTIVE", "ACTIVE"),), [1, 2], 1, "set fleet_ca_generation: 2 in group_vars"),
        ((("ACTIVE", "ACTIVE"),), [1, 2], 2, """--tags retire -e '{"fleet_ca_confirm": "x Issuing CA G1"}'"""),
        ((("INACTIVE", "ACTIVE"),), [1, 2], 2, "set fleet_ca_generations: [2] in group_vars"),
        ((("INACTIVE", "ACTIVE"),), [2], 2, """--tags delete -e '{"fleet_ca_confirm": "x Issuing CA G1"}'"""),
    ],
)
def test_the_next_step_is_said_in_words_that_can_be_copied(
    regions: tuple[tuple[str, ...], ...], listed: list[int], issuing: int, next_step: str
) -> None:
    assert next_step in ca_rotation(answers(*regions), listed, issuing)["next"]


def test_nothing_is_retired_or_deleted_while_something_waits_in_any_region() -> None:
    waiting = answers(("ACTIVE", "ACTIVE"), ("ACTIVE", "ACTIVE"))
    waiting[AWAY]["issuers"][0]["waiting"] = 20
    found = ca_rotation(waiting, [1, 2], 2)
    assert found["refusals"]["retire"].startswith("20 devices or certificates wait for G1")
    assert "fleet_ca_leave_behind" in found["next"]
    retired = answers(("INACTIVE", "ACTIVE"), ("INACTIVE", "ACTIVE"), waiting=1)
    assert ca_rotation(retired, [2], 2)["refusals"]["delete"].startswith("1 devices or certificates wait for G1")


def test_no_step_is_taken_while_a_region_cannot_be_reached() -> None:
    found = ca_rotation({**answers(("ACTIVE",)), AWAY: {"msg": "timed out"}}, [1], 1)
    assert set(found["refusals"]) == {"introduce", "switch", "retire", "delete", "abort"}
    assert all(refusal.startswith(f"{AWAY} was not reached") for refusal in found["refusals"].values())
    assert ca_rotation_rows({AWAY: {"msg": "timed out"}})[0]["error"] == "not reached: timed out"


@pytest.mark.parametrize("number", ["certificates", "issued"])
def test_what_has_issued_certificates_is_not_taken_back(number: str) -> None:
    found = answers(("ACTIVE", "ACTIVE"), ("ACTIVE", "ACTIVE"))
    assert not ca_rotation(found, [1], 1)["refusals"]["abort"]
    found[AWAY]["issuers"][1][number] = 1
    assert ca_rotation(found, [1], 1)["refusals"]["abort"].startswith("G2 has issued certificates")


def test_what_waits_is_listed_once_with_its_regions() -> None:
    found = answers(("ACTIVE", "ACTIVE"), ("ACTIVE", "ACTIVE"))
    found[HOME]["issuers"][0]["named"] = [{"name": "b", "why": "uses it"}, {"name": "a", "why": "uses it"}]
    found[AWAY]["issuers"][0]["named"] = [{"name": "b", "why": "uses it"}]
    assert ca_rotation_waiting(found, 1) == [
        {"name": "a", "why": "uses it", "regions": HOME},
        {"name": "b", "why": "uses it", "regions": "all"},
    ]


@pytest.mark.parametrize(
    ("states", "listed", "issuing", "problem"),
    [
        (("ACTIVE",), [1], 1, ""),
        (("ACTIVE", "ACTIVE"), [1, 2], 1, ""),
        (("ACTIVE", "ACTIVE"), [1, 2], 2, ""),
        (("INACTIVE", "ACTIVE"), [2], 2, ""),
        (("ABSENT", "ACTIVE"), [2], 2, ""),
        (("ABSENT", "ABSENT"), [1, 2], 2, ""),  # a region that is new
        (("ACTIVE", "ABSENT"), [1, 2], 2, ""),  # and will be told of it
        (("ACTIVE", "ACTIVE"), [1], 1, "set fleet_ca_generations: [1, 2]"),
        (("CLOSED", "ACTIVE"), [2], 2, "set fleet_ca_generations: [1, 2]"),
        (("INACTIVE", "ACTIVE"), [1, 2], 2, "was retired in eu-west-1"),
        (("ABSENT", "ACTIVE"), [1, 2], 2, "set fleet_ca_generations: [2]"),
        (("ACTIVE",), [1], 2, "fleet_ca_generation is 2, and fleet_ca_generations [1]: list it there"),
    ],
)
def test_inputs_that_would_undo_a_rotation_are_told(
    states: tuple[str, ...], listed: list[int], issuing: int, problem: str
) -> None:
    problems = ca_generation_problems(answers(states)[HOME], HOME, listed, issuing)
    assert bool(problems) == bool(problem)
    assert problem in "".join(problems)
