# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection: a zip file whose bytes follow from its input alone."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

__all__ = ["Package", "read_source"]

# Raise it when equal input shall give other bytes than before.
LAYOUT = b"1"
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
UNZIPPED_LIMIT = 250 * 1024 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DATA = re.compile(r"[^/]+\.data/(?P<scheme>[^/]+)/(?P<name>.+)")


def read_source(src: Path) -> dict[str, bytes]:
    """The files of a function by their name in the package; ``requirements.txt`` is among them.

    Raises:
        FleetError: no such folder, or nothing in it.

    """
    if not src.is_dir():
        raise FleetError(f"src {src} is not a folder")
    files = {
        path.relative_to(src).as_posix(): path.read_bytes()
        for path in src.rglob("*")
        if path.is_file() and not _unwanted(path.relative_to(src))
    }
    if not files:
        raise FleetError(f"src {src} has no files")
    return files


def _unwanted(path: Path) -> bool:
    return path.suffix == ".pyc" or any(part.startswith(".") or part == "__pycache__" for part in path.parts)


class Package:
    """A package with its input: files by name, the requirements, and what the wheels are fetched for."""

    def __init__(self, *, files: Mapping[str, bytes], requirements: bytes, target: str) -> None:
        self._files = files
        self._requirements = requirements
        digest = hashlib.sha256(LAYOUT)
        for part in (target.encode(), requirements, *(item for pair in sorted(files.items()) for item in pair)):
            content = part.encode() if isinstance(part, str) else part
            digest.update(len(content).to_bytes(8, "big") + content)
        self._digest = digest.hexdigest().encode()

    def is_built(self, dest: Path) -> bool:
        """Whether ``dest`` was made from this input: a package carries the digest of its input as its comment."""
        try:
            with zipfile.ZipFile(dest) as archive:
                return archive.comment == self._digest
        except (OSError, zipfile.BadZipFile):
            return False

    def build(self, dest: Path, fetch: Callable[[bytes], Sequence[Path]]) -> None:
        """Write ``dest``; ``fetch`` gives the wheels of the requirements.

        Raises:
            FleetError: the package is larger than Lambda takes, or ``dest`` cannot be written.

        """
        entries = _wheel_entries(fetch(self._requirements)) if self._requirements.strip() else {}
        entries.update(self._files)
        size = sum(map(len, entries.values()))
        if size > UNZIPPED_LIMIT:
            raise FleetError(f"{dest.name} would have {size} bytes; Lambda takes {UNZIPPED_LIMIT}")
        try:
            dest.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=dest.parent, prefix=f".{dest.name}.", delete=False) as work:
                self._write(Path(work.name), entries)
            os.chmod(work.name, 0o644)  # noqa: PTH101
            os.replace(work.name, dest)  # noqa: PTH105
        except OSError as error:
            raise FleetError(f"Cannot write package {dest}: {error.strerror}") from error

    def _write(self, path: Path, entries: Mapping[str, bytes]) -> None:
        """Stored, not deflated: versions of zlib differ in the bytes they produce."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.comment = self._digest
            for name, content in sorted(entries.items()):
                entry = zipfile.ZipInfo(name, date_time=_EPOCH)
                entry.create_system = 3
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, content)


def _wheel_entries(wheels: Iterable[Path]) -> dict[str, bytes]:
    entries: dict[str, bytes] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for item in archive.infolist():
                name = _installed_name(item.filename)
                if name and not item.is_dir():
                    entries[name] = archive.read(item)
    return entries


def _installed_name(name: str) -> str | None:
    """Where pip would put a file of a wheel below site-packages; None for what a function does not need."""
    data = _DATA.fullmatch(name)
    if data:
        name = data["name"] if data["scheme"] in ("purelib", "platlib") else ""
    parts = name.split("/")
    unneeded = "tests" in parts or name.endswith((".pyc", ".dist-info/RECORD"))
    return None if unneeded else name or None
