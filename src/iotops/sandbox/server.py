# SPDX-License-Identifier: GPL-3.0-or-later
"""The server process: ``python -m iotops.sandbox.server DIRECTORY PORT [PARENT]``, started by ``iotops sandbox up``.

It writes ``endpoints.json`` when everything answers; its exit code is 2, with one line on stderr, when it cannot start.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from iotops.sandbox import endpoints
from iotops.sandbox.addresses import bind
from iotops.sandbox.patching import BaseChangedError

DOMAIN = "example.com"  # the public hosted zone that the account owns from the start


def main(directory: Path, port: int, parent: int | None = None) -> int:
    """Serve until SIGTERM, or until the process ``parent`` that started it is gone."""
    os.umask(0o077)
    try:
        lock = _lock(directory)
    except BlockingIOError:
        _say(f"a sandbox that does not answer holds {directory}: iotops sandbox down --dir {directory}")
        return 2
    try:
        gateway = bind("127.0.0.1", port)
    except OSError as error:
        _say(f"port {port} of 127.0.0.1 cannot be used: {error.strerror}")
        return 2
    _prepare(directory, gateway.getsockname()[1])
    try:
        from iotops.sandbox import extensions

        extensions.install()
    except (BaseChangedError, ImportError) as error:
        _say(error)
        return 2
    with contextlib.closing(lock):
        asyncio.run(_serve(directory, gateway, parent))
        os._exit(0)  # the state is saved; the base's threads sleep for seconds before they would notice


def _say(line: object) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _lock(directory: Path) -> Any:
    """One server per directory, however it ends."""
    lock = (directory / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _prepare(directory: Path, port: int) -> None:
    """Directories, and the environment that the base reads when it is imported."""
    for name in ("state", "tmp"):
        if name == "tmp":
            shutil.rmtree(directory / name, ignore_errors=True)
        (directory / name).mkdir(mode=0o700, exist_ok=True)
    os.environ.update(
        GATEWAY_PORT=str(port),
        BIND_HOST="127.0.0.1",
        AUTH="true",
        PERSIST_STATE="1",
        STATE_DIR=str(directory / "state"),
        S3_PERSIST="1",
        S3_DATA_DIR=str(directory / "state" / "s3"),
        LAMBDA_EXECUTOR="local",
        IOT_MTLS_ENABLED="0",  # its listener would open on 0.0.0.0; ours are opened in _start
        SFTP_ENABLED="0",
        DOCKER_HOST=f"unix://{directory}/no-docker",
        LOG_LEVEL=os.environ.get("LOG_LEVEL", "WARNING"),
        AWS_EC2_METADATA_DISABLED="true",
        TMPDIR=str(directory / "tmp"),
    )


async def _serve(directory: Path, gateway: socket.socket, parent: int | None) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack import app as base

    from iotops.sandbox import persistence
    from iotops.sandbox.admin import Admin
    from iotops.sandbox.faults import Faults
    from iotops.sandbox.gateway import Gateway
    from iotops.sandbox.journal import Journal

    _raise_file_limit()
    faults = Faults()
    admin = Admin(faults)
    app = Gateway(_Lifespan(base.app), admin, faults, Journal(directory))
    config = Config()
    config.bind = [f"fd://{gateway.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = os.environ["LOG_LEVEL"]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [
        loop.create_task(_start(directory, gateway, admin)),
        loop.create_task(persistence.keep_saving()),
        loop.create_task(_end_with(parent, stop)),
    ]
    await serve(app, config, shutdown_trigger=stop.wait)
    for task in tasks:
        task.cancel()


async def _end_with(parent: int | None, stop: asyncio.Event) -> None:
    while parent is not None:
        await asyncio.sleep(1)
        if os.getppid() != parent:
            stop.set()
            return


class _Lifespan:
    """The base's application; knows when it has restored its state."""

    restored = asyncio.Event()

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def watched(message: dict[str, Any]) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self.restored.set()

        await self._inner(scope, receive, watched if scope["type"] == "lifespan" else send)


async def _start(directory: Path, gateway: socket.socket, admin: Any) -> None:
    """After the base has restored its state: open the listeners, then tell the world."""
    from iotops.sandbox import mqtt_listeners, mqtt_trust

    await _Lifespan.restored.wait()
    try:
        remembered = {r: at["mqtt"] for r, at in (endpoints.read(directory) or {}).get("regions", {}).items()}
        mqtt_trust.restore_anchors()
        listeners = await mqtt_listeners.listen(remembered)
        found: dict[str, Any] = {
            "gateway": "http://{}:{}".format(*gateway.getsockname()),
            "pid": os.getpid(),
            "account_id": os.environ.get("MINISTACK_ACCOUNT_ID", "000000000000"),
            "regions": {region: {"mqtt": address} for region, address in listeners.items()},
        }
        found["hosted_zone_id"] = await asyncio.to_thread(_hosted_zone, found["gateway"])
        admin.started.update(found)
        endpoints.write(directory, found)
    except Exception as error:
        _say(f"cannot start: {error!r}")
        os._exit(2)


def _hosted_zone(gateway: str) -> str:
    """The id of the public hosted zone of ``DOMAIN``, made at the first start."""
    from iotops.sandbox.clients import client

    route53 = client(gateway, "route53", "us-east-1")
    known = route53.list_hosted_zones_by_name(DNSName=DOMAIN)["HostedZones"]
    zones = [zone for zone in known if zone["Name"] == f"{DOMAIN}."]
    zone = zones[0] if zones else route53.create_hosted_zone(Name=DOMAIN, CallerReference="sandbox")["HostedZone"]
    route53.close()
    return str(zone["Id"]).rsplit("/", 1)[-1]


def _raise_file_limit() -> None:
    """As many connections as the system allows us."""
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
