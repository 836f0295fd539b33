# SPDX-License-Identifier: GPL-3.0-or-later
"""A thing made with the AWS CLI in one region, by somebody who knows nothing of us, works in the other one."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fleet import ROOT, Fleet
from tests.integration.sandbox.mqtt import Device

HOME, AWAY = "eu-west-1", "us-west-2"
CLI = ROOT / ".venv-awscli/bin/aws"
THING = "made-with-the-cli"
SECONDS = 90  # on a slow machine the commands take longer than ten seconds, and the next look is made after sixty

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not CLI.is_file(), reason="the AWS CLI is absent: make .venv-awscli/ok"),
]


class Account:
    """The AWS CLI with a user's credentials."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def iot(self, region: str, *arguments: str) -> dict[str, Any]:
        """Answer of ``aws iot <arguments>``; {} when it says nothing."""
        done = subprocess.run(
            [CLI, "iot", *arguments, "--region", region, "--output", "json"],
            env={
                "PATH": os.environ["PATH"],
                "AWS_ENDPOINT_URL": self._fleet.sandbox.gateway,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "any-will-do",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if "ResourceNotFoundException" in done.stderr:
            return {}
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout or "{}")
        return answer

    def make_certificate(self, directory: Path, *options: str) -> dict[str, Any]:
        """One that AWS IoT signs, attached to the thing, with its files in the directory."""
        directory.mkdir()
        certificate, key = directory / "certificate.pem", directory / "key.pem"
        made = self.iot(
            AWAY, "create-keys-and-certificate", *options,
            "--certificate-pem-outfile", str(certificate), "--private-key-outfile", str(key),
        )  # fmt: skip
        self.iot(AWAY, "attach-thing-principal", "--thing-name", THING, "--principal", made["certificateArn"])
        self.iot(AWAY, "attach-policy", "--policy-name", "own", "--target", made["certificateArn"])
        return made

    def status(self, region: str, certificate: dict[str, Any]) -> str:
        """A certificate's status; "" when the region does not have it."""
        answer = self.iot(region, "describe-certificate", "--certificate-id", certificate["certificateId"])
        return str(answer.get("certificateDescription", {}).get("status", ""))


def connects(fleet: Fleet, region: str, directory: Path) -> bool:
    files = directory / "certificate.pem", directory / "key.pem"
    trust = fleet.pki / "rootCA/certs/root.cert.pem"
    device = Device(fleet.sandbox.regions[region]["mqtt"], trust, files, THING)
    try:
        return device.connect(5)
    finally:
        device.close()


def wait_for(look: Any) -> None:
    end = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < end, f"not within {SECONDS} s"
        time.sleep(0.2)


def test_a_thing_made_with_the_aws_cli_works_in_the_other_region_until_it_is_deleted(
    fleet: Fleet, tmp_path: Path
) -> None:
    account, own = Account(fleet), {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}
    account.iot(AWAY, "create-thing", "--thing-name", THING, "--attribute-payload", '{"attributes": {"room": "7"}}')
    document = json.dumps({"Version": "2012-10-17", "Statement": [own]})
    account.iot(AWAY, "create-policy", "--policy-name", "own", "--policy-document", document)
    active = account.make_certificate(tmp_path / "active", "--set-as-active")
    inactive = account.make_certificate(tmp_path / "inactive", "--no-set-as-active")

    wait_for(lambda: account.status(HOME, active) == "ACTIVE" and account.status(HOME, inactive) == "INACTIVE")
    wait_for(lambda: connects(fleet, HOME, tmp_path / "active"))
    assert not connects(fleet, HOME, tmp_path / "inactive")
    thing = account.iot(HOME, "describe-thing", "--thing-name", THING)
    assert (thing["thingTypeName"], thing["attributes"]["room"]) == ("multi-region-iot-device", "7")

    for certificate in (active, inactive):
        account.iot(
            AWAY, "detach-thing-principal", "--thing-name", THING, "--principal", certificate["certificateArn"]
        )  # fmt: skip
    account.iot(AWAY, "delete-thing", "--thing-name", THING)
    wait_for(lambda: account.iot(HOME, "describe-thing", "--thing-name", THING) == {})
    wait_for(lambda: account.status(HOME, active) in ("", "REVOKED"))
    assert not connects(fleet, HOME, tmp_path / "active")
