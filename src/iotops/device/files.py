# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole or absent, and on the disk when a call returns: a device may lose its power at any moment."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iotops.device.errors import DeviceError

PRIVATE, PUBLIC = 0o600, 0o644


class InUse(DeviceError):
    """Another process holds the directory."""


def write(path: Path, data: bytes, *, mode: int = PUBLIC) -> None:
    """Make ``path`` hold ``data``: whoever reads it sees the old content or the new.

    Raises:
        OSError: it cannot; ``filename`` is ``path``, and nothing of ``data`` is left.

    """
    temporary = path.with_name(f".{path.name}.unfinished")
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        error.filename = str(path)
        raise
    _sync(path.parent)


def move(source: Path, target: Path) -> None:
    """Put ``source`` in the place of ``target``."""
    source.replace(target)
    _sync(target.parent)
    _sync(source.parent)


def make_directory(path: Path) -> None:
    """Make ``path``, for its owner alone."""
    path.mkdir(mode=0o700, exist_ok=True)
    _sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file, or a directory with all that is in it; harmless when it is not there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory; the kernel lets it go when the process ends, however it ends.

    Raises:
        InUse: another process holds it.
        DeviceError: it cannot be written to.

    """
    try:
        descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, PRIVATE)
    except OSError as error:
        raise DeviceError(f"--directory {directory}: {error.strerror}: it has to be there, and writable") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise InUse(f"--directory {directory}: another process is this device already: end it first") from error
    finally:
        os.close(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
