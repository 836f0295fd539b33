# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that came in with a claim is one like any other: it rotates, is revoked, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from iotops.sandbox.client import Sandbox
from tests.e2e.fleet import REGIONS, ROOT, Fleet
from tests.e2e.listing import resources
from tests.integration.deployment import eventually

HOME, AWAY = REGIONS
APPLICATION, DOMAIN, NAME = "multi-region-iot", "iot.example.com", "lamp-7"
CLAIMS, ALLOW = "playbooks/claim_provisioning.yml", ("playbooks/allow_devices.yml", "-e", f"fleet_allow_devices={NAME}")
CHECK = (
    "playbooks/check_replication.yml", "-e", "fleet_depth=full", "-e", "replication_check_settling=0",
    "-e", "replication_check_share=1",
)  # fmt: skip
AGAIN = ("-e", "fleet_allow_again=true")
WITHDRAWN = ("-e", json.dumps({"fleet_claim_certificates": [{"name": "factory", "active": False}]}))


def words(output: str) -> str:
    """The output in one line."""
    return " ".join(output.split())


class Lamp:
    """The device: a directory with the root and nothing else."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet, self.directory = fleet, directory
        directory.mkdir()
        root = (fleet.pki / "rootCA/certs/root.cert.pem").read_text()
        (directory / "root.cert.pem").write_text(root)

    def start(self, command: str, region: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a command of the device program."""
        address = self.fleet.sandbox.regions[region]["mqtt"]
        words = [
            "--thing-name",
            NAME,
            "--directory",
            self.directory,
            "--endpoint",
            "iot.example.com",
            "--address",
            address,
        ]
        return subprocess.Popen(
            [sys.executable, "-m", "iotops", "device", command, *map(str, (*words, *arguments))], text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str, region: str, *arguments: object, code: int = 0) -> str:
        """Require that a command ends with a code; what it said."""
        process = self.start(command, region, *arguments)
        said, _nothing = process.communicate(timeout=120)
        assert process.returncode == code, said
        return said

    def claim(self, region: str, code: int = 0, give_up: int = 15) -> str:
        """Ask for a certificate and the name."""
        pair = self.fleet.pki / "claims/factory"
        given = ("--claim-certificate", pair / "cert.pem", "--claim-key", pair / "key.pem", "--give-up", give_up)
        return self.run("claim", region, "--template", f"{APPLICATION}-claim", *given, code=code)

    @property
    def certificate(self) -> bytes:
        """What it connects with."""
        return (self.directory / f"{NAME}.cert.pem").read_bytes()


@pytest.mark.long  # in short: tests/integration/test_claim_provisioning.py
def test_a_claimed_device_lives_and_ends_like_any_other(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "sandbox").start()
    try:
        fleet = Fleet(sandbox)
        empty = resources(sandbox, REGIONS)
        fleet.run("site.yml").ok()
        predicted = fleet.run(CLAIMS, "--check").ok()
        assert not (fleet.pki / "claims").exists()
        done = fleet.run(CLAIMS).ok()
        assert all(predicted.changed.values())
        assert all(done.changed.values())
        again = fleet.run(CLAIMS).ok()
        assert set(again.changed.values()) == {0}, again.changes
        key = fleet.pki / "claims/factory/key.pem"
        assert key.stat().st_mode & 0o777 == 0o600

        lamp = Lamp(fleet, tmp_path / "lamp")
        assert "AccessDenied" in lamp.claim(AWAY, code=3, give_up=1)
        fleet.run(*ALLOW).ok()
        lamp.claim(AWAY)
        for region in (AWAY, HOME):
            lamp.run("publish", region, "--message", "{}")
        fleet.run(*CHECK).ok()

        first = lamp.certificate
        online = lamp.start("connect", HOME)
        try:
            fleet.run("playbooks/rotate_devices.yml", "-e", f"fleet_devices={NAME}").ok()
            eventually(lambda: lamp.certificate != first)
        finally:
            online.terminate()
            online.communicate(timeout=30)
        for region in (HOME, AWAY):
            lamp.run("publish", region, "--message", "{}")
        fleet.run(*CHECK).ok()

        assert f"{NAME} (ACTIVE): a name is given again" in words(fleet.run(*ALLOW, *AGAIN).output)
        fleet.run("playbooks/change_device.yml", "-e", f"fleet_thing={NAME}", "-e", "fleet_state=DELETED").ok()
        heir = Lamp(fleet, tmp_path / "heir")
        assert "AccessDenied" in heir.claim(AWAY, code=3, give_up=1), "not given again"
        fleet.run(*ALLOW, *AGAIN).ok()
        heir.claim(AWAY)
        for region in (AWAY, HOME):
            heir.run("publish", region, "--message", "{}")
            lamp.run("publish", region, "--message", "{}", "--give-up", "5", code=4)
        fleet.run(*CHECK).ok()

        revoked = ("-e", f"fleet_devices={NAME}", "-e", f"fleet_revoke_confirm={APPLICATION}")
        fleet.run("playbooks/revoke_devices.yml", *revoked).ok()
        for region in (HOME, AWAY):
            heir.run("publish", region, "--message", "{}", "--give-up", "5", code=4)
        fleet.run(*CHECK).ok()
        assert f"{NAME} (REVOKED): a name is given again" in words(fleet.run(*ALLOW, *AGAIN).output)
        second = Lamp(fleet, tmp_path / "second")
        assert "AccessDenied" in second.claim(HOME, code=3, give_up=1), "a revoked name is given to nobody"

        fleet.run(CLAIMS, *WITHDRAWN).ok()
        for region in (HOME, AWAY):
            assert "not provisioned for 15 s" in second.claim(region, code=4)
        settled = fleet.run(CLAIMS, *WITHDRAWN).ok()
        assert set(settled.changed.values()) == {0}, settled.changes

        fleet.run("playbooks/teardown.yml", "-e", f"fleet_teardown_confirm={APPLICATION}").ok()
        left = resources(sandbox, REGIONS)
        for region in REGIONS:  # settings of the account, not resources of the fleet
            empty.pop(f"{region} iot events"), left.pop(f"{region} iot events")
            assert sandbox.client("iot", region).list_provisioning_templates()["templates"] == []
        # What the second one was granted and could not use: AWS IoT deletes it when the token's hour is over.
        assert left.pop(f"{HOME} iot certificates") == ["['PENDING_ACTIVATION']"]
        assert left == empty
    finally:
        sandbox.stop()
