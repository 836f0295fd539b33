# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where keys and certificates of devices go, and how a run that was killed is finished there.

A batch is staged as a whole, then recorded in the ledger, then moved into place. A killed run leaves either nothing
recorded (the next run throws the staged files away) or a recorded batch (the next run moves it into place), so no
device is ever given two live certificates.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import Authority
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import read_certificate
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import (
    DIRECTORY,
    PUBLIC,
    make_directory,
    sync_files,
    write_at,
    write_atomic,
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


class Flat(Layout):
    """All files in one folder."""

    def __init__(self, path: Path, authority: Authority, manifest: Path | None) -> None:
        super().__init__(path, authority, manifest)
        # Where pairs of this authority wait until they are recorded.
        self._staging = path / f".staging-{serial_text(authority.certificate.serial_number)}"
        # Of that, of `path` and of newcerts while they are in use.
        self._waiting = self._target = self._copies = -1

    @staticmethod
    def _base(name: str) -> str:
        """The part of the names that the files of a device have in common."""
        return name

    @classmethod
    def places(cls, path: Path, name: str) -> dict[str, str]:
        """Return the paths."""
        base = path / cls._base(name)
        return {"certificate": f"{base}{_CERTIFICATE}", "private_key": f"{base}{_KEY}"}

    def _key(self, name: str) -> Path:
        return Path(f"{self.path}/{self._base(name)}{_KEY}")

    def find(self, name: str, *, with_key: bool) -> x509.Certificate | None:
        """Return the certificate unless its key is missing."""
        certificate = read_certificate(Path(f"{self.path}/{self._base(name)}{_CERTIFICATE}"))
        if certificate is not None and with_key and not self._key(name).exists():
            return None
        return certificate

    def has_key(self, name: str) -> bool:
        """Tell whether there is a key file."""
        return self._key(name).exists()

    def repair(self, names: Iterable[str], *, check_mode: bool) -> list[str]:
        """Make the folder, set modes."""
        changes = private_directories([self.path], check_mode=check_mode)
        for name in names:
            changes += self._repair(name, check_mode=check_mode)
        return changes

    def _repair(self, name: str, *, check_mode: bool) -> list[str]:
        return private_files([self._key(name)], check_mode=check_mode)

    def begin(self) -> None:
        """Make the folder of those that wait."""
        make_directory(self._staging)
        self._waiting, self._target, self._copies = (
            os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            for path in (self._staging, self.path, self._authority.tree.copies)
        )

    def stage(self, made: Sequence[Made]) -> Staged:
        """Write the pairs."""
        for one in made:
            base = self._make_place(one.device.name)
            if one.key:
                write_at(self._waiting, f"{base}{_KEY}", one.key)
            write_at(self._waiting, f"{base}{_CERTIFICATE}", one.pem.encode("ascii"), mode=PUBLIC)
        return Staged.of(made)

    def _make_place(self, name: str) -> str:
        return self._base(name)

    def store(self, staged: Staged) -> None:
        """Wait for all files and their folders."""
        bases = (self._staging / self._base(name) for name, _serial in staged.issued)
        paths = (path for base in bases for path in (Path(f"{base}{_KEY}"), Path(f"{base}{_CERTIFICATE}"), base.parent))
        sync_files(paths, 3 * len(staged.issued))

    def publish(self, staged: Staged) -> None:
        """Move the pairs into place; a loss of power may undo that, and the next run does it again."""
        for name, serial in staged.issued:
            self._publish(name, serial)

    def _publish(self, name: str, serial: str) -> None:
        certificate, copy = f"{self._base(name)}{_CERTIFICATE}", f"{serial}.pem"
        try:
            os.link(certificate, copy, src_dir_fd=self._waiting, dst_dir_fd=self._copies)
        except FileExistsError:
            pass
        except OSError:  # another file system, or one without links
            write_atomic(self._authority.tree.issued(serial), (self._staging / certificate).read_bytes())
        self._move(name)

    def _move(self, name: str) -> None:
        # The certificate goes last, so that a killed run is seen to be unfinished.
        with suppress(FileNotFoundError):  # moved already, or the device keeps it
            self._move_file(f"{self._base(name)}{_KEY}")
        self._move_file(f"{self._base(name)}{_CERTIFICATE}")

    def _move_file(self, name: str) -> None:
        os.replace(name, name, src_dir_fd=self._waiting, dst_dir_fd=self._target)

    def end(self) -> None:
        """Remove the folder, which is empty, when all is on the disk in its place."""
        for descriptor in (self._copies, self._target):
            os.fsync(descriptor)
        for descriptor in (self._copies, self._target, self._waiting):
            os.close(descriptor)
        self._staging.rmdir()

    def _left(self) -> list[str]:
        """The names of those that wait."""
        files = sorted(self._staging.iterdir()) if self._staging.exists() else []
        return list(dict.fromkeys(file.name.removesuffix(_CERTIFICATE).removesuffix(_KEY) for file in files))

    def unfinished(self) -> dict[str, Entry]:
        """Return the entries of those pairs that wait and are recorded, by name."""
        found: dict[str, Entry] = {}
        for name in self._left():
            try:
                certificate = read_certificate(self._staging / f"{self._base(name)}{_CERTIFICATE}")
            except PkiError:  # half written, hence not recorded
                continue
            entry = self._authority.ledger.find(serial_text(certificate.serial_number)) if certificate else None
            if entry is not None:
                found[name] = entry
        return found

    def finish(self) -> list[str]:
        """Empty the folder of those that wait."""
        if not self._staging.exists():
            return []
        self.begin()
        recorded = self.unfinished()
        for name in self._left():
            if name in recorded:
                self._publish(name, recorded[name].serial)
            else:
                self._discard(name)
        self.end()
        return list(recorded)

    def _discard(self, name: str) -> None:
        for suffix in (_CERTIFICATE, _KEY):
            (self._staging / f"{name}{suffix}").unlink(missing_ok=True)


class Folders(Flat):
    """A folder for each device."""

    @staticmethod
    def _base(name: str) -> str:
        return f"{name}/{name}"

    def _repair(self, name: str, *, check_mode: bool) -> list[str]:
        folder = private_directories([self.path / name], check_mode=check_mode)
        return folder + super()._repair(name, check_mode=check_mode)

    def _make_place(self, name: str) -> str:
        os.mkdir(name, DIRECTORY, dir_fd=self._waiting)
        return self._base(name)

    def _move(self, name: str) -> None:
        try:
            os.rename(name, name, src_dir_fd=self._waiting, dst_dir_fd=self._target)
        except OSError:  # there are files already
            super()._move(name)
            os.rmdir(name, dir_fd=self._waiting)

    def _discard(self, name: str) -> None:
        shutil.rmtree(self._staging / name)


__all__ = ["Flat", "Folders", "Layout"]
