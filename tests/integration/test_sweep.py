# SPDX-License-Identifier: GPL-3.0-or-later
"""sweep-devices on the sandbox: what no event woke is found and finished."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import following
from iotops.sandbox.client import Sandbox
from tests.integration.conftest import REGIONS
from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import at
from tests.integration.sandbox.mqtt import Issued

HOME, AWAY = REGIONS
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A fleet that is swept; in the other region nothing takes in what is changed by hand."""
    sandbox = Sandbox(tmp_path_factory.mktemp("swept-sandbox")).start()
    fleet = Deployment(sandbox, tmp_path_factory.mktemp("swept"), REGIONS, features=("ingestion", "sweep"))
    fleet.change_stack(AWAY, "sweep", SweepDevicesPackage="sweep-devices", IngestQueue="")
    yield fleet
    sandbox.stop()


@pytest.fixture(autouse=True)
def _calm(swept: Deployment) -> Iterator[None]:
    yield
    swept.sandbox.clear_faults()
    swept.dead_letters(HOME)


def sweep(fleet: Deployment, region: str = HOME, **event: Any) -> dict[str, Any]:
    """One sweep, as the schedule makes it or as an operator asks for it."""
    answer = fleet.sandbox.client("lambda", region).invoke(
        FunctionName=f"{fleet.application}-sweep-devices", Payload=json.dumps(event)
    )
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return dict(payload)


def joined(fleet: Deployment, name: str) -> Issued:
    """A device that is settled in both regions."""
    device = fleet.issue(name)
    fleet.admit(device, HOME)
    eventually(lambda: all(fleet.settled(region, name) for region in REGIONS))
    return device


@contextmanager
def without_events(fleet: Deployment, region: str) -> Iterator[None]:
    """What happens to things meanwhile is told to nobody."""
    iot = fleet.sandbox.client("iot", region)
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": False}})
    yield
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})


def nothing_runs(fleet: Deployment) -> bool:
    """Whether no look is to come and nobody called anything for a second: an execution reads its row a last time."""
    sqs, began = fleet.sandbox.client("sqs", HOME), fleet.sandbox.now()
    url = sqs.get_queue_url(QueueName=f"{fleet.application}-ingest-thing")["QueueUrl"]
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    time.sleep(1)
    calls = [
        call for call in fleet.sandbox.journal(since=began, region=HOME) if "ConvergeDevice" in str(call["caller"])
    ]
    return not calls and not any(int(counts[name]) for name in counts if name.startswith("ApproximateNumberOf"))


def change_row(fleet: Deployment, thing: str, **changes: Any) -> None:
    """Write the row as somebody in the home region does who dies before converge-device is started."""
    row = fleet.row(HOME, thing)
    fleet.put(HOME, following(row, changes, writer=HOME, now=LONG_AGO), row)


@pytest.mark.defect("S1-28", "S1-30", "D-2")
def test_a_row_that_nobody_was_woken_for_is_applied(swept: Deployment) -> None:
    device = joined(swept, "forgotten")
    eventually(lambda: nothing_runs(swept))
    change_row(swept, "forgotten", State="SUSPENDED")
    time.sleep(1)
    assert swept.certificate(HOME, device) == "ACTIVE"
    assert sweep(swept)["Behind"] == 1
    eventually(lambda: swept.settled(HOME, "forgotten"))
    assert swept.certificate(HOME, device) == "INACTIVE"
    assert sweep(swept)["Behind"] == 0


@pytest.mark.defect("D-2")
def test_what_failed_is_finished_without_the_device_or_an_operator(swept: Deployment) -> None:
    device = joined(swept, "failed")
    fault = swept.sandbox.fault(
        region=HOME,
        service="iot",
        operation="UpdateCertificate",
        effect="error",
        error="InvalidRequestException",
        status=400,
    )
    swept.write(HOME, "failed", State="SUSPENDED")
    eventually(lambda: swept.status(HOME, "failed").get("Error"))
    swept.sandbox.clear_faults(fault)
    sweep(swept)
    eventually(lambda: swept.settled(HOME, "failed"))
    assert "Error" not in swept.status(HOME, "failed")
    assert swept.certificate(HOME, device) == "INACTIVE"


def test_what_the_clock_changes_is_applied_when_it_is_due(swept: Deployment) -> None:
    device = joined(swept, "retiring")
    certificates = swept.row(HOME, "retiring")["Certificates"]
    retire_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    certificates[device.id]["RetireAt"] = retire_at
    change_row(swept, "retiring", Certificates=certificates)
    sweep(swept)
    eventually(lambda: swept.status(HOME, "retiring").get("DueAt"))
    assert swept.certificate(HOME, device) == "ACTIVE"
    eventually(lambda: swept.status(HOME, "retiring")["DueAt"] < time.time())
    sweep(swept)
    eventually(lambda: swept.certificate(HOME, device) == "INACTIVE")
    eventually(lambda: "DueAt" not in swept.status(HOME, "retiring"))


@pytest.mark.defect("D-6")
def test_the_status_of_a_row_that_expired_is_forgotten(swept: Deployment) -> None:
    joined(swept, "expired")
    swept.write(HOME, "expired", State="DELETED")
    eventually(lambda: swept.settled(HOME, "expired"))
    swept.sandbox.client("dynamodb", HOME).delete_item(
        TableName=f"{swept.application}-device-inventory", Key={"ThingName": {"S": "expired"}}
    )
    sweep(swept)
    eventually(lambda: swept.status(HOME, "expired") == {})


@pytest.mark.defect("D-14")
def test_what_was_changed_without_an_event_is_taken_into_the_row(swept: Deployment) -> None:
    deactivated, deleted = (joined(swept, f"{name}-by-hand") for name in ("deactivated", "deleted"))
    assert sweep(swept, Registry=True)["LookedAt"] == 0
    iot = swept.sandbox.client("iot", HOME)
    iot.update_certificate(certificateId=deactivated.id, newStatus="INACTIVE")
    with without_events(swept, HOME):
        remove_thing(swept, HOME, "deleted-by-hand", deleted)
    answer = sweep(swept, Registry=True)
    assert (answer["LookedAt"], answer["Compared"]) == (2, True)
    eventually(lambda: swept.certificate(AWAY, deactivated) == "INACTIVE")
    eventually(lambda: swept.things_of(HOME, deleted) == ["deleted-by-hand"])
    assert swept.row(HOME, "deleted-by-hand")["State"] == "ACTIVE"


def test_without_ingestion_it_is_made_what_the_row_says(swept: Deployment) -> None:
    iot, policy = swept.sandbox.client("iot", AWAY), f"{swept.application}-device"
    changed = {name: joined(swept, f"{name}-far-away") for name in ("detached", "deactivated", "deleted")}
    eventually(lambda: sweep(swept, AWAY, Registry=True)["LookedAt"] == 0)
    iot.detach_policy(policyName=policy, target=arn_of(swept, AWAY, changed["detached"]))
    iot.update_certificate(certificateId=changed["deactivated"].id, newStatus="INACTIVE")
    with without_events(swept, AWAY):
        remove_thing(swept, AWAY, "deleted-far-away", changed["deleted"])
        assert sweep(swept, AWAY, Registry=True)["LookedAt"] == 3
        eventually(lambda: swept.policies_of(AWAY, changed["detached"]) == [policy])
        eventually(lambda: swept.certificate(AWAY, changed["deactivated"]) == "ACTIVE")
        eventually(lambda: swept.things_of(AWAY, changed["deleted"]) == ["deleted-far-away"])
    eventually(lambda: all(swept.settled(AWAY, f"{name}-far-away") for name in changed))
    assert sweep(swept, AWAY, Registry=True)["LookedAt"] == 0


def remove_thing(fleet: Deployment, region: str, name: str, certificate: Issued) -> None:
    iot = fleet.sandbox.client("iot", region)
    iot.detach_thing_principal(thingName=name, principal=arn_of(fleet, region, certificate))
    iot.delete_thing(thingName=name)


def arn_of(fleet: Deployment, region: str, certificate: Issued) -> str:
    return f"arn:aws:iot:{region}:{fleet.sandbox.account_id}:cert/{certificate.id}"


def test_a_sweep_that_was_given_up_on_is_made_by_a_replay(swept: Deployment) -> None:
    joined(swept, "replayed")
    change_row(swept, "replayed", State="SUSPENDED")
    sqs = swept.sandbox.client("sqs", HOME)
    url = sqs.get_queue_url(QueueName=f"{swept.application}-dead-letters")["QueueUrl"]
    event = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
    answer = at(swept).run("fleet_dead_letters", application=swept.application, state="replayed")
    assert [letter["outcome"] for letter in answer["replayed"]] == ["sweep-devices"]
    eventually(lambda: swept.settled(HOME, "replayed"))


def test_of_two_sweeps_at_once_one_works(swept: Deployment) -> None:
    table, key = f"{swept.application}-device-status", {"ThingName": {"S": "sweep/devices"}}
    swept.sandbox.client("dynamodb", HOME).update_item(
        TableName=table,
        Key=key,
        UpdateExpression="SET LeaseOwner = :owner, LeaseUntil = :until",
        ExpressionAttributeValues={":owner": {"S": "another"}, ":until": {"N": str(int(time.time()) + 4)}},
    )
    assert sweep(swept) == {}
    assert swept.status(HOME, "sweep/devices")["LeaseOwner"] == "another"
    assert eventually(lambda: sweep(swept))["Behind"] == 0
    assert "LeaseOwner" not in swept.status(HOME, "sweep/devices")


def test_a_stopped_pipe_is_found(swept: Deployment) -> None:
    pipes = swept.sandbox.client("pipes", HOME)
    [pipe] = [each["Name"] for each in pipes.list_pipes()["Pipes"] if "-replication-" in each["Name"]]
    assert sweep(swept)["StoppedPipes"] == []
    pipes.stop_pipe(Name=pipe)
    try:
        eventually(lambda: pipes.describe_pipe(Name=pipe)["CurrentState"] == "STOPPED")
        assert sweep(swept)["StoppedPipes"] == [pipe]
    finally:
        pipes.start_pipe(Name=pipe)


def test_at_rest_a_sweep_costs_reads_only(swept: Deployment) -> None:
    joined(swept, "resting")
    assert sweep(swept)["Woken"] == 0
    began = swept.sandbox.now()
    assert sweep(swept)["Woken"] == 0
    calls = [
        call["operation"]
        for call in swept.sandbox.journal(since=began, region=HOME)
        if "SweepDevicesRole" in str(call["caller"])
    ]
    assert sorted(calls) == ["ListPipes", *["Scan"] * 8, "UpdateItem", "UpdateItem"]
