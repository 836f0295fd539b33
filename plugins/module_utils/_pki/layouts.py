# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where keys and certificates of devices go, and how a run that was killed is finished there.

A batch is staged as a whole, then recorded in the ledger, then moved into place. A killed run leaves either nothing
recorded (the next run throws the staged files away) or a recorded batch (the next run moves it into place), so no
device is ever given two live certificates.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import Authority
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import read_certificate
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import (
    DIRECTORY,
    PUBLIC,
    make_directory,
    sync_file,
    sync_files,
    write_atomic,
    write_new,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry, serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.mint import Made, Staged
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import private_directories, private_files

_CERTIFICATE, _KEY = ".cert.pem", ".key.pem"


class Layout(ABC):
    """Where what is issued goes. A worker process stages; the process that holds the lock does all the rest."""

    # Renewed certificates take the place of those that are there.
    replaces = True
    keeps_manifest = False
    remedy = "to issue a new certificate all the same, set renew"

    def __init__(self, path: Path, authority: Authority, manifest: Path | None) -> None:
        self.path = path
        self.manifest = manifest
        self._authority = authority

    @classmethod
    @abstractmethod
    def places(cls, path: Path, name: str) -> dict[str, str]:
        """Return where a device's certificate and private key are (or would be)."""

    @abstractmethod
    def find(self, name: str, *, with_key: bool) -> x509.Certificate | None:
        """Return the certificate of a device that has all that it should have in its place."""

    @abstractmethod
    def has_key(self, name: str) -> bool:
        """Tell whether there is a private key of this device that a certificate for another key would replace."""

    @abstractmethod
    def repair(self, names: Iterable[str], *, check_mode: bool) -> list[str]:
        """Set right what is there, and the modes of these devices' files; return what was (or would be) changed."""

    def unfinished(self) -> Mapping[str, Entry]:
        """Return the recorded entries of those whose files a killed run has left to be moved into place, by name."""
        return {}

    def finish(self) -> list[str]:
        """Move into place what a killed run had recorded, throw away what it had not; return the names moved."""
        return []

    @abstractmethod
    def begin(self) -> None:
        """Get ready to stage."""

    @abstractmethod
    def stage(self, made: Sequence[Made]) -> Staged:
        """Make of a batch what is to be stored."""

    @abstractmethod
    def store(self, staged: Staged) -> None:
        """Wait until a batch is on the disk; the ledger is next."""

    @abstractmethod
    def publish(self, staged: Staged) -> None:
        """Move a recorded batch into place."""

    @abstractmethod
    def end(self) -> None:
        """Leave nothing behind that is not wanted."""


@dataclass(frozen=True)
class Pair:
    """A device's certificate and private key."""

    folder: Path
    name: str

    @property
    def certificate(self) -> Path:
        """The certificate."""
        return self.folder / f"{self.name}{_CERTIFICATE}"

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / f"{self.name}{_KEY}"


class Flat(Layout):
    """All files in one folder."""

    def __init__(self, path: Path, authority: Authority, manifest: Path | None) -> None:
        super().__init__(path, authority, manifest)
        # Where pairs of this authority wait until they are recorded.
        self._staging = path / f".staging-{serial_text(authority.certificate.serial_number)}"

    @staticmethod
    def _pair(folder: Path, name: str) -> Pair:
        return Pair(folder, name)

    def _folders(self, names: Iterable[str]) -> Iterator[Path]:  # noqa: ARG002  # one folder for all
        yield self.path

    @classmethod
    def places(cls, path: Path, name: str) -> dict[str, str]:
        """Return the paths."""
        pair = cls._pair(path, name)
        return {"certificate": str(pair.certificate), "private_key": str(pair.key)}

    def find(self, name: str, *, with_key: bool) -> x509.Certificate | None:
        """Return the certificate unless its key is missing."""
        pair = self._pair(self.path, name)
        certificate = read_certificate(pair.certificate)
        return certificate if not with_key or pair.key.exists() else None

    def has_key(self, name: str) -> bool:
        """Tell whether there is a key file."""
        return self._pair(self.path, name).key.exists()

    def repair(self, names: Iterable[str], *, check_mode: bool) -> list[str]:
        """Make the folder, set modes."""
        names = list(names)
        changes = private_directories(self._folders(names), check_mode=check_mode)
        return changes + private_files((self._pair(self.path, name).key for name in names), check_mode=check_mode)

    def begin(self) -> None:
        """Make the folder of those that wait."""
        make_directory(self._staging)

    def stage(self, made: Sequence[Made]) -> Staged:
        """Write the pairs."""
        for one in made:
            pair = self._pair(self._staging, one.device.name)
            if pair.folder != self._staging:
                pair.folder.mkdir(mode=DIRECTORY)
            if one.key:
                write_new(pair.key, (one.key,))
            write_new(pair.certificate, (one.pem.encode("ascii"),), mode=PUBLIC)
        return Staged.of(made)

    def store(self, staged: Staged) -> None:
        """Wait for all files and their folders."""
        pairs = (self._pair(self._staging, name) for name, _serial in staged.issued)
        paths = (path for pair in pairs for path in (pair.key, pair.certificate, pair.folder))
        sync_files(paths, 3 * len(staged.issued))

    def publish(self, staged: Staged) -> None:
        """Move the pairs into place."""
        for name, serial in staged.issued:
            self._publish(self._pair(self._staging, name), serial)
        sync_file(self.path)

    def _publish(self, staged: Pair, serial: str) -> None:
        # The certificate goes last, so that a killed run is seen to be unfinished.
        _link_or_copy(staged.certificate, self._authority.tree.issued(serial))
        self._move(staged, self._pair(self.path, staged.name))

    def _move(self, staged: Pair, target: Pair) -> None:
        with suppress(FileNotFoundError):  # moved already, or the device keeps it
            staged.key.replace(target.key)
        staged.certificate.replace(target.certificate)

    def end(self) -> None:
        """Remove the folder, which is empty."""
        self._staging.rmdir()

    def _waiting(self) -> list[Pair]:
        files = sorted(self._staging.iterdir()) if self._staging.exists() else []
        names = dict.fromkeys(file.name.removesuffix(_CERTIFICATE).removesuffix(_KEY) for file in files)
        return [self._pair(self._staging, name) for name in names]

    def unfinished(self) -> dict[str, Entry]:
        """Return the entries of those pairs that wait and are recorded, by name."""
        found: dict[str, Entry] = {}
        for pair in self._waiting():
            try:
                certificate = read_certificate(pair.certificate)
            except PkiError:  # half written, hence not recorded
                continue
            entry = self._authority.ledger.find(serial_text(certificate.serial_number)) if certificate else None
            if entry is not None:
                found[pair.name] = entry
        return found

    def finish(self) -> list[str]:
        """Empty the folder of those that wait."""
        if not self._staging.exists():
            return []
        recorded = self.unfinished()
        for pair in self._waiting():
            if pair.name in recorded:
                self._publish(pair, recorded[pair.name].serial)
            else:
                self._discard(pair)
        self._staging.rmdir()
        return list(recorded)

    def _discard(self, pair: Pair) -> None:
        pair.certificate.unlink(missing_ok=True)
        pair.key.unlink(missing_ok=True)


class Folders(Flat):
    """A folder for each device."""

    @staticmethod
    def _pair(folder: Path, name: str) -> Pair:
        return Pair(folder / name, name)

    def _folders(self, names: Iterable[str]) -> Iterator[Path]:
        yield self.path
        yield from (self.path / name for name in names)

    def _move(self, staged: Pair, target: Pair) -> None:
        try:
            staged.folder.rename(target.folder)
        except OSError:  # there are files already
            super()._move(staged, target)
            staged.folder.rmdir()

    def _discard(self, pair: Pair) -> None:
        shutil.rmtree(pair.folder)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return
    except OSError:  # another file system, or one without links
        write_atomic(target, source.read_bytes())


__all__ = ["Flat", "Folders", "Layout"]
