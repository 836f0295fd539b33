# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator makes, lists, disables, enables and deletes devices, and check mode says what each command then does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.revocable import Revocable
from tests.integration.sandbox.mqtt import Issued

MADE = "made-[01:18]"
NAMES = [f"made-{number:02}" for number in range(1, 19)]
ALL = f"{MADE},many-certificates"


@pytest.fixture(scope="module")
def fleet(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revocable]:
    yield Revocable(deployment, tmp_path_factory.mktemp("administration"))
    for region in BOTH:
        assert deployment.dead_letters(region) == []


def devices(fleet: Revocable, action: str, names: str, *more: str, check: bool = False, code: int = 0) -> str:
    """The output of playbooks/devices.yml, which must end so."""
    wanted = [f"fleet_action={action}", f"fleet_devices='{names}'", "device_administration_quota_share=1", *more]
    ended, output = fleet.playbook(*wanted, name="devices", check=check)
    assert ended == code, output
    return output


def decide(fleet: Revocable, state: str, *, check: bool = False, names: str = ALL) -> dict[str, Any]:
    return at(fleet.deployment).run(
        "fleet_device_states",
        check=check,
        application=fleet.deployment.application,
        names=names.split(","),
        state=state,
        reason="test",
        regions=list(BOTH),
        quota_share=1.0,
    )


def listed(fleet: Revocable, region: str, *names: str) -> dict[str, dict[str, Any]]:
    """What the region has, by device."""
    found = at(fleet.deployment, region).run(
        "fleet_devices_info", application=fleet.deployment.application, names=list(names), quota_share=1.0
    )
    return {each["thing_name"]: each for each in found["devices"]}


def states(device: dict[str, Any]) -> tuple[str, list[str]]:
    """The state of the row, and those of all certificates."""
    return device["state"], [each["status"] for each in device["certificates"]]


def predicted(fleet: Revocable, state: str) -> dict[str, Any]:
    """Decide in check mode and really, and compare what the two say; the real answer."""
    foreseen = decide(fleet, state, check=True)
    done = decide(fleet, state)
    assert done["states"] == {**foreseen["states"], "written": foreseen["states"]["changing"]}
    assert (done["diff"], done["changed"]) == (foreseen["diff"], foreseen["changed"])
    return done


@pytest.fixture(scope="module")
def made(fleet: Revocable) -> list[Issued]:
    """Devices that the playbook made."""
    done = devices(fleet, "create", MADE)
    assert "create: 18 devices, 18 new, 0 in the registry already, 0 left alone" in done
    return fleet.issue(*NAMES)


@pytest.fixture(scope="module")
def many(fleet: Revocable, made: list[Issued]) -> list[Issued]:
    """A device with three certificates, the last of which a thing that somebody made by hand has, too."""
    deployment = fleet.deployment
    certificates = [deployment.issue("many-certificates") for _each in range(3)]
    for each in certificates:
        deployment.admit(each, HOME)
        eventually(lambda each=each: deployment.certificate(AWAY, each) == "ACTIVE")
    for region in BOTH:
        eventually(lambda region=region: deployment.settled(region, "many-certificates"))
    at(deployment, AWAY).run("iot_thing", thing_name="by-hand", principals=[certificates[2].id])
    return certificates


@pytest.mark.defect("S3-13")
def test_all_certificates_of_all_things_are_listed_also_of_those_without_a_row(
    fleet: Revocable, made: list[Issued], many: list[Issued]
) -> None:
    report = fleet.directory / "report.json"
    output = devices(fleet, "list", "", f"device_administration_report_path={report}")
    assert re.search(rf"made-01 +{AWAY} +ACTIVE +test-fleet-device +{made[0].id[:8]} ACTIVE", output), output
    found = json.loads(report.read_text())
    here, there = ({each["thing_name"]: each for each in found[region]["devices"]} for region in BOTH)
    assert set(NAMES) <= set(here) & set(there)
    for region in (here, there):
        certificates = {each["certificate_id"]: each for each in region["many-certificates"]["certificates"]}
        assert set(certificates) == {each.id for each in many}
        assert {each["status"] for each in certificates.values()} == {"ACTIVE"}
    assert "by-hand" not in here
    [shared] = there["by-hand"]["certificates"]
    assert (there["by-hand"]["state"], shared["in_row"]) == ("", False)
    assert (shared["certificate_id"], shared["other_things"]) == (many[2].id, ["many-certificates"])
    assert listed(fleet, AWAY, "by-hand") == {"by-hand": there["by-hand"]}


@pytest.mark.defect("S3-19")
def test_disabled_devices_lose_their_session_and_enabled_ones_come_back(
    fleet: Revocable, made: list[Issued], many: list[Issued]
) -> None:
    deployment = fleet.deployment
    sessions = [deployment.connected(made[0], HOME), deployment.connected(many[2], AWAY)]
    assert predicted(fleet, "SUSPENDED")["states"]["changing"] == 19
    for session in sessions:
        assert session.lost.wait(10), "its connection was left open"
        session.close()
    for region in BOTH:
        found = listed(fleet, region, *ALL.split(","))
        assert {states(each)[0] for each in found.values()} == {"SUSPENDED"}
        assert {status for each in found.values() for status in states(each)[1]} == {"INACTIVE"}
        assert not deployment.knock(made[0], region)
    assert predicted(fleet, "SUSPENDED")["states"]["already"] == 19
    assert predicted(fleet, "ACTIVE")["states"]["changing"] == 19
    for region in BOTH:
        deployment.connected(made[0], region).close()
        deployment.connected(many[0], region).close()


@pytest.mark.defect("S3-12")
def test_deletion_leaves_nothing_behind_and_takes_nobody_along(
    fleet: Revocable, made: list[Issued], many: list[Issued]
) -> None:
    deployment = fleet.deployment
    refused = devices(fleet, "delete", ALL, check=True, code=2)
    problem = f"certificate {many[2].id} of many-certificates in {AWAY} is that of by-hand, too"
    assert problem in re.sub(r"\s+", " ", refused), refused
    assert deployment.row(HOME, NAMES[0])["State"] == "ACTIVE"
    at(deployment, AWAY).run("iot_thing", thing_name="by-hand", state="absent")
    foreseen = decide(fleet, "DELETED", check=True)["states"]
    assert deployment.row(HOME, NAMES[0])["State"] == "ACTIVE"
    done = devices(fleet, "delete", ALL)
    assert (foreseen["devices"], foreseen["changing"]) == (19, 19)
    assert "delete: 19 devices, 19 change to DELETED, 0 were that already, 0 left alone" in done
    assert "19 rows were written, and every region of the run has applied all of them" in done
    for region in BOTH:
        for name, found in listed(fleet, region, *ALL.split(",")).items():
            assert (name, found["thing"], found["lag"]) == (name, False, "")
            for each in found["certificates"]:
                assert (each["status"], each["attached"]) == ("REVOKED", False)
        for certificate in (made[0], *many):
            assert (deployment.things_of(region, certificate), deployment.policies_of(region, certificate)) == ([], [])
    assert decide(fleet, "DELETED")["states"]["already"] == 19
    found = decide(fleet, "ACTIVE", check=True, names=NAMES[0])["states"]
    assert (found["changing"], found["refused_count"]) == (0, 1)
    assert "made-01 is DELETED, which is final" in found["refused"][0]["why"]


@pytest.mark.parametrize(
    ("action", "names", "message"),
    [
        ("disable", "made-01,a b", "device name 'a b': AWS IoT takes 1 to 128 of a-z A-Z 0-9 : _ -; correct it"),
        ("disable", "made-[1:x]", "device names 'made-[1:x]': a range is of numbers of the same width, or of letters"),
        ("delete", "nobody-[1:7]", "nobody-1, nobody-2, nobody-3, nobody-4, nobody-5 and 2 more: no row in "),
    ],
)
def test_a_bad_name_is_one_clear_line(fleet: Revocable, action: str, names: str, message: str) -> None:
    state = {"disable": "SUSPENDED", "delete": "DELETED"}[action]
    found = at(fleet.deployment).refusal(
        "fleet_device_states",
        application=fleet.deployment.application,
        names=names.split(","),
        state=state,
        regions=list(BOTH),
    )
    assert found.startswith(message)
