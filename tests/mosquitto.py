# SPDX-License-Identifier: GPL-3.0-or-later
"""mosquitto as a broker that wants a certificate of each device, on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from iotops.loadtest.making import Issuer
from iotops.loadtest.target import Target
from tests.certificates import issue

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"  # Debian's place for it is not on a user's PATH
_PATIENCE = 10.0  # seconds


@dataclass(frozen=True)
class Mosquitto:
    """A running broker, the CA whose devices it takes, and its process."""

    target: Target
    issuer: Issuer
    pid: int
    log: Path


@contextmanager
def mosquitto(directory: Path, *settings: str) -> Iterator[Mosquitto]:
    """Run one below a new CA; ``settings`` are lines of mosquitto.conf."""
    authority = issue("Devices CA", ca=True)
    authority.write(directory, "authority")
    issue("localhost", signer=authority, names=["localhost"], server=True).write(directory, "server")
    port = free_port()
    lines = (
        f"listener {port} 127.0.0.1",
        f"cafile {directory}/authority.cert.pem",
        f"certfile {directory}/server.cert.pem",
        f"keyfile {directory}/server.key.pem",
        "require_certificate true",
        "use_identity_as_username true",
        "set_tcp_nodelay true",
        "max_queued_messages 0",  # none is dropped
        *([f"user {os.environ.get('USER', 'root')}"] if os.getuid() == 0 else []),  # else it could not read the key
        *settings,
    )
    (directory / "mosquitto.conf").write_text("".join(f"{line}\n" for line in lines))
    program = shutil.which("mosquitto", path=_PATH)
    assert program, "mosquitto is absent: apt-get install mosquitto"
    log = directory / "mosquitto.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "-c", directory / "mosquitto.conf"], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait(port, process, log)
        root = str(directory / "authority.cert.pem")
        target = Target.parse(f"localhost:{port}", address="127.0.0.1", root=root)
        yield Mosquitto(target, Issuer(Path(root), directory / "authority.key.pem"), process.pid, log)
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"mosquitto does not listen on {port}: {log.read_text()}")
