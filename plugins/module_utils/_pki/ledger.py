# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of an authority: the ``index.txt`` of `openssl ca`, and its ``serial`` file.

A line has six fields, separated by tabs: status (V valid, R revoked, E expired), expiry, revocation (time and reason),
serial number in hexadecimal, file name (``unknown``) and subject (openssl-ca(1), "database"; TXT_DB of OpenSSL).
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import PUBLIC, count_lines, write_atomic
from ansible_collections.iotops.fleet.plugins.module_utils._pki.index import Index

_SERIAL = re.compile(r"([0-9A-Fa-f]{2})+")
# A tab inside a field has a backslash before it.
_SEPARATOR = re.compile(r"(?<!\\)\t")
# A line without a tab in a field: expiry, serial number and subject of it.
_PLAIN = re.compile(rb"[VRE]\t(\d+Z)\t[^\t\n]*\t((?:[0-9A-F]{2})+)\t[^\t\n]*\t([^\t\n]*)\n", re.DOTALL)
# The end of the file is looked for in steps of so many octets.
_TAIL = 4096


def serial_text(serial: int) -> str:
    """Return a serial number as OpenSSL writes it: upper-case hexadecimal, whole octets."""
    digits = f"{serial:X}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"


@lru_cache(maxsize=1024)  # those of one run end at the same time
def _time_text(moment: datetime) -> str:
    # RFC 5280, 4.1.2.5: UTCTime through the year 2049, GeneralizedTime from 2050 on.
    return moment.astimezone(UTC).strftime("%y%m%d%H%M%SZ" if moment.year < 2050 else "%Y%m%d%H%M%SZ")


@lru_cache(maxsize=1024)
def _parse_time(text: str) -> datetime:
    if len(text) == 13:
        text = ("19" if text[:2] >= "50" else "20") + text
    if len(text) != 15 or not text.endswith("Z"):
        raise ValueError(f"time {text!r}")
    return datetime.fromisoformat(f"{text[:8]}T{text[8:]}")


def common_name_in(subject: str) -> str:
    """Return the common name of a subject as index.txt has it; it has to be the last part."""
    return subject.rpartition("/CN=")[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One certificate that the authority issued; `revocation` as OpenSSL wrote it, empty unless revoked."""

    status: str
    expires: datetime
    serial: str
    subject: str
    revocation: str = ""
    file: str = "unknown"

    @classmethod
    def parse(cls, line: str) -> Entry:
        """Return the entry in `line` (without its newline); raise ValueError saying what is wrong."""
        fields = line.split("\t")
        if "\\\t" in line:
            fields = [field.replace("\\\t", "\t") for field in _SEPARATOR.split(line)]
        if len(fields) != 6:
            raise ValueError(f"{len(fields)} fields instead of 6")
        status, expires, revocation, serial, file, subject = fields
        if status not in ("V", "R", "E"):
            raise ValueError(f"status {status!r} instead of V, R or E")
        if not _SERIAL.fullmatch(serial):
            raise ValueError(f"serial number {serial!r}")
        return cls(
            status=status,
            expires=_parse_time(expires),
            revocation=revocation,
            serial=serial.upper(),
            file=file,
            subject=subject,
        )

    def line(self) -> str:
        """Return the line as OpenSSL writes it, without its newline."""
        fields = (self.status, _time_text(self.expires), self.revocation, self.serial, self.file, self.subject)
        return "\t".join(field.replace("\t", "\\\t") for field in fields)

    @property
    def common_name(self) -> str:
        """The common name in the subject."""
        return common_name_in(self.subject)

    def state(self, now: datetime) -> str:
        """Return ``valid``, ``expired`` or ``revoked``."""
        if self.status == "R":
            return "revoked"
        return "expired" if self.status == "E" or self.expires <= now else "valid"


class Ledger:
    """The entries of an ``index.txt``, found as they were when it was read, and the way to add more.

    Kept is only where in the file they are: a CA may have issued a million certificates.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read()

    def _read(self) -> None:
        try:
            self._file: BinaryIO = self._path.open("rb")
        except FileNotFoundError:
            self._file = io.BytesIO()
        count = count_lines(self._path)
        self._by_serial, self._by_name = Index(count), Index(count)
        add_serial, add_name = self._by_serial.add, self._by_name.add
        for number, (place, line) in enumerate(islice(self._lines(), count), start=1):
            match = _PLAIN.fullmatch(line)
            try:
                if match is None:
                    entry = _parse(line)
                    serial, name = entry.serial.encode(), entry.common_name.encode("latin-1")
                else:
                    _parse_time(match[1].decode())
                    serial, name = match[2], match[3].rpartition(b"/CN=")[2]
            except ValueError as error:
                raise PkiError(
                    f"{self._path} is damaged, line {number}: {error}; "
                    f"restore it (openssl keeps index.txt.old beside it)"
                ) from error
            add_serial(serial, place)
            add_name(name, place)
        self._is_read = True

    def _refresh(self) -> None:
        if not self._is_read:
            self._read()

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield each line, and where it begins."""
        self._file.seek(0)
        place = 0
        for line in self._file:
            if line.endswith(b"\n"):  # else it was never acknowledged; OpenSSL does not read it either
                yield place, line
            place += len(line)

    def _at(self, index: Index, key: str) -> Iterator[Entry]:
        for place in index.places(key.encode("latin-1", "replace")):
            self._file.seek(place)
            yield _parse(self._file.readline())

    def entries(self) -> list[Entry]:
        """Return all entries, oldest first."""
        self._refresh()
        return list({entry.serial: entry for entry in (_parse(line) for _place, line in self._lines())}.values())

    def find(self, serial: str) -> Entry | None:
        """Return the entry with this serial number."""
        self._refresh()
        return next((entry for entry in self._at(self._by_serial, serial) if entry.serial == serial), None)

    def live(self, common_name: str, now: datetime) -> list[Entry]:
        """Return the valid entries of a common name, oldest first."""
        self._refresh()
        found = self._at(self._by_name, common_name)
        return [entry for entry in found if entry.common_name == common_name and entry.state(now) == "valid"]

    def append(self, entries: Iterable[Entry]) -> None:
        """Add entries and wait until they are on the disk."""
        self.record("".join(f"{entry.line()}\n" for entry in entries))
        self._is_read = False

    def record(self, lines: str) -> None:
        """Add whole lines and wait until they are on the disk; this object does not remember them, they may be many."""
        if not lines:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, PUBLIC)
        with os.fdopen(descriptor, "rb+") as file:
            file.truncate(_acknowledged(file))
            file.seek(0, os.SEEK_END)
            file.write(lines.encode("latin-1"))
            file.flush()
            os.fsync(file.fileno())


def _parse(line: bytes) -> Entry:
    return Entry.parse(line.decode("latin-1")[:-1])


def _acknowledged(file: BinaryIO) -> int:
    """Return the size up to the last newline, in a time that does not grow with the file."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _TAIL)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def take_serials(path: Path, count: int) -> range:
    """Return `count` serial numbers from a ``serial`` file and write the next free one into it first.

    A run that is killed afterwards leaves a gap, never a number that is used twice.
    """
    try:
        first = int(path.read_text(encoding="ascii").strip(), 16)
    except (ValueError, FileNotFoundError) as error:
        raise PkiError(
            f"{path} does not hold a hexadecimal number: write the next free serial number into it"
        ) from error
    write_atomic(path, f"{serial_text(first + count)}\n".encode("ascii"))
    return range(first, first + count)


__all__ = ["Entry", "Ledger", "common_name_in", "serial_text", "take_serials"]
