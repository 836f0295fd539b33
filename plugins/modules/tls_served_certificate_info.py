#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: tls_served_certificate_info
version_added: 0.2.0
short_description: Look at the certificate that a server shows for a name
description:
  - Dials an address, asks for a server name (SNI), and reads the chain that is shown, several times and at every
    address that the host has.
  - With O(certificate_path) it waits until every one of these connections in a row is shown that certificate with its
    chain, and would be trusted by a device that knows the root and the name. One that is shown another chain makes the
    count begin anew, so that a server that changes back and forth does not pass.
  - It presents no certificate, so nobody is connected and nothing is registered.
author: The iotops.fleet maintainers
options:
  address:
    description: Host, or host and port, to dial.
    type: str
    required: true
  server_name:
    description: Name to ask for; the certificate has to be for it.
    type: str
    required: true
  root_certificate_path:
    description: Path of the one root that devices trust, in PEM form.
    type: path
    required: true
  certificate_path:
    description: Path of the certificate that has to be shown, in PEM form. Without it whatever is shown is returned.
    type: path
  chain_path:
    description: Path of the chain that has to follow it, the issuing CA first; the server may leave out the root.
    type: path
  connections:
    description: Connections in a row, at least one for each address of the host.
    type: int
    default: 5
  connect_timeout:
    description: Seconds that a connection may take.
    type: int
    default: 30
  wait_timeout:
    description:
      - Seconds to wait for O(certificate_path), without it for any certificate. AWS names no time in which it takes up
        one.
    type: int
    default: 0
  progress_path:
    description: File to which a line is added whenever what is shown changes, for those who watch.
    type: path
requirements: [cryptography >= 43]
seealso:
  - module: iotops.fleet.acm_imported_certificate
extends_documentation_fragment:
  - iotops.fleet.reads
"""

EXAMPLES = r"""
- name: What do devices see?
  iotops.fleet.tls_served_certificate_info:
    address: a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com
    server_name: iot.example.com
    root_certificate_path: pki/rootCA/certs/root.cert.pem

- name: Wait until they see the renewed certificate
  iotops.fleet.tls_served_certificate_info:
    address: a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com
    server_name: iot.example.com
    root_certificate_path: pki/rootCA/certs/root.cert.pem
    certificate_path: pki/server/next/certs/server.cert.pem
    chain_path: pki/intermediateCA/certs/ca-chain.cert.pem
    wait_timeout: 3600
"""

RETURN = r"""
served:
  description: The different chains that were shown, in the order in which they were seen first.
  returned: success
  type: list
  elements: dict
  contains:
    serial: {description: Serial number in hexadecimal., type: str, sample: 5F3A}
    names: {description: DNS names., type: list, elements: str, sample: [iot.example.com]}
    issuer: {description: RFC 4514 text., type: str, sample: "CN=Example Issuing CA G1,O=Example"}
    not_before: {description: Start (RFC 3339)., type: str, sample: "2026-01-01T00:00:00+00:00"}
    not_after: {description: End (RFC 3339)., type: str, sample: "2027-01-11T00:00:00+00:00"}
    fingerprints:
      description: SHA-256 of each certificate shown, the leaf first.
      type: list
      elements: str
      sample: [0f1e...]
    distrust: {description: Why a device would not trust it; null when it would., type: str, sample: null}
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso
from ansible_collections.iotops.fleet.plugins.module_utils._device.errors import DeviceError
from ansible_collections.iotops.fleet.plugins.module_utils._device.served import Served, Server, matches
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import certificates, fingerprints, names, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, poll, run_module

MQTT_PORT = 8883


@dataclass(frozen=True)
class Expected:
    """What has to be shown: fingerprints of leaf and chain, the leaf's serial number, the root's fingerprint."""

    fingerprints: list[str]
    serial: str
    root: str | None


@dataclass
class Look:
    """What a row of connections was shown, and what is wrong with it (None: nothing)."""

    served: list[Served] = field(default_factory=list)
    problem: str | None = None


def serial(certificate: Any) -> str:
    """The serial number as the ledger of `openssl ca` has it."""
    digits = f"{certificate.serial_number:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


def described(served: Served) -> dict[str, Any]:
    """A chain as the module returns it."""
    leaf = certificates(ssl.DER_cert_to_PEM_cert(served.chain[0]), option="served")[0]
    return {
        "serial": serial(leaf),
        "names": names(leaf),
        "issuer": leaf.issuer.rfc4514_string(),
        "not_before": iso(leaf.not_valid_before_utc),
        "not_after": iso(leaf.not_valid_after_utc),
        "fingerprints": served.fingerprints,
        "distrust": served.distrust,
    }


def wrong(served: Served, expected: Expected) -> str | None:
    """What is wrong with one chain that was shown."""
    if not matches(served.fingerprints, expected.fingerprints, root=expected.root):
        seen = described(served)
        if served.fingerprints[0] == expected.fingerprints[0]:
            return "its chain is another one"
        return f"serial {seen['serial']} for {', '.join(seen['names'])} is served"
    return f"a device would not trust it ({served.distrust})" if served.distrust else None


def look(server: Server, connections: int, expected: Expected | None) -> Look:
    """One row of connections, up to the first that is not as expected."""
    seen = Look()
    try:
        for served in server.visits(connections):
            if served not in seen.served:
                seen.served.append(served)
            seen.problem = wrong(served, expected) if expected else None
            if seen.problem:
                break
    except DeviceError as error:
        seen.problem = f"no certificate at {error}"
    return seen


def expectation(params: dict[str, Any]) -> Expected | None:
    """What the parameters expect, if anything."""
    if not params["certificate_path"]:
        return None
    leaf = read_text(params["certificate_path"], option="certificate_path")
    chain = read_text(params["chain_path"], option="chain_path") if params["chain_path"] else ""
    root = fingerprints(read_text(params["root_certificate_path"], option="root_certificate_path"))
    return Expected(
        fingerprints=fingerprints(leaf)[:1] + fingerprints(chain),
        serial=serial(certificates(leaf, option="certificate_path")[0]),
        root=root[0] if root else None,
    )


def watched(report: Callable[[str], None], read: Callable[[], Look]) -> Callable[[], Look]:
    """``read``, reporting each time that the problem is another one than before."""
    last: list[str | None] = ["nothing was seen yet"]

    def reading() -> Look:
        seen = read()
        if seen.problem != last[0]:
            report(f"waiting: {seen.problem}" if seen.problem else "served")
        last[0] = seen.problem
        return seen

    return reading


def body(module: AnsibleModule) -> dict[str, Any]:
    """The module's result."""
    params = module.params
    host, _colon, port = params["address"].partition(":")
    if params["connections"] < 1 or not (port or "1").isdigit():
        raise FleetError(
            f"address={params['address']}, connections={params['connections']}: give host or host:port, and at least"
            " one connection"
        )
    root = Path(params["root_certificate_path"])
    read_text(str(root), option="root_certificate_path")
    server = Server(host, int(port or MQTT_PORT), params["server_name"], root, params["connect_timeout"])
    expected = expectation(params)
    where = f"{params['server_name']} at {params['address']}"
    wanted = f"serial {expected.serial}" if expected else "a certificate"
    seen = poll(
        watched(
            lambda line: write_progress(params["progress_path"], f"{where} {line}"),
            lambda: look(server, params["connections"], expected),
        ),
        lambda found: found.problem is None,
        timeout=params["wait_timeout"],
        describe=lambda found: f"{where} to serve {wanted} {params['connections']} times in a row: {found.problem}",
    )
    return {"changed": False, "served": [described(each) for each in seen.served]}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "server_name": {"type": "str", "required": True},
            "root_certificate_path": {"type": "path", "required": True},
            "certificate_path": {"type": "path"},
            "chain_path": {"type": "path"},
            "connections": {"type": "int", "default": 5},
            "connect_timeout": {"type": "int", "default": 30},
            "wait_timeout": {"type": "int", "default": 0},
            "progress_path": {"type": "path"},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
