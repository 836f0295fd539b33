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
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

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
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import distinguished_name, organization_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import Algorithm, KeyType
from ansible_collections.iotops.fleet.plugins.module_utils._pki.template import Template
from ansible_collections.iotops.fleet.plugins.module_utils._pki.token import close_tokens
from ansible_collections.iotops.fleet.plugins.module_utils._pki.wanted import Device

# Seconds of one core at most: a batch is what a killed run can lose, and what one sync is for.
BATCH: dict[Algorithm, int] = {"ec": 500, "rsa": 8}

Order = tuple[Device, int]  # and the serial number


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


Stage = Callable[[Sequence[Made]], Staged]


@dataclass(frozen=True, kw_only=True)
class Minter:
    """Makes certificates of one issuing CA; keys are of `key_type`."""

    signer: Signer
    key_type: KeyType
    lifetime: timedelta

    def make(self, orders: Sequence[Order]) -> list[Made]:
        """Return keys and certificates for a batch; what is the same in all of them is encoded once."""
        templates: dict[Algorithm, tuple[Template, Entry]] = {}
        made: list[Made] = []
        for device, serial in orders:
            key = None if device.public_key else generate_key(self.key_type)
            public_key = device.public_key or public_bytes(key)
            algorithm = self.key_type.algorithm if key else key_type_of(_load(public_key)).algorithm
            if algorithm not in templates:
                templates[algorithm] = self._template(device.name, serial, _load(public_key))
            template, sample = templates[algorithm]
            entry = Entry(
                status="V",
                expires=sample.expires,
                serial=serial_text(serial),
                subject=f"{sample.subject.rpartition('/CN=')[0]}/CN={device.name}",
            )
            certificate = template.sign(device.name, serial, public_key)
            pem = ssl.DER_cert_to_PEM_cert(certificate)
            made.append(Made(device, entry, certificate, pem, encode_key(key) if key else None))
        return made

    def _template(self, name: str, serial: int, public_key: Any) -> tuple[Template, Entry]:
        request = Request(
            purpose="device",
            subject=distinguished_name(common_name=name, organization=organization_of(self.signer.name)),
            public_key=public_key,
            lifetime=self.lifetime,
        )
        certificate = self.signer.sign(request, serial=serial, now=datetime.now(UTC))
        return Template(self.signer, certificate), entry_of(certificate)


def _load(public_key: bytes) -> Any:
    return serialization.load_der_public_key(public_key)


def mint(minter: Minter, stage: Stage, orders: Sequence[Order], *, processes: int | None = None) -> Iterator[Staged]:
    """Yield what `stage` made of the certificates for `orders`, batch by batch, in order."""
    with_keys = any(device.public_key is None for device, _serial in orders)
    size = BATCH[minter.key_type.algorithm] if with_keys else BATCH["ec"]
    batches = [orders[start : start + size] for start in range(0, len(orders), size)]
    workers = min(processes or _cores(), len(batches))
    if workers <= 1:
        for batch in batches:
            yield stage(minter.make(batch))
        return
    close_tokens()
    try:
        # Forked, so that the CA key is never written to a pipe.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _start_worker, (minter, stage)) as pool:
            yield from _in_turn(pool, batches, ahead=2 * workers)
    except BrokenProcessPool as error:
        raise PkiError("a process that made certificates was killed (out of memory?): run again to go on") from error


def _in_turn(pool: ProcessPoolExecutor, batches: Sequence[Sequence[Order]], ahead: int) -> Iterator[Staged]:
    # Not all at once: what is made faster than it can be written would fill the memory.
    waiting: deque[Future[Staged]] = deque()
    for batch in batches:
        waiting.append(pool.submit(_work, batch))
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


def _work(batch: Sequence[Order]) -> Staged:
    minter, stage = _worker
    return stage(minter.make(batch))


__all__ = ["BATCH", "Made", "Minter", "Order", "Stage", "Staged", "mint"]
