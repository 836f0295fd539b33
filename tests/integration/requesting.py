# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices whose certificates AWS IoT signs: each made its key and its request, and keeps the key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from tests.certificates import new_key
from tests.integration.deployment import Deployment
from tests.integration.operators import at
from tests.integration.sandbox.mqtt import Issued
from tests.requests import forged_request, make_request, weak_request


@dataclass
class Lot:
    """A folder of requests, and the keys by name of the device."""

    directory: Path
    keys: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)

    def request(self, *names: str) -> None:
        """Have devices make their requests."""
        for name in names:
            self.keys[name] = new_key()
            (self.directory / f"{name}.csr").write_text(make_request(name, key=self.keys[name]))

    def spoil(self, prefix: str) -> dict[str, str]:
        """Add three malformed requests; why each is left alone, by file."""
        spoilt = {
            f"{prefix}-text.csr": ("hello", "there is no certificate request in PEM in it"),
            f"{prefix}-forged.csr": (forged_request(f"{prefix}-forged"), "is not signed with its own key"),
            f"{prefix}-weak.csr": (weak_request(f"{prefix}-weak"), "does not take its RSA key of 1024 bits"),
        }
        for file, (text, _why) in spoilt.items():
            (self.directory / file).write_text(text)
        return {file: why for file, (_text, why) in spoilt.items()}

    def issued(self, name: str) -> Issued:
        """A device with the certificate that the folder has of it."""
        pem = (self.directory / f"{name}.cert.pem").read_bytes()
        return Issued(x509.load_pem_x509_certificate(pem), self.keys[name])

    def signed(self) -> set[str]:
        """The names of those that have a certificate in the folder."""
        return {file.name.removesuffix(".cert.pem") for file in self.directory.glob("*.cert.pem")}


def signings(deployment: Deployment, since: float) -> int:
    """How many certificates AWS IoT was asked to sign."""
    calls = deployment.sandbox.journal(since=since, service="iot")
    return sum(call["operation"] == "CreateCertificateFromCsr" for call in calls)


def publishes(deployment: Deployment, name: str, region: str, issued: Issued) -> bool:
    """Whether the device is let in at the first try, and its message is taken."""
    device = deployment.device(name, region, issued)
    try:
        return device.connect(10) and device.publish(f"i/{name}/hello", "{}")
    finally:
        device.close()


def faults(deployment: Deployment, names: Iterable[str], directory: Path) -> list[str]:
    """What a check of every region finds wrong with these devices."""
    wanted, found = set(names), []
    for region in deployment.regions:
        store = directory / f"{region}.sqlite"
        at(deployment, region).run(
            "fleet_replication_info",
            application=deployment.application,
            store=str(store),
            depth="registry",
            share=1.0,
            settling=0,
        )
        found += [f"{region}: {fault}" for fault in Store(str(store)).faults() if fault.thing_name in wanted]
    return found
