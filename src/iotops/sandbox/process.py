# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop the server process, and see whether it runs."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from iotops.sandbox import endpoints, journal
from iotops.sandbox.addresses import bind
from iotops.sandbox.errors import SandboxError

LOG = "log"
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "LOG_LEVEL")
# A state of 100,000 devices is read in half a minute and written in a quarter of one, on a machine that is not busy.
_START_SECONDS, _STOP_SECONDS = 600.0, 300.0
_LONGEST_CALL, _LONGEST_SEEDING = 120.0, 3600.0


def running(directory: Path) -> dict[str, Any] | None:
    """The endpoints of the sandbox that runs in ``directory``, or None."""
    found = endpoints.read(directory)
    if not found or not _alive(found["pid"]):
        return None
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        if request(found["gateway"], "GET", "status")["pid"] == found["pid"]:
            return found
    return None


def start(directory: Path, port: int, *, tied: bool = False) -> dict[str, Any]:
    """Start the server and wait until it answers; its endpoints. A sandbox that runs already is left alone.

    A ``tied`` one ends with this process, however this process ends.

    Raises:
        SandboxError: the base is not installed, the port is taken, or the server says why it cannot start.

    """
    if found := running(directory):
        return found
    if importlib.util.find_spec("ministack") is None:
        raise SandboxError("the sandbox's base is not installed: pip install 'iotops[sandbox]'")
    _require_free(port)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SandboxError(f"cannot use {directory}: {error.strerror}; choose another with --dir") from None
    return _wait_for_start(directory, _spawn(directory, port, tied))


def stop(directory: Path) -> bool:
    """Stop the server, saving its state; whether one ran. Returns when process and port are gone."""
    found = endpoints.read(directory)
    if not found or not _alive(found["pid"]) or not _ours(found["pid"], directory):
        return False
    end(found["pid"], signal.SIGTERM)
    return True


def end(pid: int, number: signal.Signals) -> None:
    """Send the signal and wait until the process is gone; SIGKILL after five minutes."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    deadline = time.monotonic() + _STOP_SECONDS
    while _alive(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline += _STOP_SECONDS
        time.sleep(0.02)


def wipe(directory: Path) -> None:
    """Forget everything the sandbox wrote; what others keep in the directory (the PKI) stays."""
    for name in ("state", "tmp"):
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in (endpoints.NAME, LOG, "lock", journal.NAME, journal.PREVIOUS):
        (directory / name).unlink(missing_ok=True)


def request(gateway: str, method: str, path: str, body: Any = None) -> Any:
    """One call of the admin API.

    Raises:
        SandboxError: it refuses, or nothing answers.

    """
    timeout = _LONGEST_SEEDING if path == "seed" else _LONGEST_CALL
    connection = http.client.HTTPConnection(urlsplit(gateway).netloc, timeout=timeout)
    try:
        connection.request(method, f"/_sandbox/{path}", json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        content = json.loads(answer.read())
    except ConnectionError as error:
        raise SandboxError(f"no sandbox answers at {gateway}: iotops sandbox up") from error
    finally:
        connection.close()
    if answer.status >= 400:
        raise SandboxError(content["error"])
    return content


def _require_free(port: int) -> None:
    try:
        bind("127.0.0.1", port).close()
    except (OSError, OverflowError):
        raise SandboxError(
            f"port {port} of 127.0.0.1 cannot be used: stop what listens there, or choose another with --port "
            "or IOTOPS_SANDBOX_PORT"
        ) from None


def _spawn(directory: Path, port: int, tied: bool) -> subprocess.Popen[bytes]:
    """The server in a session of its own, without our environment (Lambda functions would inherit it)."""
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    parent = [str(os.getpid())] if tied else []
    environment |= {
        "HOME": str(directory),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    with os.fdopen(os.open(directory / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "iotops.sandbox.server", str(directory), str(port), *parent],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )


def _wait_for_start(directory: Path, child: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        found = endpoints.read(directory)
        if found and found["pid"] == child.pid:
            return found
        if child.poll() is not None:
            lines = (directory / LOG).read_text(errors="replace").splitlines() or ["no output"]
            raise SandboxError(f"the sandbox did not start: {lines[-1]} (all of it: {directory / LOG})")
        time.sleep(0.02)
    child.kill()
    raise SandboxError(f"the sandbox did not start within {_START_SECONDS:.0f} s; see {directory / LOG}")


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _ours(pid: int, directory: Path) -> bool:
    """Whether the process is this directory's server and not one that got its number since."""
    command = Path(f"/proc/{pid}/cmdline")
    return not command.exists() or str(directory).encode() in command.read_bytes()
