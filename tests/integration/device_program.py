# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops device`` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.deployment import Deployment, eventually
from tests.integration.sandbox.mqtt import Issued

ROOT = Path(__file__).parents[2]
SERVER_NAME = "iot.example.com"


class Program:
    """A device as a process. ``prefix``: what starts Python; ``own``: the process is to end by itself."""

    def __init__(
        self,
        deployment: Deployment,
        name: str,
        directory: Path,
        *arguments: object,
        command: str = "connect",
        prefix: tuple[object, ...] = (sys.executable,),
        **environment: str,
    ) -> None:
        self.deployment, self.name = deployment, name
        self.log = directory.with_name(f"{directory.name}.log")
        every = ["-m", "iotops", "device", command, "--thing-name", name, "--directory", directory]
        where = ["--endpoint", SERVER_NAME] if command != "provision" else []
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in (*prefix, *every, *where, *arguments)],
                env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        """What it has logged; it has to run, or to have ended well."""
        assert self.process.poll() in (None, 0), self.log.read_text()
        return self.log.read_text()

    def says(self, text: str, seconds: float = 60) -> None:
        """Wait until it has logged it."""
        eventually(lambda: text in self.said(), seconds=seconds)

    def end(self) -> str:
        """End it as systemd does; what it has logged."""
        self.process.terminate()
        assert self.process.wait(20) == 0, self.log.read_text()
        return self.log.read_text()

    def ended(self, code: int, seconds: float = 60) -> str:
        """Require that it ends by itself with a code; what it has logged."""
        assert self.process.wait(seconds) == code, self.log.read_text()
        return self.log.read_text()

    def rotate(self, key_type: str) -> str:
        """Wait until it has joined, give it a job, wait for the job's end, end the program; the job's status."""
        self.says("connected with")
        ended = give_job(self.deployment, self.name, keyType=key_type)
        try:
            status, _reason = eventually(ended, seconds=40)
            self.says("rotation: ended")
            return str(status)
        finally:
            self.end()


def prepare(deployment: Deployment, directory: Path, issued: Issued, name: str, *, key: bool = True) -> Path:
    """Put what a device has from the factory into its directory; that."""
    directory.mkdir(exist_ok=True)
    (directory / "root.cert.pem").write_text(deployment.root.pem)
    (directory / f"{name}.cert.pem").write_text(issued.pem)
    if key:
        (directory / f"{name}.key.pem").write_text(issued.key_pem)
    return directory


def give_job(deployment: Deployment, name: str, suffix: str = "", **document: str) -> Callable[[], Any]:
    """Give a device a job to rotate; what tells how it went, as status and reason, once it has ended."""
    iot = deployment.sandbox.client("iot", deployment.regions[0])
    thing = iot.describe_thing(thingName=name)["thingArn"]
    job = f"{deployment.application}-rotate-{name}{suffix}"
    iot.create_job(jobId=job, targets=[thing], document=json.dumps({"operation": "ROTATE_CERTIFICATE", **document}))

    def ended() -> tuple[str, str] | None:
        execution = iot.describe_job_execution(jobId=job, thingName=name)["execution"]
        details = execution.get("statusDetails", {}).get("detailsMap", {})
        waits = execution["status"] in ("QUEUED", "IN_PROGRESS")
        return None if waits else (execution["status"], details.get("reason", ""))

    return ended
