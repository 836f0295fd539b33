# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device certificates, many in one pass: what is missing is issued, batch by batch, into a layout."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._pki.archive import Archive
from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import (
    Authority,
    absolute,
    difference,
    open_authority,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import (
    Signer,
    describe,
    encode_certificate,
    entry_of,
    time_text,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import write_lines
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import public_bytes
from ansible_collections.iotops.fleet.plugins.module_utils._pki.layouts import Flat, Folders, Layout
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.manifest import Manifest, differs, require_free_columns
from ansible_collections.iotops.fleet.plugins.module_utils._pki.mint import Minter, mint
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import common_name_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import (
    DEVICE_KEY_TYPES,
    PROFILES,
    KeyType,
    lifetime_of,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import AuthorityTree
from ansible_collections.iotops.fleet.plugins.module_utils._pki.wanted import (
    Device,
    devices_by_name,
    devices_in_file,
    devices_with_requests,
)

# So many refused devices are named in an error; the rest is counted.
_NAMED = 5
_LAYOUTS: dict[str, type[Layout]] = {"folders": Folders, "flat": Flat, "archive": Archive}
# Seconds between two lines of progress.
_EVERY = 10


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The device certificates that are wanted: see the options of the module x509_device_certificates."""

    devices: list[Device]
    with_keys: bool
    layout: type[Layout]
    path: Path
    key_type: KeyType | None
    lifetime: timedelta
    renew: bool
    manifest: Path | None
    max_results: int
    progress_path: str | None
    processes: int | None


def ensure_device_certificates(
    *,
    path: str,
    authority_path: str,
    names: Sequence[str] = (),
    devices_file: str | None = None,
    requests: Sequence[str] = (),
    key_type: str | None = None,
    layout: str = "folders",
    manifest: str | None = None,
    days: int,
    renew: bool,
    passphrase: str | None,
    max_results: int = 100,
    progress_path: str | None = None,
    check_mode: bool,
    processes: int | None = None,
) -> dict[str, Any]:
    """Issue what is missing of the devices' certificates; return the result of the module x509_device_certificates.

    `processes` is for tests; by default it follows from the work and the cores. Raises PkiError, before anything is
    changed, when a device cannot be used, a certificate in place must not be used any more, or there is no authority.
    """
    wanted = Wanted(
        devices=_devices(names, devices_file, requests),
        with_keys=not requests,
        layout=_LAYOUTS[layout],
        path=absolute(path),
        key_type=DEVICE_KEY_TYPES[key_type] if key_type else None,
        lifetime=lifetime_of(days),
        renew=renew,
        manifest=_manifest_path(path, layout, manifest),
        max_results=max_results,
        progress_path=progress_path,
        processes=processes,
    )
    require_free_columns(wanted.devices)
    authority_tree = AuthorityTree(absolute(authority_path), "issuing")
    if check_mode:
        return _predict(authority_tree, wanted)
    with open_authority(authority_tree, passphrase=passphrase) as authority:
        return _converge(wanted.layout(wanted.path, authority, wanted.manifest), authority, wanted)


def _devices(names: Sequence[str], devices_file: str | None, requests: Sequence[str]) -> list[Device]:
    if requests:
        return devices_with_requests(requests)
    return devices_in_file(devices_file) if devices_file else devices_by_name(names)


def _manifest_path(path: str, layout: str, manifest: str | None) -> Path | None:
    if manifest:
        return absolute(manifest)
    return Archive.manifest_of(absolute(path)) if layout == "archive" else None


def _predict(authority_tree: AuthorityTree, wanted: Wanted) -> dict[str, Any]:
    if not authority_tree.certificate.exists():
        return _result(wanted, [device.name for device in wanted.devices], [], lambda _name: None)
    authority = Authority(authority_tree)
    layout = wanted.layout(wanted.path, authority, wanted.manifest)
    unfinished = layout.unfinished()
    present = _present(layout, authority, wanted, unfinished)
    missing = [device.name for device in wanted.devices if device.name not in present]
    changes = layout.repair(present, check_mode=True)
    if not missing:
        changes += _write_manifest(layout, authority, wanted, check_mode=True)
    certificate_of = _certificates(layout, wanted)
    return _result(
        wanted, [*missing, *unfinished], changes, lambda name: certificate_of(name) if name in present else None
    )


def _converge(layout: Layout, authority: Authority, wanted: Wanted) -> dict[str, Any]:
    finished = layout.finish()
    present = _present(layout, authority, wanted)
    missing = [device for device in wanted.devices if device.name not in present]
    signer = authority.signer if missing else None
    changes = layout.repair(present, check_mode=False)
    if signer:
        _issue(layout, authority, signer, missing, wanted)
    changes += _write_manifest(layout, authority, wanted, check_mode=False)
    return _result(wanted, [*(device.name for device in missing), *finished], changes, _certificates(layout, wanted))


def _present(layout: Layout, authority: Authority, wanted: Wanted, unfinished: Container[str] = ()) -> dict[str, None]:
    """Return the names of those whose certificates are to stay, in order; raise PkiError if some need a decision.

    `unfinished` are those that a killed run has left to be moved into place.
    """
    now = datetime.now(UTC)
    present: dict[str, None] = {}
    refused: list[str] = []
    for device in wanted.devices:
        if device.name in unfinished:
            continue
        if device.public_key and layout.has_key(device.name):
            raise PkiError(f"{device.name}: its private key is in {layout.path}; sign requests into another folder")
        if wanted.renew and layout.replaces:
            continue
        certificate = layout.find(device.name, with_key=wanted.with_keys)
        if certificate is not None and certificate.not_valid_after_utc <= now:
            certificate = None
        problem = _problem(authority, device, certificate, now, renew=wanted.renew)
        if problem:
            refused.append(f"{device.name}: {problem}")
        elif certificate is not None:
            present[device.name] = None
    if refused:
        more = f" (and {len(refused) - _NAMED} more)" if len(refused) > _NAMED else ""
        raise PkiError(f"{'; '.join(refused[:_NAMED])}{more}; {layout.remedy}")
    return present


def _problem(
    authority: Authority, device: Device, certificate: x509.Certificate | None, now: datetime, *, renew: bool
) -> str | None:
    """Return why this device must not silently keep its certificate or get another, None when it may."""
    if certificate is None:
        return None if renew else _problem_of_another(authority, device.name, now)
    if common_name_of(certificate.subject) != device.name:
        return f"the certificate in place is that of {common_name_of(certificate.subject)!r}"
    if not authority.has_signed(certificate):
        return "the certificate in place is from another CA"
    if device.public_key and device.public_key != public_bytes(certificate.public_key()):
        return "the certificate in place is for another key than the request"
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


def _issue(layout: Layout, authority: Authority, signer: Signer, devices: Sequence[Device], wanted: Wanted) -> None:
    key_type = wanted.key_type or PROFILES[authority.profile]["device"]
    minter = Minter(signer=signer, key_type=key_type, lifetime=wanted.lifetime)
    orders = list(zip(devices, authority.serial_numbers(len(devices)), strict=True))
    progress = _Progress(len(devices), wanted.progress_path)
    layout.begin()
    for staged in mint(minter, layout.stage, orders, processes=wanted.processes):
        layout.store(staged)
        authority.ledger.record(staged.ledger)
        layout.publish(staged)
        progress.add(len(staged.issued))
    layout.end()


class _Progress:
    def __init__(self, total: int, path: str | None) -> None:
        self._total, self._done, self._path = total, 0, path
        self._started = self._written = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if self._done < self._total and now - self._written < _EVERY:
            return
        self._written = now
        rate = self._done / max(now - self._started, 1e-3)
        left = (self._total - self._done) / rate
        write_progress(
            self._path, f"{self._done} of {self._total} certificates issued, {rate:.0f} a second, {left:.0f} s left"
        )


def _write_manifest(layout: Layout, authority: Authority, wanted: Wanted, *, check_mode: bool) -> list[str]:
    """Make the manifest of a layout that does not keep one what it should be; return what was (or would be) changed."""
    path = wanted.manifest
    if path is None or layout.keeps_manifest or not differs(path, _manifest(layout, authority, wanted)):
        return []
    if not check_mode:
        write_lines(path, _manifest(layout, authority, wanted))
    return [f"{path}: written"]


def _manifest(layout: Layout, authority: Authority, wanted: Wanted) -> Iterator[bytes]:
    manifest = Manifest(authority.certificate)
    for device in wanted.devices:
        certificate = layout.find(device.name, with_key=wanted.with_keys)
        if certificate is not None:
            der = certificate.public_bytes(serialization.Encoding.DER)
            yield manifest.line(device, entry_of(certificate), der, encode_certificate(certificate).decode("ascii"))


def _certificates(layout: Layout, wanted: Wanted) -> Callable[[str], x509.Certificate | None]:
    return lambda name: layout.find(name, with_key=wanted.with_keys)


def _result(
    wanted: Wanted, issued: Iterable[str], changes: list[str], certificate_of: Callable[[str], x509.Certificate | None]
) -> dict[str, Any]:
    issued = list(dict.fromkeys(issued))
    listed, more = issued[: wanted.max_results], len(issued) - wanted.max_results
    changes = changes + [f"{wanted.path / name}: issued" for name in listed]
    if more > 0:
        changes.append(f"{wanted.path}: {more} more issued")
    return {
        "changed": bool(changes),
        "count": len(wanted.devices),
        "issued_count": len(issued),
        "certificates": [
            _description(wanted, device.name, certificate_of(device.name))
            for device in wanted.devices[: wanted.max_results]
        ],
        "issued": listed,
        **({"manifest": str(wanted.manifest)} if wanted.manifest else {}),
        "diff": difference(changes),
    }


def _description(wanted: Wanted, name: str, certificate: x509.Certificate | None) -> dict[str, str]:
    places = wanted.layout.places(wanted.path, name)
    if not wanted.with_keys:
        del places["private_key"]
    return {"name": name, **places, **(describe(certificate) if certificate else {})}


__all__ = ["ensure_device_certificates"]
