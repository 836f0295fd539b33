# SPDX-License-Identifier: GPL-3.0-or-later
"""How many calls a check and a backfill make, and how long quotas let them take."""

from __future__ import annotations

from collections import Counter

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._plan.calls import (
    REVOKED,
    backfill_calls,
    check_calls,
    seconds,
)
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas
from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import DEPTHS
from tests.unit.asl.definitions import all_states, definition

QUOTAS = Quotas("eu-west-1", {"ListThings": 10, "AttachPolicy": 15, "RegisterCertificate": 10, "CreateThing": 100}, "x")


def test_rows_are_compared_without_aws_iot() -> None:
    assert check_calls(1_000_000, 1_000_000, "rows") == {}


def test_a_registry_is_listed_in_pages_of_250() -> None:
    assert check_calls(1_000_000, 1_000_001, "registry", policies=2, groups=3) == {
        "ListThings": 4000,
        "ListCertificates": 4001,
        "ListTargetsForPolicy": 8002,
        "ListThingsInThingGroup": 4002,
    }


def test_the_proof_asks_for_each_thing_s_certificates() -> None:
    registry, full = (check_calls(1_000_000, 1_000_000, depth) for depth in ("registry", "full"))
    assert full == {**registry, "ListThingPrincipals": 1_000_000}


def test_the_digest_is_one_call() -> None:
    assert check_calls(100_000_000, 100_000_000, "digest") == {"GetStatistics": 1}


def test_an_empty_region_is_asked_too() -> None:
    assert check_calls(0, 0, "registry") == {"ListThings": 1, "ListCertificates": 1, "ListTargetsForPolicy": 1}


def test_depths_are_those_of_the_check_and_the_digest() -> None:
    for depth in (*DEPTHS, "digest"):
        check_calls(1, 1, depth)
    with pytest.raises(ValueError, match="depth=deep: choose one of rows, registry, full, digest"):
        check_calls(1, 1, "deep")


def test_a_backfill_makes_four_calls_for_an_active_device_and_two_for_a_revoked_one() -> None:
    assert backfill_calls(active=1) == {
        "CreateThing": 1,
        "RegisterCertificate": 1,
        "AttachThingPrincipal": 1,
        "AttachPolicy": 1,
    }
    assert backfill_calls(active=0, revoked=1) == {"UpdateCertificate": 1, "RegisterCertificate": 1}
    assert backfill_calls(10, 4, certificates=2, policies=3, groups=1) == {
        "CreateThing": 10,
        "RegisterCertificate": 28,
        "AttachThingPrincipal": 20,
        "AttachPolicy": 60,
        "UpdateCertificate": 8,
        "AddThingToThingGroup": 10,
    }


def test_the_calls_for_a_revoked_one_are_those_of_the_definition() -> None:
    states = dict(all_states(definition("converge-device")))
    missing = states["RevokeCertificate"]["Catch"][0]
    assert (missing["ErrorEquals"], missing["Next"]) == (["Iot.ResourceNotFoundException"], "CouldItConnect")
    assert states["CouldItConnect"]["Default"] == "RegisterCertificate"
    calls = [states[name]["Resource"].rpartition(":")[2] for name in ("RevokeCertificate", "RegisterCertificate")]
    assert Counter(name[0].upper() + name[1:] for name in calls) == REVOKED


def test_the_scarcest_quota_decides_how_long_it_takes() -> None:
    assert seconds(backfill_calls(1_000_000), QUOTAS) == (100_000, "RegisterCertificate")  # 27.8 h
    assert seconds(backfill_calls(1_000_000), QUOTAS, share=0.5) == (200_000, "RegisterCertificate")
    assert seconds({"AttachPolicy": 1_000_000}, QUOTAS)[0] / 3600 == pytest.approx(18.5, abs=0.05)


def test_nothing_to_do_takes_no_time_and_unknown_quotas_do_not_bind() -> None:
    assert seconds({}, QUOTAS) == (0.0, "")
    assert seconds({"DeleteConnection": 5, "ListThings": 20}, QUOTAS) == (2.0, "ListThings")
    assert seconds({"DeleteConnection": 5}, QUOTAS) == (0.0, "")
