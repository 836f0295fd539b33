# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of `iotops device connect` while it publishes, against `mosquitto_sub` on the same broker.

Both are connected over mutual TLS with a P-256 certificate; RSS (VmRSS) is read once a second, the highest counts.
The device sends a message a second, hears of jobs and is ready to rotate; `mosquitto_sub` listens.

The last line is JSON. ``device_mb``: ours; ``rotated_mb``: ours after it has made a key; ``bare_mb``: Python alone;
``mosquitto_mb``: theirs. MB of 1,000,000 bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "collections"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.device_program import SERVER_NAME, Program, give_job, prepare
from tests.integration.features import rotation
from tests.integration.sandbox.mqtt import Issued

REGION = "eu-west-1"
FULL_SECONDS, QUICK_SECONDS = 60, 5


def resident(pid: int) -> float:
    """RSS of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6


def highest(pid: int, seconds: int) -> float:
    """The most of it in so many seconds."""
    seen = []
    for _each in range(seconds):
        time.sleep(1)
        seen.append(resident(pid))
    return max(seen)


@contextmanager
def device(fleet: Deployment, name: str, directory: Path) -> Iterator[Program]:
    """A device that is connected and publishes."""
    address = fleet.sandbox.regions[REGION]["mqtt"]
    program = Program(fleet, name, directory, "--address", address, "--telemetry", 1)
    try:
        program.says("connected with")
        yield program
    finally:
        program.end()


@contextmanager
def mosquitto(fleet: Deployment, name: str, issued: Issued, directory: Path) -> Iterator[int]:
    """The process id of a mosquitto_sub that is connected."""
    host, port = fleet.sandbox.regions[REGION]["mqtt"].split(":")
    certificate, key = issued.files(directory)
    topic, hosts = f"e/{name}/said", directory / "hosts"
    hosts.write_text(f"{host} {SERVER_NAME}\n")
    private = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    words = ["mosquitto_sub", "-h", SERVER_NAME, "-p", port, "-i", name, "-q", "1", "-t", topic]
    trust = ["--cafile", str(fleet.trust), "--cert", str(certificate), "--key", str(key)]
    process = subprocess.Popen([*private, *words, *trust], stdout=subprocess.PIPE)
    assert process.stdout  # noqa: S101
    os.set_blocking(process.stdout.fileno(), False)
    try:
        eventually(lambda: _hears(fleet, topic, process))
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _hears(fleet: Deployment, topic: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout  # noqa: S101
    fleet.sandbox.client("iot-data", REGION).publish(topic=topic, qos=1, payload=b"{}")
    return bool(process.stdout.read())


def bare() -> float:
    """Python that does nothing."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    time.sleep(1)
    found = resident(process.pid)
    process.communicate(b"\n")
    return found


def measure(fleet: Deployment, directory: Path, seconds: int) -> dict[str, float]:
    """Each figure by its name."""
    figures = {"bare_mb": bare()}
    name, other = "ours", "theirs"
    home = prepare(fleet, directory / "device", fleet.issue(name), name)
    with device(fleet, name, home) as program:
        figures["device_mb"] = highest(program.process.pid, seconds)
        eventually(give_job(fleet, name))
        figures["rotated_mb"] = highest(program.process.pid, seconds)
    issued = fleet.issue(other)
    fleet.admit(issued, REGION)
    with mosquitto(fleet, other, issued, directory) as pid:
        figures["mosquitto_mb"] = highest(pid, seconds)
    return figures


def main() -> None:
    """Measure, and print one JSON line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS} s each (under a minute)")
    seconds = QUICK_SECONDS if options.parse_args().quick else FULL_SECONDS
    with tempfile.TemporaryDirectory() as directory:
        sandbox = Sandbox(Path(directory) / "sandbox").start()
        try:
            fleet = Deployment(sandbox, Path(directory), (REGION,))
            rotation.deploy(fleet, REGION)
            figures = measure(fleet, Path(directory), seconds)
        finally:
            sandbox.stop()
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
