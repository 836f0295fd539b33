# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One tar for a production line, with a manifest beside it.

A batch is added to the archive, then to the manifest, then to the ledger; what the ledger does not have was never
issued, and the next run cuts it off both. So the end of the archive is behind the files of the last device in the
manifest that is in the ledger. A device's certificate is its last file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import Authority
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import PUBLIC, SECRET, count_lines, sync_file
from ansible_collections.iotops.fleet.plugins.module_utils._pki.index import Index
from ansible_collections.iotops.fleet.plugins.module_utils._pki.layouts import Layout
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.manifest import Manifest
from ansible_collections.iotops.fleet.plugins.module_utils._pki.mint import BATCH, Made, Staged
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import private_files

_BLOCK = 512
_END = bytes(2 * _BLOCK)


def member(name: str, content: bytes, modified: int) -> bytes:
    """Return a file of a tar (POSIX.1-1988, ustar), mode 0600; `modified` in seconds of the epoch."""
    fields = (
        name.encode("ascii").ljust(100, b"\0"),
        b"0000600\0" + 2 * b"0000000\0",  # mode, user, group
        b"%011o\0%011o\0" % (len(content), modified),
        b"        ",  # stands for the checksum while that is made
        b"0" + bytes(100) + b"ustar\x0000" + bytes(247),
    )
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:] + content + bytes(-len(content) % _BLOCK)


def _end_of(file: BinaryIO, name: str) -> int:
    """Return where in a tar the last file of this name ends."""
    position = file.seek(0, os.SEEK_END) // _BLOCK * _BLOCK
    while position:
        position -= _BLOCK
        file.seek(position)
        header = file.read(_BLOCK)
        if header[257:262] == b"ustar" and header[:100].rstrip(b"\0") == name.encode("ascii"):
            return position + _BLOCK + -(-int(header[124:135], 8) // _BLOCK) * _BLOCK
    raise PkiError(f"{file.name} does not hold {name}, its manifest does: restore the two from one copy")


class Archive(Layout):
    """A tar, mode 0600, and its manifest. Nothing in it is replaced: it may have been handed over."""

    replaces = False
    keeps_manifest = True
    remedy = "to issue a new certificate all the same, set renew and choose another archive"

    def __init__(self, path: Path, authority: Authority, manifest: Path | None) -> None:
        super().__init__(path, authority, manifest)
        self._manifest = manifest or self.manifest_of(path)
        self._lines_of = Manifest(authority.certificate)
        self._open: tuple[BinaryIO, ...] = ()
        self._stored: dict[str, int] = {}

    @staticmethod
    def manifest_of(path: Path) -> Path:
        """Return where the manifest of an archive is unless another place is chosen."""
        return path.with_suffix(".ndjson")

    @classmethod
    def places(cls, path: Path, name: str) -> dict[str, str]:
        """Return the names of the files in the archive, and its own."""
        return {"archive": str(path), "certificate": f"{name}.cert.pem", "private_key": f"{name}.key.pem"}

    @cached_property
    def _known(self) -> tuple[Index, int, str]:
        """Where lines of the manifest begin, the length of what is recorded, and the last name in it."""
        index = Index(count_lines(self._manifest))
        end, last, unrecorded = 0, "", 0
        for place, following, line in self._lines():
            index.add(line["ThingName"].encode(), place)
            if self._recorded(line):
                end, last, unrecorded = following, line["ThingName"], 0
            else:
                unrecorded += 1
        if unrecorded > max(BATCH.values()):
            raise PkiError(
                f"{self._manifest} has {unrecorded} certificates at its end that are not in the CA's index.txt: "
                f"restore that, or choose another archive"
            )
        return index, end, last

    def _lines(self) -> Iterator[tuple[int, int, dict[str, Any]]]:
        if not self._manifest.exists():
            if self.path.exists() and self.path.stat().st_size:
                raise PkiError(f"{self.path} has no manifest {self._manifest}: restore it, or choose another archive")
            return
        with self._manifest.open("rb") as file:
            place = 0
            for text in file:
                try:
                    line = json.loads(text) if text.endswith(b"\n") else None
                except ValueError:
                    line = None
                if line is None:  # torn: nothing comes after it, or the manifest is damaged
                    if len(file.read()) > 0:
                        raise PkiError(f"{self._manifest} is damaged at octet {place}: restore it from a copy")
                    return
                yield place, place + len(text), line
                place += len(text)

    def _recorded(self, line: dict[str, Any]) -> bool:
        if line["IssuerFingerprint"] != self._lines_of.issuer_fingerprint:
            raise PkiError(f"{self._manifest} has certificates of another CA: choose another archive")
        return self._authority.ledger.find(serial_text(int(line["Serial"], 16))) is not None

    def find(self, name: str, *, with_key: bool) -> x509.Certificate | None:  # noqa: ARG002
        """Return the certificate in the manifest, if it was there at first or came with the last batch."""
        index, end, _last = self._known
        places = [place for place in index.places(name.encode()) if place < end]
        if name in self._stored:
            places.append(self._stored[name])
        if not places:
            return None
        if not self.path.exists():
            raise PkiError(f"{self._manifest} has no archive {self.path}: restore it, or choose another archive")
        with self._manifest.open("rb") as file:
            for place in reversed(places):
                file.seek(place)
                line = json.loads(file.readline())
                if line["ThingName"] == name:
                    return x509.load_pem_x509_certificate(line["CertificatePem"].encode("ascii"))
        return None

    def has_key(self, name: str) -> bool:  # noqa: ARG002
        """Return False: nothing in an archive is replaced."""
        return False

    def repair(self, names: Iterable[str], *, check_mode: bool) -> list[str]:  # noqa: ARG002
        """Finish an archive that a killed run left, set its mode."""
        changes = private_files([self.path], check_mode=check_mode)
        if not self.path.exists() or self._is_complete():
            return changes
        if not check_mode:
            self._cut()
            self.end()
        return [*changes, f"{self.path}: finished"]

    def _is_complete(self) -> bool:
        _index, length, last = self._known
        if not self._manifest.exists() or self._manifest.stat().st_size != length:
            return False
        with self.path.open("rb") as file:
            end = _end_of(file, f"{last}.cert.pem") if last else 0
            file.seek(end)
            return file.read() == _END

    def _cut(self) -> None:
        """Open archive and manifest where what is recorded ends."""
        _index, length, last = self._known
        archive, manifest = (
            os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, mode), "rb+")
            for path, mode in ((self.path, SECRET), (self._manifest, PUBLIC))
        )
        self._open = (archive, manifest)
        archive.truncate(_end_of(archive, f"{last}.cert.pem") if last else 0)
        manifest.truncate(length)
        for file in self._open:
            file.seek(0, os.SEEK_END)

    def begin(self) -> None:
        """Open both to add to them."""
        for path in (self.path, self._manifest):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._cut()
        for folder in {self.path.parent, self._manifest.parent}:
            sync_file(folder)

    def stage(self, made: Sequence[Made]) -> Staged:
        """Return the files and the lines."""
        modified = int(time.time())
        return Staged.of(
            made,
            members=b"".join(block for one in made for block in _members(one, modified)),
            lines=b"".join(self._lines_of.line(one.device, one.entry, one.certificate, one.pem) for one in made),
        )

    def publish(self, staged: Staged) -> None:
        """Do nothing: it is in its place."""

    def store(self, staged: Staged) -> None:
        """Add them to the archive, then to the manifest."""
        lengths = map(len, staged.lines.splitlines(keepends=True))
        places = accumulate(lengths, initial=self._open[1].tell())
        self._stored = {name: place for (name, _serial), place in zip(staged.issued, places, strict=False)}
        for file, content in zip(self._open, (staged.members, staged.lines), strict=True):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def end(self) -> None:
        """Mark the end of the archive."""
        archive, manifest = self._open
        archive.write(_END)
        archive.flush()
        os.fsync(archive.fileno())
        archive.close()
        manifest.close()


def _members(made: Made, modified: int) -> Iterator[bytes]:
    if made.key:
        yield member(f"{made.device.name}.key.pem", made.key, modified)
    yield member(f"{made.device.name}.cert.pem", made.pem.encode("ascii"), modified)


__all__ = ["Archive", "member"]
