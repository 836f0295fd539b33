# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device certificates, many in one pass: what is missing is issued, batch by batch, into a layout."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any

from cryptography import x509

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
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.layouts import Flat, Folders, Layout
from ansible_collections.iotops.fleet.plugins.module_utils._pki.manifest import ensure_manifest, require_free_columns
from ansible_collections.iotops.fleet.plugins.module_utils._pki.mint import Minter, mint
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import (
    DEVICE_KEY_TYPES,
    PROFILES,
    KeyType,
    lifetime_of,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.progress import Progress
from ansible_collections.iotops.fleet.plugins.module_utils._pki.standing import problem_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import AuthorityTree
from ansible_collections.iotops.fleet.plugins.module_utils._pki.wanted import (
    Device,
    Devices,
    devices_by_name,
    devices_in_file,
    devices_with_requests,
)

# So many refused devices are named in an error; the rest is counted.
_NAMED = 5
_LAYOUTS: dict[str, type[Layout]] = {"folders": Folders, "flat": Flat, "archive": Archive}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The device certificates that are wanted: see the options of the module x509_device_certificates."""

    devices: Devices
    with_keys: bool
    subject: Mapping[str, str]
    layout: type[Layout]
    path: Path
    key_type: KeyType | None
    lifetime: timedelta
    renew: bool
    manifest: Path | None
    max_results: int
    progress_path: str | None
    processes: int | None

    def first(self) -> list[Device]:
        """Return those that are described one by one."""
        return list(islice(self.devices, self.max_results))

    def names(self, chosen: bytearray) -> Iterator[str]:
        """Yield the names of those with a 1."""
        return (device.name for device in compress(self.devices, chosen))

    def missing(self, kept: bytearray) -> Iterator[Device]:
        """Yield those with a 0."""
        return (device for device, stays in zip(self.devices, kept, strict=True) if not stays)


def ensure_device_certificates(
    *,
    path: str,
    authority_path: str,
    names: Sequence[str] = (),
    devices_file: str | None = None,
    requests: Sequence[str] = (),
    key_type: str | None = None,
    subject: Mapping[str, str] | None = None,
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
        subject=subject or {},
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
    if devices_file:
        require_free_columns(wanted.devices)
    authority_tree = AuthorityTree(absolute(authority_path), "issuing")
    if check_mode:
        return _predict(authority_tree, wanted)
    with open_authority(authority_tree, passphrase=passphrase) as authority:
        return _converge(wanted.layout(wanted.path, authority, wanted.manifest), authority, wanted)


def _devices(names: Sequence[str], devices_file: str | None, requests: Sequence[str]) -> Devices:
    if requests:
        return devices_with_requests(requests)
    return devices_in_file(devices_file) if devices_file else devices_by_name(names)


def _manifest_path(path: str, layout: str, manifest: str | None) -> Path | None:
    if manifest:
        return absolute(manifest)
    return Archive.manifest_of(absolute(path)) if layout == "archive" else None


def _predict(authority_tree: AuthorityTree, wanted: Wanted) -> dict[str, Any]:
    if not authority_tree.certificate.exists():
        return _result(wanted, bytearray(len(wanted.devices)), [], [], {})
    authority = Authority(authority_tree)
    layout = wanted.layout(wanted.path, authority, wanted.manifest)
    unfinished = layout.unfinished()
    kept = _kept(layout, authority, wanted, unfinished)
    changes = layout.repair(wanted.names(kept), check_mode=True)
    if all(kept):
        changes += _ensure_manifest(layout, authority, wanted, check_mode=True)
    return _result(wanted, kept, unfinished, changes, _found(layout, wanted, compress(wanted.first(), kept)))


def _converge(layout: Layout, authority: Authority, wanted: Wanted) -> dict[str, Any]:
    finished = layout.finish()
    kept = _kept(layout, authority, wanted)
    signer = None if all(kept) else authority.signer
    changes = layout.repair(wanted.names(kept), check_mode=False)
    certificates = _found(layout, wanted, compress(wanted.first(), kept))
    if signer:
        certificates |= _issue(layout, authority, signer, kept, wanted)
    changes += _ensure_manifest(layout, authority, wanted, check_mode=False)
    return _result(wanted, kept, finished, changes, certificates)


def _found(layout: Layout, wanted: Wanted, devices: Iterable[Device]) -> dict[str, x509.Certificate | None]:
    return {device.name: layout.find(device.name, with_key=wanted.with_keys) for device in devices}


def _kept(layout: Layout, authority: Authority, wanted: Wanted, unfinished: Container[str] = ()) -> bytearray:
    """Return which devices' certificates are to stay, a 1 or 0 for each; raise PkiError if some need a decision.

    `unfinished` are those that a killed run has left to be moved into place.
    """
    now = datetime.now(UTC)
    kept = bytearray()
    refused: list[str] = []
    more = 0
    for device in wanted.devices:
        certificate = None
        if device.name not in unfinished:
            certificate, problem = _standing(layout, authority, wanted, device, now)
            if problem and len(refused) < _NAMED:
                refused.append(f"{device.name}: {problem}")
            elif problem:
                more += 1
        kept.append(certificate is not None)
    if refused:
        raise PkiError(f"{'; '.join(refused)}{f' (and {more} more)' if more else ''}; {layout.remedy}")
    return kept


def _standing(
    layout: Layout, authority: Authority, wanted: Wanted, device: Device, now: datetime
) -> tuple[x509.Certificate | None, str | None]:
    """Return the certificate that a device may keep, and why it may neither silently keep it nor get another."""
    if device.public_key and layout.has_key(device.name):
        raise PkiError(f"{device.name}: its private key is in {layout.path}; sign requests into another folder")
    if wanted.renew and layout.replaces:
        return None, None
    certificate = layout.find(device.name, with_key=wanted.with_keys)
    if certificate is not None and certificate.not_valid_after_utc <= now:
        certificate = None
    return certificate, problem_of(authority, device, certificate, now, renew=wanted.renew)


def _issue(
    layout: Layout, authority: Authority, signer: Signer, kept: bytearray, wanted: Wanted
) -> dict[str, x509.Certificate | None]:
    """Issue to those devices that do not keep theirs; return the certificates that are to be described."""
    count = kept.count(0)
    key_type = wanted.key_type or PROFILES[authority.profile]["device"]
    minter = Minter(signer, key_type, wanted.lifetime, wanted.subject)
    orders = zip(wanted.missing(kept), authority.serial_numbers(count), strict=True)
    progress = Progress(count, wanted.progress_path)
    described = {device.name: device for device in wanted.first()}
    certificates: dict[str, x509.Certificate | None] = {}
    layout.begin()
    for staged in mint(
        minter, layout.stage, orders, count=count, with_keys=wanted.with_keys, processes=wanted.processes
    ):
        layout.store(staged)
        authority.ledger.record(staged.ledger)
        layout.publish(staged)
        progress.add(len(staged.issued))
        certificates |= _found(
            layout, wanted, [described[name] for name, _serial in staged.issued if name in described]
        )
    layout.end()
    return certificates


def _ensure_manifest(layout: Layout, authority: Authority, wanted: Wanted, *, check_mode: bool) -> list[str]:
    if wanted.manifest is None or layout.keeps_manifest:
        return []

    def certificates() -> Iterator[tuple[Device, x509.Certificate]]:
        for device in wanted.devices:
            certificate = layout.find(device.name, with_key=wanted.with_keys)
            if certificate is not None:
                yield device, certificate

    return ensure_manifest(wanted.manifest, authority.certificate, certificates, check_mode=check_mode)


def _result(
    wanted: Wanted,
    kept: bytearray,
    finished: Iterable[str],
    changes: list[str],
    certificates: Mapping[str, x509.Certificate | None],
) -> dict[str, Any]:
    before = dict.fromkeys(finished)  # by a run that was killed
    if before:
        for device in wanted.missing(kept):
            before.pop(device.name, None)
    issued = kept.count(0) + len(before)
    named = (device.name for device in wanted.missing(kept))
    listed = [*islice(chain(named, before), wanted.max_results)]
    changes = changes + [f"{wanted.path / name}: issued" for name in listed]
    if issued > len(listed):
        changes.append(f"{wanted.path}: {issued - len(listed)} more issued")
    return {
        "changed": bool(changes),
        "count": len(wanted.devices),
        "issued_count": issued,
        "certificates": [_description(wanted, device.name, certificates.get(device.name)) for device in wanted.first()],
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
