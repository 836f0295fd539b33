# SPDX-License-Identifier: GPL-3.0-or-later
"""A campaign over simulated devices, some of them broken, with the issuing CA's key on the controller alone."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Ledger
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica
from ansible_collections.iotops.fleet.plugins.module_utils._rotation import desk
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.desk import Desk
from iotops.device import Device
from iotops.sandbox.client import Sandbox
from tests.integration.campaign import (
    BROKEN,
    ROOT,
    AsksForAnotherName,
    Campaigns,
    CannotConnectWithTheNewOne,
    CannotStore,
    GoesOffline,
    NeverTakesTheJob,
    Simulated,
    request_for,
)
from tests.integration.deployment import Deployment, eventually
from tests.integration.features import rotation
from tests.integration.operators import AWAY, BOTH, HOME, at, four_times
from tests.processes import kill

# The devices' certificates end in 20 days, those that they get with the CA in 30.
DUE = ("-e", "fleet_rotate_within_days=25")
QUICK = ("-e", "rotation_campaign_pause=1")


@pytest.fixture(scope="module")
def fleet(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Campaigns:
    campaigns = Campaigns(deployment, tmp_path_factory.mktemp("campaign"))
    for region in BOTH:  # jobs of others would be taken up
        for job, status in jobs(campaigns, region).items():
            if status == "IN_PROGRESS":
                deployment.sandbox.client("iot", region).cancel_job(jobId=job, force=True)
    return campaigns


@pytest.fixture
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaigns]:
    """A fleet of its own."""
    sandbox = Sandbox(tmp_path_factory.mktemp("campaign-sandbox")).start()
    deployment = Deployment(sandbox, tmp_path_factory.mktemp("campaign-deployment"), BOTH)
    yield Campaigns(deployment, tmp_path_factory.mktemp("campaign"))
    sandbox.stop()


def have_rotated(fleet: Campaigns, devices: dict[str, Simulated], good: list[str], broken: list[str]) -> None:
    """The good ones in every region, with what they say themselves; the broken ones work on as they were."""
    for name in good:
        eventually(lambda name=name: fleet.has_rotated(name), seconds=120)
        assert devices[name].device.credentials.certificate_id() == fleet.deployment.row(HOME, name)["CertificateId"]
    for name in broken:
        first = devices[name].first
        assert fleet.deployment.row(AWAY, name)["CertificateId"] == first.id
        assert [fleet.deployment.certificate(region, first) for region in BOTH] == ["ACTIVE", "ACTIVE"]
    fleet.each(fleet.works, [devices[name] for name in broken])
    fleet.each(lambda name: fleet.works(devices[name], fleet.current(name)), good)


def issued_names(fleet: Campaigns) -> Counter[str]:
    """How often the ledger has a certificate of each name."""
    return Counter(entry.common_name for entry in Ledger(fleet.issuing / "index.txt").entries())


def jobs(fleet: Campaigns, region: str) -> dict[str, str]:
    """Status by id."""
    iot = fleet.deployment.sandbox.client("iot", region)
    return {job["jobId"]: job["status"] for job in iot.list_jobs()["jobs"] if "-rotate-" in job["jobId"]}


def test_good_devices_rotate_and_broken_ones_are_named_and_work_on(fleet: Campaigns, tmp_path: Path) -> None:
    good, bad, stuck = [f"campaign-{number}" for number in range(1, 7)], "campaign-7", "campaign-8"
    devices = fleet.join({**dict.fromkeys(good, Device), bad: AsksForAnotherName, stuck: CannotConnectWithTheNewOne})
    report = tmp_path / "report.json"
    with fleet.online(devices):
        run = fleet.rotate(
            *QUICK, "-e", f"fleet_devices={','.join(devices)}", "-e", "rotation_campaign_canary=2",
            "-e", "rotation_campaign_abort_percentage=50", "-e", f"fleet_report={report}",
        )  # fmt: skip
    assert run.code == 2, run.output
    found = json.loads(report.read_text())
    assert found["counts"] == {"rotated": 6, "waiting": 0, "cancelled": 0, "failed": 2}, run.output
    reasons = {each["thing_name"]: each["reason"] for each in found["devices"] if each["outcome"] != "rotated"}
    assert reasons[bad].startswith("NameDiffers: ")
    assert reasons[stuck].startswith("the new certificate was refused")
    assert f"2 of 8 devices have not rotated: {bad} failed: {reasons[bad]}; {stuck} failed: {reasons[stuck]}" in run
    have_rotated(fleet, devices, good, [bad, stuck])
    assert issued_names(fleet) == Counter([*devices, *good, stuck])
    for region in BOTH:
        assert "IN_PROGRESS" not in jobs(fleet, region).values()
        where = at(fleet.deployment, region)
        assert where.run("fleet_certificate_requests_info", application=fleet.deployment.application)["requests"] == []


def test_a_request_is_signed_once_wherever_the_run_is_killed(fleet: Campaigns, monkeypatch: pytest.MonkeyPatch) -> None:
    name, region, application = "campaign-killed", at(fleet.deployment, AWAY), fleet.deployment.application
    device = fleet.join({name: Device})[name]
    job = f"{application}-rotate-80"
    region.run("fleet_rotation_job", job_id=job, thing_names=[name])
    region.client("iot-jobs-data").start_next_pending_job_execution(thingName=name)
    request = {"ThingName": name, "Csr": request_for(name), "JobId": job, "Principal": device.first.id}
    region.client("dynamodb").put_item(
        TableName=f"{application}-certificate-requests",
        Item=fleet.deployment.image({**request, "RequestedAt": "2026-01-31T12:00:00Z"}),
    )

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    arguments = {"application": application, "write_region": HOME, "authority": str(fleet.issuing)}
    predicted = region.run("fleet_certificate_requests", check=True, **arguments)
    for place in ((Replica, "write"), (Desk, "_known_here"), (desk, "_delete")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(*place, killed)
            region.run("fleet_certificate_requests", **arguments)
    listening = fleet.deployment.connected(device.first, AWAY)
    assert listening.subscribe(f"e/{name}/certificate/#")
    done = region.run("fleet_certificate_requests", **arguments)
    assert done["diff"] == predicted["diff"] == {"before": "", "after": f"{name}: accepted\n"}
    [(topic, payload)] = listening.wait_for(1)
    listening.close()
    assert topic == f"e/{name}/certificate/create/accepted"
    row = fleet.deployment.row(HOME, name)
    [new] = [each for each, entry in row["Certificates"].items() if entry.get("JobId") == job]
    assert json.loads(payload)["certificateId"] == new == done["answers"][0]["certificate_id"]
    assert row["CertificateId"] == device.first.id
    assert issued_names(fleet)[name] == 2
    assert not region.run("fleet_certificate_requests", **arguments)["changed"]
    region.run("fleet_rotation_job", job_id=job, state="cancelled")


def test_a_campaign_is_aborted_in_the_regions_of_the_run(fleet: Campaigns) -> None:
    fleet.join({"campaign-off": Device})
    job = {"job_id": f"{fleet.deployment.application}-rotate-90", "thing_names": ["campaign-off"]}
    for region in BOTH:
        four_times(
            lambda check, region=region: at(fleet.deployment, region).run("fleet_rotation_job", check=check, **job),
            lambda region=region: jobs(fleet, region),
        )
    refusal = at(fleet.deployment).refusal("fleet_rotation_job", **{**job, "thing_names": ["campaign-other"]})
    assert "is there for other devices (campaign-off)" in refusal
    run = fleet.rotate("-e", "fleet_rotation_state=aborted", "--limit", AWAY)
    assert run.code == 0, run.output
    assert [jobs(fleet, region)[job["job_id"]] for region in BOTH] == ["IN_PROGRESS", "CANCELED"]
    at(fleet.deployment).run("fleet_rotation_job", job_id=job["job_id"], state="cancelled")
    assert "IN_PROGRESS" not in jobs(fleet, HOME).values()


@pytest.mark.long
def test_a_campaign_that_is_killed_goes_on_and_every_broken_device_of_200_is_named(
    large: Campaigns, tmp_path: Path
) -> None:
    names = [f"device-{number:03}" for number in range(200)]
    broken = dict(zip(names[19::40], BROKEN, strict=True))
    devices = large.join({name: broken.get(name, Device) for name in names})
    progress, report = tmp_path / "progress", tmp_path / "report.json"
    arguments = (
        *DUE, *QUICK, "-e", f"rotation_campaign_progress_path={progress}", "-e", f"fleet_report={report}",
        "-e", "rotation_campaign_wave_seconds=420",
    )  # fmt: skip

    run = large.rotate(*DUE, "--check")
    assert run.code == 0, run.output
    assert "200 devices in 3 waves" in run
    assert jobs(large, HOME) == jobs(large, AWAY) == {}

    with large.online(devices):
        kill_in_second_wave(large, arguments, progress)
        run = large.rotate(*arguments)
        assert run.code == 2, run.output
        print(progress.read_text())
    found = json.loads(report.read_text())
    not_rotated = {each["thing_name"]: each for each in found["devices"] if each["outcome"] != "rotated"}
    print(json.dumps(not_rotated, indent=1))
    assert set(not_rotated) == set(broken), run.output
    for name, kind in broken.items():
        assert not_rotated[name]["outcome"] == ("waiting" if kind is NeverTakesTheJob else "failed")
        assert f"{name} {not_rotated[name]['outcome']}: {not_rotated[name]['reason']}" in run
    have_rotated(large, devices, [name for name in names if name not in broken], list(broken))
    asked = {name for name, kind in broken.items() if kind not in (NeverTakesTheJob, AsksForAnotherName)}
    assert issued_names(large) == Counter(names) + Counter(
        name for name in names if name not in broken or name in asked
    )
    for region in BOTH:
        assert large.deployment.dead_letters(region) == []
    nobody_has_two_jobs(large, names)

    # The next run takes up who waits, and gives those that failed another job.
    run = large.rotate(*DUE, "--check")
    lines = re.findall(r"(taken up|canary) +(\S+) +(device-\d+)", run.output)
    assert {name for _wave, _job, name in lines} == set(broken)
    waiting = {name for name, kind in broken.items() if kind in (NeverTakesTheJob, GoesOffline)}
    assert {name for wave, _job, name in lines if wave == "taken up"} == waiting


@pytest.mark.long
def test_where_regions_sign_the_ledger_hears_of_it_and_a_broken_canary_stops_a_campaign(
    fleet: Campaigns, tmp_path: Path
) -> None:
    for region in BOTH:
        rotation.deploy(fleet.deployment, region, signer="function")
    good = ["signed-1", "signed-2", "signed-3"]
    devices = fleet.join({**dict.fromkeys(good, Device), "signed-4": CannotStore})
    named = (*QUICK, "-e", f"fleet_devices={','.join(devices)}", "-e", "fleet_rotation_signer=function")
    report = tmp_path / "report.json"
    with fleet.online(devices):
        run = fleet.rotate(*named, "-e", "fleet_canary_devices=signed-4", "-e", f"fleet_report={report}")
        assert run.code == 2, run.output
        assert "The campaign was stopped: 1 of the canary devices failed. 1 of 1 devices have not rotated" in run
        assert {fleet.deployment.row(HOME, name)["CertificateId"] for name in good} == {
            devices[name].first.id for name in good
        }
        for region in BOTH:
            assert "IN_PROGRESS" not in jobs(fleet, region).values()
        run = fleet.rotate(
            *named, "-e", "fleet_canary_devices=signed-2", "-e", "rotation_campaign_abort_percentage=100",
            "-e", "fleet_fail_on=none", "-e", f"fleet_report={report}",
        )  # fmt: skip
        assert run.code == 0, run.output
    assert json.loads(report.read_text())["counts"] == {"rotated": 3, "waiting": 0, "cancelled": 0, "failed": 1}
    have_rotated(fleet, devices, good, ["signed-4"])
    # Of the one that cannot store them each campaign made one.
    assert issued_names(fleet) & Counter(4 * [*devices]) == Counter([*devices, *good, "signed-4", "signed-4"])


def kill_in_second_wave(fleet: Campaigns, arguments: tuple[str, ...], progress: Path) -> None:
    """Kill the playbook when some devices of the second wave have rotated."""
    process = subprocess.Popen(
        fleet.command(*arguments), cwd=ROOT, env=fleet.environment, start_new_session=True, stdout=subprocess.DEVNULL
    )
    job = f"{fleet.deployment.application}-rotate-2"
    rows = fleet.deployment.sandbox.client("dynamodb", HOME)

    def some() -> bool:
        assert process.poll() is None, progress.read_text()
        if not progress.exists() or job not in progress.read_text():
            return False
        found = rows.scan(TableName=f"{fleet.deployment.application}-device-inventory")["Items"]
        return sum(1 for row in found if job in json.dumps(row)) > 20

    eventually(some, seconds=300)
    kill(process)


def nobody_has_two_jobs(fleet: Campaigns, names: list[str]) -> None:
    """Each device was in one job, the same one in both regions."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for region in BOTH:
        iot = fleet.deployment.sandbox.client("iot", region)
        for job in jobs(fleet, region):
            targets: list[str] = iot.describe_job(jobId=job)["job"]["targets"]
            for arn in targets:
                found[arn.rpartition("/")[2]].add(job)
    assert {name: each for name, each in found.items() if len(each) != 1} == {}
