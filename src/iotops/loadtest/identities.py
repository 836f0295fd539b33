# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices' certificates and keys: those that there are, as the module x509_device_certificates lays them out.

Of a device there are ``<name>.cert.pem`` and ``<name>.key.pem``, all in one folder, each in a folder of its name, or in
a tar. A manifest has a line of JSON for each device. ``iotops.loadtest.making`` makes new ones.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from iotops.loadtest.errors import LoadTestError

CERTIFICATE, KEY = ".cert.pem", ".key.pem"
SECRET, PUBLIC, DIRECTORY = 0o600, 0o644, 0o700
_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
_MANIFESTS, _ARCHIVES = (".ndjson", ".jsonl"), (".tar", ".tgz", ".gz", ".xz")


@dataclass(frozen=True, slots=True)
class Identity:
    """A device. ``certificate`` (PEM, by choice its issuers after it) and ``key`` (PEM) are files."""

    name: str
    certificate: Path
    key: Path

    @classmethod
    def at(cls, directory: Path, name: str) -> Identity:
        """Return the device whose files are in a directory."""
        return cls(name, directory / f"{name}{CERTIFICATE}", directory / f"{name}{KEY}")

    def exists(self) -> bool:
        """Tell whether both files are there."""
        return self.certificate.exists() and self.key.exists()


def load(source: Path, *, keys: Path | None = None, unpacked: Path | None = None) -> list[Identity]:
    """Return the devices in a folder, a tar or a manifest, ordered by name.

    ``keys``: the folder of the keys of a manifest, that of the manifest unless given. ``unpacked``: where files go that
    come out of a tar or a manifest, the source's name with ``.devices`` unless given; they are for the owner alone.

    Raises:
        LoadTestError: there is none, or one without its key.

    """
    unpacked = unpacked or source.with_name(f"{source.name}.devices")
    try:
        if source.is_dir():
            found = from_folder(source)
        elif source.suffix in _MANIFESTS:
            found = from_manifest(source, keys or source.parent, unpacked)
        elif source.suffix in _ARCHIVES:
            found = from_archive(source, unpacked)
        else:
            raise LoadTestError(f"devices {source}: no folder, tar or manifest (.ndjson): give one of these")
    except OSError as error:
        raise LoadTestError(f"devices {error.filename or source}: {error.strerror or error}: put it there") from error
    if not found:
        raise LoadTestError(f"devices {source}: there are none: NAME{CERTIFICATE} and NAME{KEY} are looked for")
    return sorted(found, key=lambda identity: identity.name)


def from_folder(folder: Path) -> list[Identity]:
    """Return the devices whose pairs are in a folder, or in folders of their names in it."""
    found = []
    for entry in os.scandir(folder):
        name = entry.name.removesuffix(KEY)
        identity = Identity.at(folder, name)
        if name == entry.name:
            identity = Identity.at(folder / name, name)
            if not entry.is_dir() or not identity.key.exists():
                continue
        if identity.certificate.exists():
            found.append(identity)
    return found


def from_manifest(manifest: Path, keys: Path, unpacked: Path) -> list[Identity]:
    """Return the devices of a manifest; certificates that are not beside their keys come from it."""
    found = []
    with manifest.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            name, pem = _entry(line, f"{manifest}, line {number}")
            identity = Identity.at(keys / name if (keys / name).is_dir() else keys, name)
            if not identity.key.exists():
                raise LoadTestError(f"devices {manifest}: {identity.key} is missing: give the folder of the keys")
            if not identity.certificate.exists():
                identity = Identity(name, unpacked / f"{name}{CERTIFICATE}", identity.key)
                write(identity.certificate, pem.encode(), mode=PUBLIC)
            found.append(identity)
    return found


def _entry(line: bytes, where: str) -> tuple[str, str]:
    try:
        entry = json.loads(line)
        name, pem = entry["ThingName"], entry["CertificatePem"]
    except (ValueError, KeyError, TypeError) as error:
        raise LoadTestError(f"devices {where}: no JSON object with ThingName and CertificatePem: restore it") from error
    if not isinstance(pem, str) or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise LoadTestError(f"devices {where}: {name!r} is no name of a thing: correct it")
    return name, pem


def from_archive(archive: Path, unpacked: Path) -> list[Identity]:
    """Return the devices whose pairs are in a tar, in whatever folders."""
    try:
        with tarfile.open(archive) as tar:
            names = {name for name in _unpack(tar, unpacked) if Identity.at(unpacked, name).exists()}
    except tarfile.TarError as error:
        raise LoadTestError(f"devices {archive}: it is no tar: restore it") from error
    return [Identity.at(unpacked, name) for name in names]


def _unpack(tar: tarfile.TarFile, directory: Path) -> Iterator[str]:
    for member in tar:
        base = member.name.rpartition("/")[2]
        name = base.removesuffix(KEY).removesuffix(CERTIFICATE)
        content: IO[bytes] | None = tar.extractfile(member) if member.isfile() else None
        if content is not None and name != base and _NAME.fullmatch(name):
            write(directory / base, content.read(), mode=SECRET)
            yield name


def write(path: Path, content: bytes, *, mode: int) -> None:
    """Make a file hold this, whole or not at all; nothing is written when it does already."""
    if path.exists() and path.read_bytes() == content:
        path.chmod(mode)
        return
    path.parent.mkdir(mode=DIRECTORY, parents=True, exist_ok=True)
    # Processes that share a source may do this at the same time.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)


def numbered(prefix: str, count: int, first: int = 1) -> list[str]:
    """Return names like ``prefix000001``, all of one length.

    Raises:
        LoadTestError: AWS IoT would not take them.

    """
    width = max(6, len(str(first + count - 1)))
    names = [f"{prefix}{number:0{width}d}" for number in range(first, first + count)]
    require_names(names[:1])
    return names


def require_names(names: Iterable[str], longest: int = 128) -> None:
    """Raise LoadTestError when one is no name of a thing, or longer than this."""
    for name in names:
        if not _NAME.fullmatch(name) or len(name) > longest:
            raise LoadTestError(f"device {name!r}: choose 1 to {longest} letters, digits, ':', '_' and '-'")


__all__ = ["Identity", "from_archive", "from_folder", "from_manifest", "load", "numbered"]
