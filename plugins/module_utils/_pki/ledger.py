# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of an authority: the ``index.txt`` of `openssl ca`, and its ``serial`` file.

A line has six fields, separated by tabs: status (V valid, R revoked, E expired), expiry, revocation (time and reason),
serial number in hexadecimal, file name (``unknown``) and subject (openssl-ca(1), "database"; TXT_DB of OpenSSL).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import PUBLIC, write_atomic

_SERIAL = re.compile(r"([0-9A-Fa-f]{2})+")
# A tab inside a field has a backslash before it.
_SEPARATOR = re.compile(r"(?<!\\)\t")
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
    """The entries of an ``index.txt``, as they were when it was read, and the way to add more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_serial: dict[str, Entry] = {}
        self._by_name: dict[str, tuple[Entry, ...]] = {}
        for number, line in enumerate(self._lines(), start=1):
            try:
                entry = Entry.parse(line)
            except ValueError as error:
                raise PkiError(
                    f"{path} is damaged, line {number}: {error}; restore it (openssl keeps index.txt.old beside it)"
                ) from error
            self._remember(entry)

    def _lines(self) -> list[str]:
        # A last line without its newline was never acknowledged; OpenSSL does not read it either.
        try:
            return self._path.read_bytes().decode("latin-1").split("\n")[:-1]
        except FileNotFoundError:
            return []

    def _remember(self, entry: Entry) -> None:
        self._by_serial[entry.serial] = entry
        name = entry.common_name
        self._by_name[name] = (*self._by_name.get(name, ()), entry)

    def entries(self) -> list[Entry]:
        """Return all entries, oldest first."""
        return list(self._by_serial.values())

    def find(self, serial: str) -> Entry | None:
        """Return the entry with this serial number."""
        return self._by_serial.get(serial)

    def live(self, common_name: str, now: datetime) -> list[Entry]:
        """Return the valid entries of a common name, oldest first."""
        return [entry for entry in self._by_name.get(common_name, ()) if entry.state(now) == "valid"]

    def append(self, entries: Iterable[Entry]) -> None:
        """Add entries and wait until they are on the disk."""
        added = list(entries)
        self.record("".join(f"{entry.line()}\n" for entry in added))
        for entry in added:
            self._remember(entry)

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
