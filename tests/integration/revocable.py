# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment whose issuing CA is a tree on disk, as playbooks and modules want it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import AuthorityTree
from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_device_certificates, ensure_revoked
from tests.integration.deployment import Deployment
from tests.integration.operators import HOME, at
from tests.integration.sandbox.mqtt import Issued

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Revocable:
    """The deployment's CA and its devices under ``pki``; playbooks run with an inventory of the deployment."""

    deployment: Deployment
    directory: Path

    def __post_init__(self) -> None:
        tree = AuthorityTree(self.pki / "intermediateCA", "issuing")
        tree.repair(serial_policy="random", check_mode=False)
        tree.certificate.write_text(self.deployment.ca.pem)
        tree.key.write_text(self.deployment.ca.key_pem)
        root = self.pki / "rootCA/certs/root.cert.pem"
        root.parent.mkdir(parents=True)
        root.write_text(self.deployment.root.pem)
        sandbox = self.deployment.sandbox
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "fleet_application": self.deployment.application,
            "fleet_write_region": HOME,
            "fleet_domain": "iot.example.com",
            "fleet_pki_dir": str(self.pki),
            "fleet_aws": {
                "region": "{{ inventory_hostname }}",
                "endpoint_url": sandbox.gateway,
                "access_key": "test",
                "secret_key": "any-will-do",
            },
        }
        hosts = {each: {"fleet_device_address": sandbox.regions[each]["mqtt"]} for each in self.deployment.regions}
        inventory = {"all": {"vars": variables, "children": {"regions": {"hosts": hosts}}}}
        self.inventory.write_text(json.dumps(inventory))

    @property
    def pki(self) -> Path:
        """What ``fleet_pki_dir`` is."""
        return self.directory / "pki"

    @property
    def issuing(self) -> Path:
        """The tree of the issuing CA."""
        return self.pki / "intermediateCA"

    @property
    def inventory(self) -> Path:
        """The inventory of the deployment's regions."""
        return self.directory / "hosts.yml"

    def issue(self, *names: str, renew: bool = False) -> list[Issued]:
        """Issue certificates as playbooks/issue_devices.yml does."""
        ensure_device_certificates(
            path=str(self.pki / "clients"),
            authority_path=str(self.issuing),
            names=list(names),
            days=365,
            renew=renew,
            passphrase=None,
            check_mode=False,
        )
        return [self._issued(name) for name in names]

    def _issued(self, name: str) -> Issued:
        certificate, key = (self.pki / "clients" / name / f"{name}.{kind}.pem" for kind in ("cert", "key"))
        return Issued(
            x509.load_pem_x509_certificate(certificate.read_bytes()),
            serialization.load_pem_private_key(key.read_bytes(), None),
        )

    def revoke(self, **meant: Any) -> dict[str, Any]:
        """Revoke in the ledger, then in the registry, by the options of x509_revocation; the registry's answer."""
        wanted = {"names": [], "serials": [], "certificate_ids": [], "keys": [], "crl": None, "reason": "test", **meant}
        ledger = ensure_revoked(authorities=[str(self.issuing)], check_mode=False, **wanted)
        return at(self.deployment).run(
            "fleet_revocations",
            application=self.deployment.application,
            devices=wanted["names"],
            certificates=ledger["certificates"],
            reason="test",
        )

    def refusals(self, answer: dict[str, Any], *regions: str, timeout: int = 30) -> dict[str, Any]:
        """What ``fleet_revocations_info`` sees in the regions, or in all."""
        sandbox = self.deployment.sandbox
        return at(self.deployment).run(
            "fleet_revocations_info",
            application=self.deployment.application,
            revocations=answer["revocations"],
            began_at=answer["began_at"],
            endpoints={each: sandbox.regions[each]["mqtt"] for each in regions or self.deployment.regions},
            server_name="iot.example.com",
            root_certificate_path=str(self.pki / "rootCA/certs/root.cert.pem"),
            clients_path=str(self.pki / "clients"),
            timeout=timeout,
        )

    def playbook(
        self, *arguments: str, name: str = "revoke_devices", check: bool = False, limit: str = "all"
    ) -> tuple[int, str]:
        """Run a playbook with variables; exit code and output."""
        run = self.start(*arguments, name=name, options=["--limit", limit, *(["--check"] if check else [])])
        output, _none = run.communicate()
        return run.returncode, output

    def start(self, *arguments: str, name: str, options: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start a playbook with variables, in a session of its own."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            "ANSIBLE_NOCOLOR": "1",
        }
        extra = [part for argument in arguments for part in ("-e", argument)]
        program = Path(sys.executable).with_name("ansible-playbook")
        return subprocess.Popen(
            [program, f"playbooks/{name}.yml", "-i", self.inventory, *options, *extra],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
