# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole or absent, whenever the process ends."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError

SECRET = 0o600
PUBLIC = 0o644
DIRECTORY = 0o700

# Above so many files one sync of the file systems costs less than a sync of each file.
_SYNC_EACH = 16


def write_new(path: Path, data: Iterable[bytes], *, mode: int = SECRET) -> None:
    """Write `data` to `path`, replacing it in place and without syncing: for files that nobody reads yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(data)


def write_at(directory: int, name: str, data: bytes, *, mode: int = SECRET) -> None:
    """As write_new, of a name in a directory that is open: several times faster than with whole paths."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode, dir_fd=directory)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, *, mode: int = PUBLIC) -> None:
    """Make `path` hold `data` durably: readers see the old content or the new, never a part.

    A directory has one temporary name, and one writer at a time: the next write there uses up what a killed run left.
    """
    write_lines(path, (data,), mode=mode)


def write_lines(path: Path, lines: Iterable[bytes], *, mode: int = PUBLIC) -> None:
    """As write_atomic, of what need not all be in memory."""
    temporary = path.with_name(".unfinished")
    write_new(temporary, lines)
    temporary.chmod(mode)
    sync_file(temporary)
    temporary.replace(path)
    sync_file(path.parent)


def count_lines(path: Path) -> int:
    """Return how many lines have an end, 0 when there is no such file."""
    try:
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 16), b""))
    except FileNotFoundError:
        return 0


def sync_file(path: Path) -> None:
    """Wait until the file or directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(paths: Iterable[Path], count: int) -> None:
    """Wait until those of these (at most `count`) files that exist are on the disk."""
    if count > _SYNC_EACH:
        os.sync()
        return
    for path in paths:
        if path.exists():
            sync_file(path)


def make_directory(path: Path) -> None:
    """Make `path` with mode 0700, and its parents as the umask has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=DIRECTORY, exist_ok=True)


@contextmanager
def locked(directory: Path, *, timeout: float = 300) -> Iterator[None]:
    """Hold the lock of `directory` (its file ``.lock``); raise PkiError when another run holds it for too long.

    `timeout` is in seconds. The kernel drops the lock when the last process of a run ends, however it ends.
    `openssl ca` knows no lock.
    """
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, SECRET)
    try:
        _acquire(descriptor, directory, time.monotonic() + timeout)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, directory: Path, deadline: float) -> None:
    pause = 0.01
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise PkiError(f"another run holds {directory / '.lock'}: wait for its end, or end it") from error
        time.sleep(pause)
        pause = min(pause * 2, 1)


__all__ = [
    "DIRECTORY", "PUBLIC", "SECRET", "count_lines", "locked", "make_directory", "sync_file", "sync_files", "write_at",
    "write_atomic", "write_lines", "write_new",
]  # fmt: skip
