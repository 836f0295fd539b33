# SPDX-License-Identifier: GPL-3.0-or-later
"""A hundred of a thousand live devices are revoked, and then a region is added."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import BOTH, HOME
from tests.integration.revocable import Revocable
from tests.integration.sandbox.mqtt import Issued

pytestmark = pytest.mark.long

LATER = "eu-central-1"
# Making a device join takes longer than revoking it: most are written into the stores, and have no key.
SEEDED, JOINED, WATCHED = 900, 100, 20


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revocable]:
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox")).start()
    deployment = Deployment(sandbox, tmp_path_factory.mktemp("deployment"), BOTH)
    yield Revocable(deployment, tmp_path_factory.mktemp("revocable"))
    sandbox.stop()


@pytest.fixture(scope="module")
def devices(fleet: Revocable) -> dict[str, Issued]:
    """Those that joined, settled in both regions, beside those that were written."""
    deployment = fleet.deployment
    deployment.sandbox.seed(devices=SEEDED, regions=list(BOTH), application=deployment.application)
    names = [f"live-{number:03}" for number in range(JOINED)]
    found = dict(zip(names, fleet.issue(*names), strict=True))
    each(lambda device: deployment.admit(device, HOME), found.values())
    for region in BOTH:
        each(lambda name, region=region: eventually(lambda: deployment.settled(region, name), seconds=300), names)
    return found


def each(function: Callable[[Any], Any], items: Any) -> list[Any]:
    with ThreadPoolExecutor(12) as pool:
        return list(pool.map(function, items))


def status(deployment: Deployment, region: str, row: dict[str, Any]) -> str:
    described = deployment.sandbox.client("iot", region).describe_certificate(certificateId=row["CertificateId"])
    return str(described["certificateDescription"]["status"])


def test_a_hundred_of_a_thousand_are_out_and_the_others_do_not_notice(
    fleet: Revocable, devices: dict[str, Issued]
) -> None:
    deployment = fleet.deployment
    names = [*devices, *(f"seed-{number}" for number in range(1, SEEDED + 1))]
    gone = [name for name in names if name.endswith("0")]
    kept = [name for name in names if not name.endswith("0")]
    assert (len(gone), len(kept)) == (100, 900)
    out, stay = ([name for name in some if name in devices] for some in (gone, kept))
    before = {name: deployment.row(HOME, name) for name in names}
    staying = [deployment.connected(devices[name], region) for region in BOTH for name in stay[:WATCHED]]
    leaving = [deployment.connected(devices[name], HOME) for name in out]

    wanted = [f"fleet_devices={','.join(gone)}", f"fleet_revoke_confirm={deployment.application}"]
    code, output = fleet.playbook(*wanted, "fleet_wait_timeout=900")
    assert code == 0, output[-6000:]
    for region in BOTH:
        line = rf"(\S+) +{region} +[0-9a-f]{{12}} +REVOKED +REVOKED +(refused|no key here)\b.* ([\d.]+) +refused"
        lines = re.findall(line, output)
        assert {name for name, _attempt, _seconds in lines} == set(gone)
        assert {name for name, attempt, _seconds in lines if attempt == "refused"} == set(out)
        seconds = [float(each) for _name, _attempt, each in lines]
        print(f"{region}: refused {min(seconds)} to {max(seconds)} s after the first write")

    for device in leaving:
        assert device.lost.wait(10), "its connection was left open"
    assert not [device for device in staying if device.lost.is_set()]
    assert [deployment.row(HOME, name) for name in kept] == [before[name] for name in kept]
    for region in BOTH:
        assert {status(deployment, region, before[name]) for name in kept} == {"ACTIVE"}
        assert not any(each(lambda name, region=region: deployment.knock(devices[name], region), out))
        assert {status(deployment, region, before[name]) for name in gone} == {"REVOKED"}
        assert deployment.dead_letters(region) == []
    for device in (*staying, *leaving):
        device.close()


def test_a_region_that_is_added_later_refuses_them_too(fleet: Revocable, devices: dict[str, Issued]) -> None:
    deployment = fleet.deployment
    by_name, by_serial = fleet.issue("never-1", "never-2")
    fleet.revoke(names=["never-1"])
    fleet.revoke(serials=[f"{by_serial.certificate.serial_number:x}"])
    add_region(deployment)
    kept, gone = devices["live-001"], devices["live-010"]
    for device in (gone, by_name, by_serial):
        assert not deployment.knock(device, LATER)
        eventually(lambda device=device: deployment.certificate(LATER, device) == "REVOKED")
        assert not deployment.knock(device, LATER)
        assert deployment.certificate(LATER, device) == "REVOKED"
    deployment.admit(kept, LATER)
    answer = fleet.revoke(names=["live-010", "never-1"])
    assert not answer["changed"]
    assert fleet.refusals(answer, *BOTH, LATER)["missing"] == []


def add_region(deployment: Deployment) -> None:
    """A replica of the tables, the CA, and all stacks, as playbooks/deploy_regions.yml makes them."""
    deployment.regions = (*BOTH, LATER)
    stack = f"{deployment.application}-global"
    deployment.sandbox.client("cloudformation", HOME).update_stack(
        StackName=stack,
        TemplateBody=deployment._global_template(),
        Parameters=[{"ParameterKey": "Application", "UsePreviousValue": True}],
        Capabilities=["CAPABILITY_IAM"],
    )
    deployment._wait(HOME, stack, "UPDATE_COMPLETE")
    deployment.sandbox.client("iot", LATER).register_ca_certificate(
        caCertificate=deployment.ca.pem, certificateMode="SNI_ONLY", setAsActive=True, allowAutoRegistration=True
    )
    deployment._deploy(LATER)
