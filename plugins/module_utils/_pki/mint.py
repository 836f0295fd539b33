# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes key pairs and certificates of devices, in several processes when that pays."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import (
    Request,
    Signer,
    encode_certificate,
    entry_of,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import DIRECTORY, PUBLIC, write_new
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import encode_key, generate_key
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import distinguished_name, organization_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import Algorithm, KeyType

# About a third of a second of one core each: a batch is what a killed run can lose, and what one sync is for.
_BATCH: dict[Algorithm, int] = {"ec": 500, "rsa": 8}


@dataclass(frozen=True)
class Pair:
    """A device's certificate and private key, in a folder of their own."""

    folder: Path
    name: str

    @property
    def certificate(self) -> Path:
        """The certificate."""
        return self.folder / f"{self.name}.cert.pem"

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / f"{self.name}.key.pem"


@dataclass(frozen=True, kw_only=True)
class Minter:
    """Makes pairs in the folder `staging`."""

    signer: Signer
    staging: Path
    key_type: KeyType
    lifetime: timedelta

    def make(self, name: str, serial: int) -> tuple[Pair, Entry]:
        """Write the pair of one device and return it with what the ledger has to say of it."""
        key = generate_key(self.key_type)
        request = Request(
            purpose="device",
            subject=distinguished_name(common_name=name, organization=organization_of(self.signer.name)),
            public_key=key.public_key(),
            lifetime=self.lifetime,
        )
        certificate = self.signer.sign(request, serial=serial, now=datetime.now(UTC))
        pair = Pair(self.staging / name, name)
        pair.folder.mkdir(mode=DIRECTORY)
        write_new(pair.key, encode_key(key))
        write_new(pair.certificate, encode_certificate(certificate), mode=PUBLIC)
        return pair, entry_of(certificate)


Order = tuple[str, int]
Batch = list[tuple[Pair, Entry]]


def mint(minter: Minter, orders: Sequence[Order], *, processes: int | None = None) -> Iterator[Batch]:
    """Yield the pairs for `orders` (name and serial number), batch by batch, as they are written."""
    size = _BATCH[minter.key_type.algorithm]
    batches = [orders[start : start + size] for start in range(0, len(orders), size)]
    workers = min(processes or _cores(), len(batches))
    if workers <= 1:
        for batch in batches:
            yield [minter.make(name, serial) for name, serial in batch]
        return
    try:
        # Forked, so that the CA key is never written to a pipe.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _start_worker, (minter,)) as pool:
            yield from pool.map(_work, batches)
    except BrokenProcessPool as error:
        raise PkiError("a process that made certificates was killed (out of memory?): run again to go on") from error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_worker: Minter


def _start_worker(minter: Minter) -> None:
    global _worker
    _worker = minter
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A worker shares the lock of the run that forked it: outliving that run would block the next one.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(batch: Sequence[Order]) -> Batch:
    return [_worker.make(name, serial) for name, serial in batch]


__all__ = ["Minter", "Pair", "mint"]
