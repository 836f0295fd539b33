# SPDX-License-Identifier: GPL-3.0-or-later
"""State on disk that survives a stop, a start and a SIGKILL.

A snapshot is one directory with one file per service, written whole and then put in place of the last one by swapping
the symbolic link ``state/current``; a kill at any moment leaves either the old or the new one. Snapshots are written by
a forked child, which sees one consistent moment and does not hold up the server however large the state is.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ministack import app as base
from ministack.core import persistence as base_persistence
from ministack.services import lambda_svc

from iotops.sandbox.patching import replace

# What a call starts in the background (an execution, a stack) ends later, so a change is followed by later snapshots.
SNAPSHOT_AFTER = (1.0, 3.0, 10.0, 30.0)  # seconds after the last change
LONGEST_STANDSTILL = 120.0  # seconds in which the child that writes a snapshot does nothing

_saving = threading.Lock()
_changed_at = 0.0
_wake: asyncio.Event | None = None


def touch() -> None:
    """Something may have changed: a snapshot follows within about a second."""
    global _changed_at
    _changed_at = time.monotonic()
    if _wake is not None:
        _wake.set()


def state_directory() -> Path:
    """Where this process keeps its state (``<dir>/state``)."""
    return Path(os.environ["STATE_DIR"])


async def keep_saving() -> None:
    """Write snapshots after changes until cancelled."""
    global _wake
    _wake = asyncio.Event()
    while True:
        await _wake.wait()
        _wake.clear()
        changed_at = _changed_at
        for delay in SNAPSHOT_AFTER:
            await asyncio.sleep(max(0.0, changed_at + delay - time.monotonic()))
            started = time.monotonic()
            await asyncio.to_thread(save_now)
            # A large state under steady traffic is saved more rarely, and takes a third of one processor at most.
            await asyncio.sleep(2 * (time.monotonic() - started))
            if _wake.is_set():
                break


def save_now() -> None:
    """Write a snapshot and wait for it; one at a time."""
    parent = os.getpid()
    with _saving:
        pid = os.fork()
        if pid == 0:
            _child(parent)
        _wait(pid)


def _wait(pid: int) -> None:
    """Wait for the child; one that took a held lock with it in the fork never ends and is given up."""
    spent, deadline = "", time.monotonic() + LONGEST_STANDSTILL
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if (now := _processor_time(pid)) != spent:
            spent, deadline = now, time.monotonic() + LONGEST_STANDSTILL
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.02)


def _processor_time(pid: int) -> str:
    """What the process used of the processor so far, as the system counts it."""
    with contextlib.suppress(OSError):
        return " ".join(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])
    return ""


def _child(parent: int) -> None:
    """Write a snapshot and leave without running anything of the parent's."""
    status = 1
    try:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        copy.deepcopy = _same  # type: ignore[assignment]
        _write_snapshot(still_wanted=lambda: os.getppid() == parent)
        status = 0
    except BaseException as error:
        sys.stderr.write(f"sandbox: snapshot failed: {error!r}\n")
    finally:
        os._exit(status)


def _same(value: Any, _memo: Any = None) -> Any:
    """What ``copy.deepcopy`` is in the child: the fork is the copy, and another would take most of the time."""
    return value


def _write_snapshot(still_wanted: Callable[[], bool]) -> None:
    """Write the state of every loaded service and make it the current one, if ``still_wanted`` says so at the end."""
    state = state_directory()
    target = state / f"snapshot-{time.time_ns()}"
    target.mkdir(mode=0o700)
    for name, get_state in base._build_persistence_save_dict().items():
        _write_service(target / f"{name}.json", name, get_state)
    for kept in (state / "current").glob("*.json"):
        if not (target / kept.name).exists():  # a service that could not be saved keeps what it had
            shutil.copy2(kept, target)
    if not still_wanted():
        shutil.rmtree(target)
        return
    link = state / "next"
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
    link.replace(state / "current")
    for old in state.glob("snapshot-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def _write_service(path: Path, name: str, get_state: Callable[[], Any]) -> None:
    """One service in the base's format; in one piece, which is ten times as fast as the base's own streaming."""
    try:
        content = get_state()
        if content is not None:
            wrapped = {"__ministack_format__": base_persistence._state_format_version(name), "payload": content}
            path.write_text(json.dumps(wrapped, default=base_persistence._json_default), encoding="utf-8")
    except Exception as error:
        path.unlink(missing_ok=True)
        sys.stderr.write(f"sandbox: the state of {name} was not saved: {error!r}\n")


def _save(_original: Any) -> Any:
    def save_all(_services: dict[str, Any]) -> None:
        """The base saves when it shuts down."""
        save_now()

    return save_all


def _load(original: Any) -> Any:
    def load_persisted_state() -> None:
        state = state_directory()
        for unfinished in state.glob("snapshot-*"):
            if unfinished != (state / "current").resolve():
                shutil.rmtree(unfinished, ignore_errors=True)
        base_persistence.STATE_DIR = str(state / "current")
        original()

    return load_persisted_state


def _fed(original: Any) -> Any:
    async def feed_session(session: Any, data: bytes, max_buffer: int) -> bool:
        touch()
        return bool(await original(session, data, max_buffer))

    return feed_session


def install() -> None:
    """Load from and save to snapshots instead of the base's one directory."""
    from ministack.services import iot

    lambda_svc.CODE_BLOB_DIR = str(state_directory() / "lambda-blobs")
    replace(base, "save_all", "services", _save)
    replace(base, "_load_persisted_state", "", _load)
    replace(iot, "_feed_session", "session, data, max_buffer", _fed)
