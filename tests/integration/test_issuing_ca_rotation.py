# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuing CA of a live fleet is replaced: nobody is locked out, and those that would be are named before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.filter.ca_rotation import ca_rotation, ca_rotation_waiting
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import entry_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.generations import issuing_ca
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Ledger
from tests.integration.deployment import Deployment, eventually
from tests.integration.modules import run_module
from tests.integration.sandbox.mqtt import Issued, issue

HOME, AWAY = BOTH = ("eu-west-1", "us-west-2")
ONLINE, OFFLINE, BOXED = ("on-1", "on-2", "on-3", "on-4"), ("off-1", "off-2"), "boxed"


@dataclass
class Rotation:
    """Two generations of a CA in a PKI of their own, and the devices that they signed."""

    deployment: Deployment
    pki: Path
    authorities: dict[int, Issued] = field(default_factory=dict)
    devices: dict[str, list[Issued]] = field(default_factory=dict)

    def make(self, generation: int) -> None:
        """A CA of the fleet's root; its files, as far as they are looked at."""
        made = issue(f"Rotated Issuing CA G{generation}", self.deployment.root, authority=True)
        path = Path(issuing_ca(generation, str(self.pki), "certificate"))
        path.parent.mkdir(parents=True)
        path.write_text(made.pem)
        self.authorities[generation] = made

    def issue(self, name: str, generation: int) -> Issued:
        """A device certificate that is in its CA's ledger."""
        made = issue(name, self.authorities[generation])
        Ledger(Path(issuing_ca(generation, str(self.pki))) / "index.txt").append([entry_of(made.certificate)])
        return made

    def admit(self, name: str, generation: int, region: str) -> None:
        """Issue, knock in one region until let in, and wait for the other one."""
        made = self.issue(name, generation)
        self.deployment.admit(made, region)
        for each in BOTH:
            eventually(lambda each=each: self.deployment.row(each, name).get("CertificateId") == made.id)
            eventually(lambda each=each: self.deployment.settled(each, name))
        self.devices.setdefault(name, []).append(made)

    def bundle(self, region: str, *generations: int) -> None:
        """Let the devices of these generations be identified, beside those of the fleet's own CA."""
        authorities = [self.deployment.ca, *(self.authorities[each] for each in generations)]
        key = f"certificate-identity-{len(authorities)}"
        files = {f"ca-bundle-{number}.pem": each.pem for number, each in enumerate(authorities)}
        self.deployment.upload(region, key, "certificate_identity", files)
        self.deployment.change_stack(
            region, "onboarding", RegisterDeviceDefinition="register-device", CertificateIdentityPackage=key
        )

    def register(self, region: str, generation: int, **wanted: Any) -> None:
        """What the role iot_ca does."""
        path = issuing_ca(generation, str(self.pki), "certificate")
        answer = run_module("iot_ca_certificate", certificate_path=path, **self._connection(region), **wanted)
        assert not answer.get("failed"), answer

    def answers(self, *leave_behind: str) -> dict[str, Any]:
        """What every region answers."""
        return {
            region: run_module(
                "fleet_issuers_info",
                application=self.deployment.application,
                pki_dir=str(self.pki),
                leave_behind=list(leave_behind),
                **self._connection(region),
            )
            for region in BOTH
        }

    def stands(self, listed: list[int], issuing: int, *leave_behind: str) -> dict[str, Any]:
        """Where the rotation stands."""
        return ca_rotation(self.answers(*leave_behind), listed, issuing)

    def nobody_is_locked_out(self) -> None:
        """Every device connects at its first try in both regions, with every certificate that it has."""

        def refused(name: str) -> list[str]:
            # One after the other: a second session of a name ends the first one.
            calls = [(each, region) for each in self.devices[name] for region in BOTH]
            return [f"{name} in {region}" for each, region in calls if not self.deployment.knock(each, region)]

        with ThreadPoolExecutor(4) as pool:
            assert list(itertools.chain.from_iterable(pool.map(refused, self.devices))) == []

    def _connection(self, region: str) -> dict[str, str]:
        gateway = self.deployment.sandbox.gateway
        return {"region": region, "endpoint_url": gateway, "access_key": "test", "secret_key": "any-will-do"}


@pytest.fixture
def rotation(deployment: Deployment, tmp_path: Path) -> Iterator[Rotation]:
    made = Rotation(deployment, tmp_path)
    made.make(1)
    for region in BOTH:
        made.bundle(region, 1)
        made.register(region, 1)
        deployment.dead_letters(region)  # of others
    yield made
    for region in BOTH:
        for generation in made.authorities:
            made.register(region, generation, state="absent")


def test_a_fleet_changes_its_issuing_ca_and_nobody_is_locked_out(rotation: Rotation) -> None:
    deployment = rotation.deployment
    for name in (*ONLINE, *OFFLINE):
        rotation.admit(name, 1, HOME)
    boxed = rotation.issue(BOXED, 1)

    rotation.make(2)
    for region in BOTH:
        rotation.bundle(region, 1, 2)
        rotation.register(region, 2)
        rotation.nobody_is_locked_out()
    introduced = rotation.stands([1], 1)
    assert (introduced["phase"], introduced["refusals"]["abort"]) == ("introduced", "")

    for number, name in enumerate(ONLINE):
        rotation.admit(name, 2, BOTH[number % 2])
    rotation.nobody_is_locked_out()
    answers = rotation.answers()
    assert ca_rotation(answers, [1], 1)["refusals"]["abort"].startswith("G2 has issued certificates")
    assert [row["name"] for row in ca_rotation_waiting(answers, 1)] == sorted((BOXED, *OFFLINE))
    for issuers in (answer["issuers"] for answer in answers.values()):
        assert [(each["devices"], each["retiring"], each["late"]) for each in issuers] == [(2, 4, 0), (4, 0, 0)]
    switched = ca_rotation(answers, [1, 2], 2)
    assert (switched["phase"], switched["waiting"]) == ("switched", 3)
    assert "wait for G1" in switched["refusals"]["retire"]
    assert "wait for G1" in rotation.stands([1, 2], 2, *OFFLINE)["refusals"]["retire"]
    left = (BOXED, *OFFLINE)
    assert not rotation.stands([1, 2], 2, *left)["refusals"]["retire"]

    for region in BOTH:
        rotation.register(region, 1, status="INACTIVE", auto_registration=False)
        rotation.nobody_is_locked_out()
    retired = rotation.stands([2], 2)
    assert retired["phase"] == "retired"
    assert "wait for G1" in retired["refusals"]["delete"]
    assert not rotation.stands([2], 2, *left)["refusals"]["delete"]

    for region in BOTH:
        rotation.register(region, 1, state="absent")
        rotation.nobody_is_locked_out()
        assert not deployment.knock(boxed, region)
        assert deployment.certificate(region, boxed) == ""
    assert rotation.stands([2], 2)["phase"] == "none"

    [old] = rotation.devices[OFFLINE[0]]
    forget(deployment, AWAY, OFFLINE[0], old)
    assert not deployment.knock(old, AWAY)
    deployment.start(AWAY, "converge-device", {"ThingName": OFFLINE[0], "Force": True})
    eventually(lambda: deployment.certificate(AWAY, old) == "ACTIVE" and deployment.settled(AWAY, OFFLINE[0]))
    rotation.nobody_is_locked_out()
    for region in BOTH:
        assert deployment.dead_letters(region) == []


def forget(deployment: Deployment, region: str, thing: str, certificate: Issued) -> None:
    """Remove a device from one region, as if it had been added later."""
    iot = deployment.sandbox.client("iot", region)
    arn = f"arn:aws:iot:{region}:{deployment.sandbox.account_id}:cert/{certificate.id}"
    iot.detach_thing_principal(thingName=thing, principal=arn)
    iot.update_certificate(certificateId=certificate.id, newStatus="INACTIVE")
    iot.delete_certificate(certificateId=certificate.id, forceDelete=True)
    iot.delete_thing(thingName=thing)
