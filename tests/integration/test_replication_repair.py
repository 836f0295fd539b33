# SPDX-License-Identifier: GPL-3.0-or-later
"""A repair makes a region what the rows say: every kind of fault, whatever fails on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.drifting import PLANTERS, Drift
from tests.integration.modules import run_module
from tests.integration.operators import AWAY, BOTH, HOME, at, four_times

DEVICES = 80
SPOILT = ("policy_missing", "attributes", "groups", "not_applied")


@pytest.fixture(scope="module")
def drift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drift]:
    """A seeded fleet with nothing wrong yet."""
    sandbox = Sandbox(tmp_path_factory.mktemp("repair-sandbox")).start()
    yield Drift(Deployment(sandbox, tmp_path_factory.mktemp("repair"), BOTH, features=("repair",)), DEVICES)
    sandbox.stop()


@pytest.fixture(autouse=True)
def _calm(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "drift" in request.fixturenames:
        request.getfixturevalue("drift").fleet.sandbox.clear_faults()


def store(directory: Path, region: str) -> str:
    return str(directory / f"{region}.sqlite")


def found(drift: Drift, directory: Path, region: str = HOME, *, depth: str = "registry") -> dict[str, int]:
    """The faults of a region by kind, after a new check."""
    settings = {"depth": depth, "share": 1.0, "sample": 0, "settling": 0}
    asked = {"application": drift.fleet.application, "store": store(directory, region), **settings}
    answer = at(drift.fleet, region).run("fleet_replication_info", **asked)
    return dict(answer["replication"]["faults"])


def repair(drift: Drift, directory: Path, region: str = HOME, **options: Any) -> dict[str, Any]:
    """The module's answer."""
    asked = {"application": drift.fleet.application, "store": store(directory, region), **options}
    return at(drift.fleet, region).run("fleet_replication", **asked)


def refusal(drift: Drift, directory: Path, **options: Any) -> str:
    asked = {"application": drift.fleet.application, "store": store(directory, HOME), **options}
    return at(drift.fleet).refusal("fleet_replication", **asked)


def machine(drift: Drift) -> str:
    account, application = drift.fleet.sandbox.account_id, drift.fleet.application
    return f"arn:aws:states:{HOME}:{account}:stateMachine:{application}-repair-devices"


def calls_of_machines(drift: Drift, since: float) -> list[str]:
    journal = drift.fleet.sandbox.journal(since=since, service="iot")
    return [call["operation"] for call in journal if "assumed-role" in str(call["caller"])]


@pytest.mark.parametrize("region", [HOME, pytest.param(AWAY, marks=pytest.mark.long)])
def test_every_kind_of_fault_is_repaired_and_nothing_is_repaired_twice(
    drift: Drift, tmp_path: Path, region: str
) -> None:
    other = next(each for each in BOTH if each != region)
    drift.plant(PLANTERS, region)
    before = found(drift, tmp_path, region, depth="full")
    assert set(before) == set(PLANTERS)
    sound = found(drift, tmp_path, other, depth="full")

    def stands() -> Any:
        things = drift.iot(region).get_paginator("list_things").paginate().build_full_result()["things"]
        return [thing["attributes"] for thing in things], drift.fleet.sandbox.journal(service="s3", region=region)

    answer = four_times(lambda check: repair_at(drift, tmp_path, region, check=check), stands)
    done = answer["repair"]
    assert (done["devices"], done["repaired"], done["failed"]) == (len(PLANTERS) - 1, len(PLANTERS) - 1, 0)
    assert done["left"] == {"orphan_thing": 1}
    assert answer["estimate"]["calls"]["ListThingPrincipals"] == len(PLANTERS) - 4
    assert found(drift, tmp_path, region, depth="full") == {"orphan_thing": 1}
    assert repair(drift, tmp_path, region, remove_orphans=True)["repair"]["repaired"] == 1
    assert found(drift, tmp_path, region, depth="full") == {}
    assert found(drift, tmp_path, other, depth="full") == sound, "one region's repair is nothing to the other one"


def repair_at(drift: Drift, directory: Path, region: str, *, check: bool) -> dict[str, Any]:
    asked = {"application": drift.fleet.application, "store": store(directory, region)}
    return at(drift.fleet, region).run("fleet_replication", check=check, **asked)


def test_a_region_without_faults_costs_no_call_of_aws_iot(drift: Drift, tmp_path: Path) -> None:
    assert found(drift, tmp_path) == {}
    began = drift.fleet.sandbox.now()
    answer = repair(drift, tmp_path)
    assert not answer["changed"]
    assert (answer["repair"]["devices"], answer["repair"]["execution"]) == (0, "")
    assert calls_of_machines(drift, began) == []


def test_only_what_is_asked_for_is_repaired(drift: Drift, tmp_path: Path) -> None:
    drift.plant(SPOILT, HOME)
    found(drift, tmp_path)
    answer = repair(drift, tmp_path, kinds=["attributes", "not_applied"])
    assert answer["repair"]["repaired"] == 2
    assert answer["repair"]["left"] == {"policy_missing": 1, "groups": 1}
    assert found(drift, tmp_path) == {"policy_missing": 1, "groups": 1}
    assert repair(drift, tmp_path)["repair"]["repaired"] == 2
    assert found(drift, tmp_path) == {}


def test_one_that_cannot_be_repaired_is_named_with_its_reason_and_the_others_are_repaired(
    drift: Drift, tmp_path: Path
) -> None:
    drift.plant(SPOILT, HOME)
    assert sum(found(drift, tmp_path).values()) == len(SPOILT)
    [broken] = [fault.thing_name for fault in Store(store(tmp_path, HOME)).faults(["attributes"])]
    error = {"effect": "error", "error": "InvalidRequestException", "status": 400}
    drift.fleet.sandbox.fault(region=HOME, operation="UpdateThing", input=f'*"{broken}"*', **error)
    log = tmp_path / "progress.log"
    done = repair(drift, tmp_path, progress_path=str(log))["repair"]
    assert (done["devices"], done["repaired"], done["failed"]) == (4, 3, 1)
    [failure] = done["failures"]
    assert failure["thing_name"] == broken
    assert failure["reason"].startswith("Iot.InvalidRequestException")
    assert log.read_text().endswith(f"{HOME}: 3 of 4 repaired, 1 failed\n")
    assert broken in {letter["Input"]["ThingName"] for letter in drift.fleet.dead_letters(HOME)}
    drift.fleet.sandbox.clear_faults()
    assert found(drift, tmp_path) == {"attributes": 1, "failed": 1}
    assert repair(drift, tmp_path)["repair"]["repaired"] == 1
    assert found(drift, tmp_path) == {}


def test_calls_that_are_throttled_are_made_again(drift: Drift, tmp_path: Path) -> None:
    drift.plant(SPOILT, HOME)
    found(drift, tmp_path)
    for operation in ("AttachThingPrincipal", "ListAttachedPolicies"):
        drift.fleet.sandbox.fault(region=HOME, service="iot", operation=operation, effect="throttle", times=2)
    done = repair(drift, tmp_path)["repair"]
    assert (done["repaired"], done["failed"]) == (4, 0)
    assert found(drift, tmp_path) == {}


@pytest.mark.long
def test_many_devices_are_repaired_within_the_quotas_of_an_account(drift: Drift, tmp_path: Path) -> None:
    many, fleet = 60, drift.fleet
    fleet.sandbox.seed(devices=many, regions=list(BOTH), application=fleet.application, prefix="many-")
    for number in range(1, many + 1):
        arn = drift.arn(HOME, fleet.row(HOME, f"many-{number}")["CertificateId"])
        drift.iot(HOME).detach_policy(policyName=drift.device_policy(), target=arn)
    assert found(drift, tmp_path) == {"policy_missing": many}
    fleet.sandbox.enforce_quotas()
    began = fleet.sandbox.now()
    try:
        answer = repair(drift, tmp_path)
    finally:
        fleet.sandbox.lift_quotas()
    assert (answer["repair"]["repaired"], answer["repair"]["failed"]) == (many, 0)
    assert answer["estimate"]["binding"] == "UpdateCertificate"
    assert 0 < answer["estimate"]["seconds"] <= (fleet.sandbox.now() - began).total_seconds() + 1
    assert found(drift, tmp_path) == {}


def test_a_module_that_was_killed_finds_what_it_started_and_waits_for_it(drift: Drift, tmp_path: Path) -> None:
    drift.plant(SPOILT, HOME)
    found(drift, tmp_path)
    drift.fleet.sandbox.fault(region=HOME, service="iot", operation="CreateThing", effect="delay", delay=2, times=2)
    started = repair(drift, tmp_path, wait=False)["repair"]
    assert (started["finished"], started["resumed"]) == (False, False)
    again = repair(drift, tmp_path)["repair"]
    assert (again["finished"], again["resumed"]) == (True, True)
    assert again["execution"] == started["execution"]
    assert again["repaired"] == 4
    listed = drift.fleet.sandbox.client("stepfunctions", HOME).list_executions(stateMachineArn=machine(drift))
    assert [each["name"] for each in listed["executions"]].count(started["run"]) == 1
    assert not repair(drift, tmp_path)["changed"]
    assert found(drift, tmp_path) == {}


def test_a_module_that_was_killed_after_its_execution_ended_says_what_it_did(drift: Drift, tmp_path: Path) -> None:
    drift.plant(SPOILT, HOME)
    found(drift, tmp_path)
    started = repair(drift, tmp_path, wait=False)["repair"]
    states = drift.fleet.sandbox.client("stepfunctions", HOME)
    eventually(lambda: states.describe_execution(executionArn=started["execution"])["status"] == "SUCCEEDED")
    answer = repair(drift, tmp_path)
    assert not answer["changed"]
    assert (answer["repair"]["execution"], answer["repair"]["repaired"]) == (started["execution"], 4)


@pytest.mark.long
def test_another_repair_of_the_region_is_waited_for(drift: Drift, tmp_path: Path) -> None:
    drift.plant(SPOILT, HOME)
    found(drift, tmp_path)
    drift.fleet.sandbox.fault(region=HOME, service="iot", operation="CreateThing", effect="delay", delay=8, times=1)
    one = repair(drift, tmp_path, wait=False, kinds=["attributes"])["repair"]
    other = repair(drift, tmp_path)["repair"]
    assert (other["execution"], other["repaired"], other["resumed"]) == (one["execution"], 1, True)
    assert repair(drift, tmp_path)["repair"]["repaired"] == 4, "what it was for comes after that"
    assert found(drift, tmp_path) == {}


@pytest.mark.long
def test_an_execution_that_somebody_stopped_is_told_and_the_next_repair_does_the_rest(
    drift: Drift, tmp_path: Path
) -> None:
    drift.plant(SPOILT, HOME)
    found(drift, tmp_path)
    drift.fleet.sandbox.fault(region=HOME, service="iot", operation="CreateThing", effect="delay", delay=2, times=4)
    started = repair(drift, tmp_path, wait=False)["repair"]["execution"]
    drift.fleet.sandbox.client("stepfunctions", HOME).stop_execution(executionArn=started)
    assert refusal(drift, tmp_path).startswith(f"{started} ended as ABORTED")
    drift.fleet.sandbox.clear_faults()
    eventually(lambda: set(found(drift, tmp_path)) <= set(SPOILT))  # converge-device goes on where it was started
    repair(drift, tmp_path)
    eventually(lambda: found(drift, tmp_path) == {})


@pytest.mark.long
def test_a_device_that_somebody_else_works_on_is_waited_for(drift: Drift, tmp_path: Path) -> None:
    drift.plant(["attributes"], HOME)
    found(drift, tmp_path)
    [thing] = [fault.thing_name for fault in Store(store(tmp_path, HOME)).faults()]
    rule = drift.fleet.sandbox.fault(
        region=HOME, service="iot", operation="CreateThing", input=f'*"{thing}"*', effect="delay", delay=4, times=1
    )
    drift.fleet.start(HOME, "converge-device", {"ThingName": thing, "Force": True})
    eventually(lambda: "LeaseOwner" in drift.fleet.status(HOME, thing))
    assert repair(drift, tmp_path)["repair"]["repaired"] == 1
    drift.fleet.sandbox.clear_faults(rule)
    assert found(drift, tmp_path) == {}


def test_a_row_that_a_replica_lacks_is_written_again_and_its_device_comes_there(drift: Drift, tmp_path: Path) -> None:
    fleet = drift.fleet
    fleet.sandbox.seed(devices=2, regions=[AWAY], application=fleet.application, prefix="lonely-")
    for region in BOTH:
        found(drift, tmp_path, region)
    run_module("fleet_replication_report", stores={region: store(tmp_path, region) for region in BOTH})
    began = fleet.row(AWAY, "lonely-1")
    answer = repair(drift, tmp_path, AWAY)
    assert (answer["repair"]["rows"], answer["repair"]["devices"]) == (2, 0)
    for name in ("lonely-1", "lonely-2"):
        eventually(lambda name=name: fleet.row(HOME, name) and fleet.row(HOME, name) == fleet.row(AWAY, name))
        for region in BOTH:
            eventually(lambda name=name, region=region: fleet.settled(region, name))
    assert fleet.row(HOME, "lonely-1")["Version"] == began["Version"] + 1
    assert not repair(drift, tmp_path, AWAY)["changed"]
    assert found(drift, tmp_path) == {}


def test_shadows_are_handed_to_record_shadow(drift: Drift, tmp_path: Path) -> None:
    found(drift, tmp_path)
    sqs = drift.fleet.sandbox.client("sqs", HOME)
    queue = sqs.create_queue(QueueName=f"{drift.fleet.application}-record-shadow")["QueueUrl"]
    Store(store(tmp_path, HOME)).take("fault", [("seed-1", "shadow", "", "$classic: desired differs")])
    answer = repair(drift, tmp_path)
    assert (answer["changed"], answer["repair"]["shadows"], answer["repair"]["devices"]) == (True, 1, 0)
    [message] = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert json.loads(message["Body"]) == {"shadow": "apply", "thing": "seed-1", "name": "$classic", "looks": 0}
    assert not repair(drift, tmp_path)["changed"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"concurrency": 0}, "concurrency=0 is less than 1"),
        ({"share": 1.5}, "share=1.5 is not a part of a quota"),
        ({"kinds": ["attributes", "moon"]}, "kinds=moon is not repaired here: choose of row_missing, "),
        ({"kinds": ["ca_missing"]}, "kinds=ca_missing is not repaired here"),
        ({"store": "/nowhere/store"}, "stores=/nowhere/store (eu-west-1) is no file"),
        ({"application": "other"}, "store="),
    ],
)
def test_what_cannot_be_meant_is_refused(drift: Drift, tmp_path: Path, option: dict[str, Any], message: str) -> None:
    found(drift, tmp_path)
    assert refusal(drift, tmp_path, **option).startswith(message)


def test_a_region_without_the_machine_says_what_is_missing(tmp_path: Path, deployment: Deployment) -> None:
    asked = {"application": deployment.application, "store": store(tmp_path, HOME)}
    at(deployment).run("fleet_replication_info", depth="rows", **asked)
    Store(store(tmp_path, HOME)).take("fault", [("lamp", "not_applied", "", "")])
    message = at(deployment).refusal("fleet_replication", **asked)
    assert message == "the region has no state machine test-fleet-repair-devices: deploy it with site.yml"


@pytest.mark.long
class TestStandard:
    """Machines whose executions AWS keeps."""

    @pytest.fixture(scope="class")
    @classmethod
    def standard(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drift]:
        """A small fleet of them."""
        sandbox = Sandbox(tmp_path_factory.mktemp("standard-sandbox")).start()
        directory = tmp_path_factory.mktemp("standard")
        yield Drift(Deployment(sandbox, directory, BOTH, machine_type="STANDARD", features=("repair",)), 10)
        sandbox.stop()

    def test_devices_are_repaired_and_failures_have_the_same_reasons(self, standard: Drift, tmp_path: Path) -> None:
        standard.plant(SPOILT, HOME)
        found(standard, tmp_path)
        [broken] = [fault.thing_name for fault in Store(store(tmp_path, HOME)).faults(["attributes"])]
        error = {"effect": "error", "error": "InvalidRequestException", "status": 400}
        standard.fleet.sandbox.fault(region=HOME, operation="UpdateThing", input=f'*"{broken}"*', **error)
        done = repair(standard, tmp_path)["repair"]
        assert (done["repaired"], done["failed"]) == (3, 1)
        [failure] = done["failures"]
        assert failure["thing_name"] == broken
        assert failure["reason"].startswith("Iot.InvalidRequestException")
        standard.fleet.sandbox.clear_faults()
        found(standard, tmp_path)
        assert repair(standard, tmp_path)["repair"]["repaired"] == 1
        assert found(standard, tmp_path) == {}
