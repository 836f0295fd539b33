# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that AWS IoT let in by a template is like any other: it rotates, is revoked, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from iotops.sandbox.client import Sandbox
from tests.e2e.fleet import REGIONS, ROOT, Fleet
from tests.e2e.listing import resources
from tests.integration.deployment import eventually

HOME, AWAY = REGIONS
APPLICATION, NAME = "multi-region-iot", "pump-1"
CHOICES = {
    "fleet_jitp_subject": {"country": "SE", "organizational_unit": "Pumps"},
    "fleet_jitp_attributes": {"unit": "OrganizationalUnit"},
}
JITP = ("playbooks/jitp.yml", "-e", json.dumps(CHOICES))
CHECK = (
    "playbooks/check_replication.yml", "-e", "fleet_depth=full", "-e", "replication_check_settling=0",
    "-e", "replication_check_share=1",
)  # fmt: skip


class Pump:
    """The device: its key, its certificate and the root."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet, self.directory = fleet, directory
        shutil.copytree(fleet.pki / "clients" / NAME, directory)
        shutil.copy(fleet.pki / "rootCA/certs/root.cert.pem", directory / "root.cert.pem")

    def start(self, command: str, region: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a command of the device program."""
        address = self.fleet.sandbox.regions[region]["mqtt"]
        words = ["--thing-name", NAME, "--directory", str(self.directory), "--endpoint", "iot.example.com"]
        return subprocess.Popen(
            [sys.executable, "-m", "iotops", "device", command, *words, "--address", address, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    def publish(self, region: str, *arguments: str, code: int = 0) -> None:
        """Publish, trying again while it is dropped; require that this ends with a code."""
        process = self.start("publish", region, "--message", "{}", *arguments)
        said, _nothing = process.communicate(timeout=120)
        assert process.returncode == code, said

    @property
    def certificate(self) -> bytes:
        """What it connects with."""
        return (self.directory / f"{NAME}.cert.pem").read_bytes()


@pytest.mark.long  # in short: tests/integration/test_jitp.py
def test_a_provisioned_device_lives_and_ends_like_any_other(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "sandbox").start()
    try:
        fleet = Fleet(sandbox)
        empty = resources(sandbox, REGIONS)
        fleet.run("site.yml").ok()
        fleet.run(*JITP, "--check").ok()
        assert not (fleet.pki / "jitpCA").exists()
        fleet.run(*JITP).ok()
        again = fleet.run(*JITP).ok()
        assert set(again.changed.values()) == {0}, again.changes
        kept = fleet.run("site.yml").ok()
        assert set(kept.changed.values()) == {0}, "site.yml keeps register-device from its devices"
        authority = f"fleet_issue_authority={fleet.pki}/jitpCA"
        fleet.run("playbooks/issue_devices.yml", "-e", authority, "-e", f"fleet_devices={NAME}").ok()

        pump = Pump(fleet, tmp_path / "pump")
        for region in (AWAY, HOME):
            pump.publish(region)
        fleet.run(*CHECK).ok()
        described = sandbox.client("iot", HOME).describe_thing(thingName=NAME)
        assert described["attributes"]["unit"] == "Pumps"

        first = pump.certificate
        online = pump.start("connect", HOME)
        try:
            fleet.run("playbooks/rotate_devices.yml", "-e", f"fleet_devices={NAME}").ok()
            eventually(lambda: pump.certificate != first)
        finally:
            online.terminate()
            online.communicate(timeout=30)
        for region in REGIONS:
            pump.publish(region)
        fleet.run(*CHECK).ok()

        revoked = ("-e", f"fleet_devices={NAME}", "-e", f"fleet_revoke_confirm={APPLICATION}")
        fleet.run("playbooks/revoke_devices.yml", *revoked).ok()
        for region in REGIONS:
            pump.publish(region, "--give-up", "5", code=4)
        assert (fleet.pki / "jitpCA/index.txt").read_text().startswith("R")
        assert (fleet.pki / "jitpCA/crl/issuing.crl.pem").is_file()
        fleet.run(*CHECK).ok()

        refused = fleet.run(*JITP, "-e", "jitp_mode=DEFAULT")
        assert "knows the CA as SNI_ONLY, which AWS IoT cannot change" in " ".join(refused.output.split())
        fleet.run("playbooks/teardown.yml", "-e", f"fleet_teardown_confirm={APPLICATION}").ok()
        left = resources(sandbox, REGIONS)
        for region in REGIONS:  # settings of the account, not resources of the fleet
            empty.pop(f"{region} iot events"), left.pop(f"{region} iot events")
            assert sandbox.client("iot", region).list_provisioning_templates()["templates"] == []
        assert left == empty
    finally:
        sandbox.stop()
