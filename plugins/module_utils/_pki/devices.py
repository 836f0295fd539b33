# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device certificates, many in one pass.

A key pair is staged as a whole beside its destination, then recorded in the ledger, then moved into place. A run that
is killed leaves either nothing recorded (the next run throws the staged files away) or a recorded pair (the next run
moves it into place), so no device is ever given two live certificates.
"""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import (
    Authority,
    absolute,
    difference,
    open_authority,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import (
    Signer,
    describe,
    read_certificate,
    time_text,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import (
    make_directory,
    sync_file,
    sync_files,
    write_atomic,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry, serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.mint import Minter, Pair, mint
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import common_name_of, thing_names
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import PROFILES, lifetime_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import (
    AuthorityTree,
    private_directories,
    private_files,
)

# So many refused devices are named in an error; the rest is counted.
_NAMED = 5


@dataclass(frozen=True)
class DeviceTree:
    """Where the files of the devices are: a folder each."""

    path: Path

    def pair(self, name: str) -> Pair:
        """The certificate and key of a device."""
        return Pair(self.path / name, name)

    def staging(self, authority: Authority) -> Path:
        """Where pairs of this authority wait until they are recorded."""
        return self.path / f".staging-{serial_text(authority.certificate.serial_number)}"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The device certificates that are wanted: see the options of the module x509_device_certificates."""

    names: list[str]
    lifetime: timedelta
    renew: bool
    processes: int | None


def ensure_device_certificates(
    *,
    path: str,
    authority_path: str,
    names: Sequence[str],
    days: int,
    renew: bool,
    passphrase: str | None,
    check_mode: bool,
    processes: int | None = None,
) -> dict[str, Any]:
    """Issue what is missing of the devices' certificates; return the result of the module x509_device_certificates.

    `processes` is for tests; by default it follows from the work and the cores. Raises PkiError, before anything is
    changed, when a name cannot be used, a certificate in place must not be used any more, or there is no authority.
    """
    tree = DeviceTree(absolute(path))
    wanted = Wanted(names=thing_names(names), lifetime=lifetime_of(days), renew=renew, processes=processes)
    authority_tree = AuthorityTree(absolute(authority_path), "issuing")
    if check_mode:
        return _predict(tree, authority_tree, wanted)
    with open_authority(authority_tree, passphrase=passphrase) as authority:
        return _converge(tree, authority, wanted)


def _predict(tree: DeviceTree, authority_tree: AuthorityTree, wanted: Wanted) -> dict[str, Any]:
    if not authority_tree.certificate.exists():
        return _result(tree, wanted, wanted.names, {}, _repair(tree, [], check_mode=True))
    authority = Authority(authority_tree)
    unfinished = _recorded(tree.staging(authority), authority)
    present = _present(tree, authority, wanted, unfinished)
    missing = [name for name in wanted.names if name not in present]
    return _result(tree, wanted, [*missing, *unfinished], present, _repair(tree, present, check_mode=True))


def _converge(tree: DeviceTree, authority: Authority, wanted: Wanted) -> dict[str, Any]:
    finished = _finish(tree, authority)
    present = _present(tree, authority, wanted)
    missing = [name for name in wanted.names if name not in present]
    signer = authority.signer if missing else None
    changes = _repair(tree, present, check_mode=False)
    if signer:
        _issue(tree, authority, signer, missing, wanted)
    issued = {name: read_certificate(tree.pair(name).certificate) for name in missing}
    return _result(tree, wanted, [*missing, *finished], present | issued, changes)


def _repair(tree: DeviceTree, present: Iterable[str], *, check_mode: bool) -> list[str]:
    pairs = [tree.pair(name) for name in present]
    changes = private_directories([tree.path, *(pair.folder for pair in pairs)], check_mode=check_mode)
    return changes + private_files([pair.key for pair in pairs], check_mode=check_mode)


def _present(
    tree: DeviceTree, authority: Authority, wanted: Wanted, unfinished: Container[str] = ()
) -> dict[str, x509.Certificate | None]:
    """Return the certificates in place that are to stay, by name; raise PkiError for those that need a decision.

    `unfinished` are those that a killed run has left to be moved into place.
    """
    now = datetime.now(UTC)
    present: dict[str, x509.Certificate | None] = {}
    refused: list[str] = []
    for name in wanted.names if not wanted.renew else ():
        if name in unfinished:
            continue
        certificate = _certificate_in_place(tree, name, now)
        problem = _problem(authority, name, certificate, now)
        if problem:
            refused.append(f"{name}: {problem}")
        elif certificate is not None:
            present[name] = certificate
    if refused:
        more = f" (and {len(refused) - _NAMED} more)" if len(refused) > _NAMED else ""
        raise PkiError(f"{'; '.join(refused[:_NAMED])}{more}; to issue a new certificate all the same, set renew")
    return present


def _certificate_in_place(tree: DeviceTree, name: str, now: datetime) -> x509.Certificate | None:
    """Return the certificate of a whole pair, None also when it has expired."""
    pair = tree.pair(name)
    certificate = read_certificate(pair.certificate)
    if certificate is None or certificate.not_valid_after_utc <= now or not pair.key.exists():
        return None
    return certificate


def _problem(authority: Authority, name: str, certificate: x509.Certificate | None, now: datetime) -> str | None:
    """Return why this device must not silently keep its certificate or get another, None when it may."""
    if certificate is None:
        return _problem_of_another(authority, name, now)
    if common_name_of(certificate.subject) != name:
        return f"the certificate in place is that of {common_name_of(certificate.subject)!r}"
    if not authority.has_signed(certificate):
        return "the certificate in place is from another CA"
    entry = authority.ledger.find(serial_text(certificate.serial_number))
    if entry is None:
        return f"its certificate (serial {serial_text(certificate.serial_number)}) is not in {authority.tree.ledger}"
    return f"its certificate (serial {entry.serial}) is revoked" if entry.status == "R" else None


def _problem_of_another(authority: Authority, name: str, now: datetime) -> str | None:
    live = authority.ledger.live(name, now)
    if not live:
        return None
    newest = f"serial {live[-1].serial}, until {time_text(live[-1].expires)}"
    return f"the ledger has a live certificate ({newest}) whose files are not in place: restore them, or revoke it"


def _issue(tree: DeviceTree, authority: Authority, signer: Signer, names: Sequence[str], wanted: Wanted) -> None:
    staging = tree.staging(authority)
    key_type = PROFILES[authority.profile]["device"]
    minter = Minter(signer=signer, staging=staging, key_type=key_type, lifetime=wanted.lifetime)
    make_directory(staging)
    orders = list(zip(names, authority.serial_numbers(len(names)), strict=True))
    for batch in mint(minter, orders, processes=wanted.processes):
        sync_files([path for pair, _entry in batch for path in (pair.key, pair.certificate, pair.folder)])
        authority.ledger.append(entry for _pair, entry in batch)
        for pair, entry in batch:
            _publish(tree, authority, pair, entry)
        sync_file(tree.path)
    staging.rmdir()


def _publish(tree: DeviceTree, authority: Authority, staged: Pair, entry: Entry) -> None:
    """Move a recorded pair into place; the certificate goes last, so that a killed run is seen to be unfinished."""
    copy = authority.tree.issued(entry.serial)
    if not copy.exists():
        _link_or_copy(staged.certificate, copy)
    target = tree.pair(staged.name)
    if not target.folder.exists():
        staged.folder.rename(target.folder)
        return
    if staged.key.exists():
        staged.key.replace(target.key)
    staged.certificate.replace(target.certificate)
    staged.folder.rmdir()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without links
        write_atomic(target, source.read_bytes())


def _finish(tree: DeviceTree, authority: Authority) -> list[str]:
    """Move into place what a killed run had recorded, throw away what it had not; return the names moved."""
    staging = tree.staging(authority)
    if not staging.exists():
        return []
    recorded = _recorded(staging, authority)
    for pair in _staged(staging):
        if pair.name in recorded:
            _publish(tree, authority, pair, recorded[pair.name])
        else:
            shutil.rmtree(pair.folder)
    staging.rmdir()
    return list(recorded)


def _staged(staging: Path) -> list[Pair]:
    return [Pair(folder, folder.name) for folder in staging.iterdir()] if staging.exists() else []


def _recorded(staging: Path, authority: Authority) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for pair in _staged(staging):
        try:
            certificate = read_certificate(pair.certificate)
        except PkiError:  # half written, hence not recorded
            continue
        entry = authority.ledger.find(serial_text(certificate.serial_number)) if certificate else None
        if entry is not None:
            found[pair.name] = entry
    return found


def _result(
    tree: DeviceTree,
    wanted: Wanted,
    issued: Iterable[str],
    certificates: Mapping[str, x509.Certificate | None],
    changes: list[str],
) -> dict[str, Any]:
    issued = list(dict.fromkeys(issued))
    changes = changes + [f"{tree.pair(name).folder}: issued" for name in issued]
    return {
        "changed": bool(changes),
        "certificates": [_description(tree.pair(name), certificates.get(name)) for name in wanted.names],
        "issued": issued,
        "diff": difference(changes),
    }


def _description(pair: Pair, certificate: x509.Certificate | None) -> dict[str, str]:
    described = describe(certificate) if certificate is not None else {}
    return {"name": pair.name, "certificate": str(pair.certificate), "private_key": str(pair.key), **described}


__all__ = ["DeviceTree", "ensure_device_certificates"]
