# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes keys and certificates of devices, in several processes when that pays."""

from __future__ import annotations

import gc
import multiprocessing
import os
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from cryptography.hazmat.primitives import serialization

from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import Request, Signer, entry_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import (
    encode_key,
    generate_key,
    key_type_of,
    public_bytes,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry, serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import (
    distinguished_name,
    more_parts,
    organization_of,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import Algorithm, KeyType
from ansible_collections.iotops.fleet.plugins.module_utils._pki.template import Template
from ansible_collections.iotops.fleet.plugins.module_utils._pki.token import close_tokens
from ansible_collections.iotops.fleet.plugins.module_utils._pki.wanted import Device

# A batch is what a killed run can lose, and what one sync is for: seconds of one core at most.
BATCH: dict[Algorithm, int] = {"ec": 500, "rsa": 8}
# It is made in so many shares, so that at the end no process waits long for another one.
_SHARES = 10
# A process of its own pays from so many keys on.
_WORTH_A_PROCESS: dict[Algorithm, int] = {"ec": 250, "rsa": 1}
# Seconds for which certificates begin and end at the same time.
_TEMPLATE_LASTS = 60

Order = tuple[Device, int]  # and the serial number
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate (DER and PEM), what the ledger has to say of it, and its key (PEM) unless the device keeps it."""

    device: Device
    entry: Entry
    certificate: bytes
    pem: str
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Staged:
    """What a layout made of a batch; `members` and `lines` are those of an archive and its manifest."""

    issued: list[tuple[str, str]]  # names and serial numbers
    ledger: str
    members: bytes = b""
    lines: bytes = b""

    @classmethod
    def of(cls, made: Sequence[Made], *, members: bytes = b"", lines: bytes = b"") -> Staged:
        """Return what is the same in each layout, and what an archive needs."""
        issued = [(one.device.name, one.entry.serial) for one in made]
        return cls(issued, "".join(f"{one.entry.line()}\n" for one in made), members, lines)

    @classmethod
    def joined(cls, shares: Sequence[Staged]) -> Staged:
        """Return a batch that was made in shares."""
        return cls(
            [each for share in shares for each in share.issued],
            "".join(share.ledger for share in shares),
            b"".join(share.members for share in shares),
            b"".join(share.lines for share in shares),
        )


Stage = Callable[[Sequence[Made]], Staged]


class Minter:
    """Makes certificates of one issuing CA; keys are of `key_type`.

    The subjects are the CA's but for the common name, and for what `subject` has instead (``MORE_PARTS``).
    """

    def __init__(
        self, signer: Signer, key_type: KeyType, lifetime: timedelta, subject: Mapping[str, str] | None = None
    ) -> None:
        self.key_type = key_type
        self._subject = {part: value for part, value in (subject or {}).items() if value}
        self._signer, self._lifetime = signer, lifetime
        self._templates: dict[Algorithm, tuple[Template, Entry]] = {}
        self._templates_until = 0.0

    def make(self, orders: Sequence[Order]) -> list[Made]:
        """Return keys and certificates; what is the same in all of them is encoded once."""
        if time.monotonic() > self._templates_until:
            self._templates.clear()
            self._templates_until = time.monotonic() + _TEMPLATE_LASTS
        return [self._make(device, serial) for device, serial in orders]

    def _make(self, device: Device, serial: int) -> Made:
        key = None if device.public_key else generate_key(self.key_type)
        public_key = device.public_key or public_bytes(key)
        algorithm = self.key_type.algorithm if key else key_type_of(_load(public_key)).algorithm
        if algorithm not in self._templates:
            self._templates[algorithm] = self._template(device.name, serial, _load(public_key))
        template, sample = self._templates[algorithm]
        entry = Entry(
            status="V",
            expires=sample.expires,
            serial=serial_text(serial),
            subject=f"{sample.subject.rpartition('/CN=')[0]}/CN={device.name}",
        )
        certificate = template.sign(device.name, serial, public_key)
        return Made(device, entry, certificate, ssl.DER_cert_to_PEM_cert(certificate), encode_key(key) if key else None)

    def _template(self, name: str, serial: int, public_key: Any) -> tuple[Template, Entry]:
        request = Request(
            purpose="device",
            subject=distinguished_name(
                common_name=name,
                organization=organization_of(self._signer.name),
                more={**more_parts(self._signer.name), **self._subject},
            ),
            public_key=public_key,
            lifetime=self._lifetime,
        )
        certificate = self._signer.sign(request, serial=serial, now=datetime.now(UTC))
        return Template(self._signer, certificate), entry_of(certificate)


def _load(public_key: bytes) -> Any:
    return serialization.load_der_public_key(public_key)


def mint(
    minter: Minter, stage: Stage, orders: Iterator[Order], *, count: int, with_keys: bool, processes: int | None = None
) -> Iterator[Staged]:
    """Yield what `stage` made of the certificates for `orders`, batch by batch, in order.

    `count` is how many they are, `with_keys` whether keys have to be made for them.
    """
    kind = minter.key_type.algorithm if with_keys else "ec"
    workers = processes or min(_cores(), count // _WORTH_A_PROCESS[kind])
    size = max(1, BATCH[kind] // _SHARES)
    shares = _cut(orders, size)
    if workers <= 1:
        yield from map(Staged.joined, _cut((stage(minter.make(share)) for share in shares), BATCH[kind] // size))
        return
    close_tokens()
    try:
        # Forked, so that the CA key is never written to a pipe.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _start_worker, (minter, stage)) as pool:
            made = _in_turn(pool, shares, ahead=2 * workers * _SHARES)
            yield from map(Staged.joined, _cut(made, BATCH[kind] // size))
    except BrokenProcessPool as error:
        raise PkiError("a process that made certificates was killed (out of memory?): run again to go on") from error


def _cut(values: Iterator[T], size: int) -> Iterator[list[T]]:
    return iter(lambda: list(islice(values, size)), [])


def _in_turn(pool: ProcessPoolExecutor, shares: Iterator[Sequence[Order]], ahead: int) -> Iterator[Staged]:
    # Not all at once: what is made faster than it can be written would fill the memory.
    waiting: deque[Future[Staged]] = deque()
    for share in shares:
        waiting.append(pool.submit(_work, share))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_worker: tuple[Minter, Stage]


def _start_worker(minter: Minter, stage: Stage) -> None:
    global _worker
    _worker = minter, stage
    gc.freeze()  # what is there stays: looking through it, again and again, would copy it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A worker shares the lock of the run that forked it: outliving that run would block the next one.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(share: Sequence[Order]) -> Staged:
    minter, stage = _worker
    return stage(minter.make(share))


__all__ = ["BATCH", "Made", "Minter", "Order", "Stage", "Staged", "mint"]
