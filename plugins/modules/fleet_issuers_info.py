#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_issuers_info
version_added: 0.3.0
short_description: Tell what depends on each generation of the issuing CA in one region
description:
  - Reads the generations of the issuing CA in the PKI on the controller, how AWS IoT of this region knows them, and the
    region's replica of the registry as a whole, in parallel segments.
  - A CA can be retired when nothing waits for it any more. What waits are devices that use a certificate of it, devices
    that have one by the CA's ledger and have never connected, and certificates that this region registered through it
    and that no device has.
  - A device that uses a certificate and was made in a region goes on working there without the CA. What it cannot do
    any more is to register itself where it is unknown.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  pki_dir:
    description: Directory of the PKI on the controller.
    type: path
    required: true
  generations:
    description: Generations that the result names even where the PKI has none of them yet.
    type: list
    elements: int
    default: []
  registry:
    description: Whether the registry is read. Without it the result has no numbers.
    type: bool
    default: true
  leave_behind:
    description: Names of devices, and ids of certificates, that nobody has to wait for.
    type: list
    elements: str
    default: []
  listed:
    description: At most so many of those that wait are listed of each generation.
    type: int
    default: 20
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
  - iotops.fleet.scans
seealso:
  - module: iotops.fleet.iot_ca_certificate
"""

EXAMPLES = r"""
- name: See who is still on the first generation
  iotops.fleet.fleet_issuers_info:
    region: eu-west-1
    application: multi-region-iot
    pki_dir: pki
    leave_behind: [dev-7]
  register: found
"""

RETURN = r"""
issuers:
  description: The generations, oldest first.
  returned: always
  type: list
  elements: dict
  contains:
    generation: {description: Its number., type: int, sample: 1}
    common_name:
      description: Common name of the CA; like what follows, empty where the PKI has no such CA.
      type: str
      sample: multi-region-iot Issuing CA G1
    fingerprint: {description: SHA-256 of its certificate., type: str, sample: 4f3c}
    not_after: {description: When it ends (RFC 3339)., type: str, sample: "2036-01-31T12:00:00Z"}
    state:
      description:
        - How this region knows it.
        - V(ACTIVE) registers unknown devices, V(CLOSED) is active and does not, V(INACTIVE) registers nothing,
          V(ABSENT) is not registered.
      type: str
      sample: ACTIVE
    devices:
      description: Devices that use a certificate of it. This and what follows is there if O(registry=true).
      type: int
      sample: 20
    late: {description: Those of them that this region has not made what their row says., type: int, sample: 0}
    retiring:
      description: Devices that use the certificate of another CA, and have one of this CA that is not out of use yet.
      type: int
      sample: 180
    certificates: {description: Certificates of it that rows name., type: int, sample: 200}
    issued: {description: Certificates in its ledger that are valid., type: int, sample: 201}
    left_behind: {description: Those that wait and are in O(leave_behind)., type: int, sample: 0}
    waiting: {description: Those that wait and are not in O(leave_behind)., type: int, sample: 20}
    named:
      description: The first of those that wait and are not in O(leave_behind), by name or certificate id.
      type: list
      elements: dict
      sample: [{name: dev-7, why: "uses it until 2026-07-31T12:00:00Z"}]
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso
from ansible_collections.iotops.fleet.plugins.module_utils._iot import ca_certificates
from ansible_collections.iotops.fleet.plugins.module_utils._pki.generations import issuing_ca, issuing_generations
from ansible_collections.iotops.fleet.plugins.module_utils._registry.issuers import ROW, Census
from ansible_collections.iotops.fleet.plugins.module_utils._registry.survey import STATUS, Scan
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import certificates, fingerprint, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "pki_dir": {"type": "path", "required": True},
    "generations": {"type": "list", "elements": "int", "default": []},
    "registry": {"type": "bool", "default": True},
    "leave_behind": {"type": "list", "elements": "str", "default": []},
    "listed": {"type": "int", "default": 20},
    "segments": {"type": "int", "default": 4},
    "progress_path": {"type": "path"},
}
Issuer = dict[str, Any]


def authority(pki_dir: str, generation: int) -> Issuer:
    """What the controller knows of a generation."""
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import common_name_of

    path = issuing_ca(generation, pki_dir, "certificate")
    if not Path(path).is_file():
        return {"generation": generation, "common_name": "", "fingerprint": "", "not_after": ""}
    pem = read_text(path, option="pki_dir")
    parsed = certificates(pem, option=path)[0]
    return {
        "generation": generation,
        "common_name": common_name_of(parsed.subject),
        "fingerprint": fingerprint(pem),
        "not_after": iso(parsed.not_valid_after_utc),
    }


def issued_names(pki_dir: str, generation: int, now: datetime) -> list[str]:
    """Common names of the valid certificates in the CA's ledger.

    Raises:
        FleetError: the ledger is damaged.

    """
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Ledger

    try:
        ledger = Ledger(Path(issuing_ca(generation, pki_dir)) / "index.txt")
    except PkiError as error:
        raise FleetError(str(error)) from error
    return [entry.common_name for entry in ledger.entries() if entry.state(now) == "valid"]


def state_of(ca: Mapping[str, Any] | None) -> str:
    """How the region knows a CA, in one word: see RETURN."""
    if ca is None:
        return "ABSENT"
    if ca["status"] != "ACTIVE":
        return "INACTIVE"
    return "ACTIVE" if ca["autoRegistrationStatus"] == "ENABLE" else "CLOSED"


def read_census(module: AnsibleAWSModule, now: datetime) -> Census:
    """Read the registry of the region, then what it has applied: a status that is ahead is of a write in between."""
    params = module.params
    application = params["application"]
    scan = Scan(
        module.client("dynamodb"),
        params["segments"],
        lambda line: write_progress(params["progress_path"], f"{module.region} {line}"),
    )
    census = Census(now)
    scan.each(f"{application}-device-inventory", ROW, census.take)
    scan.each(f"{application}-device-status", STATUS, census.take_status)
    return census


def dependents(params: Mapping[str, Any], issuer: Issuer, census: Census, registered: Mapping[str, str]) -> Issuer:
    """What depends on a generation, in numbers, and the first names."""
    issued = issued_names(params["pki_dir"], issuer["generation"], datetime.now(UTC)) if issuer["fingerprint"] else []
    key = issuer["fingerprint"] or "none"
    found, waiting = census.of(key), census.waiting(key, issued=issued, registered=registered)
    left = set(params["leave_behind"]) & waiting.keys()
    names = sorted(waiting.keys() - left)
    return {
        "devices": len(found.uses),
        "late": census.late_count(key),
        "retiring": found.retiring,
        "certificates": len(found.certificate_ids),
        "issued": len(issued),
        "left_behind": len(left),
        "waiting": len(names),
        "named": [{"name": name, "why": waiting[name]} for name in names[: params["listed"]]],
    }


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer.

    Raises:
        FleetError: no segments, or a generation below 1.

    """
    params = module.params
    if params["segments"] < 1:
        raise FleetError(f"segments={params['segments']} is less than 1: set 1 or more")
    wrong = [each for each in params["generations"] if each < 1]
    if wrong:
        raise FleetError(f"generations: {wrong[0]} is less than 1: generations of the issuing CA begin with 1")
    iot = module.client("iot")
    numbers = sorted({*issuing_generations(params["pki_dir"]), *params["generations"]})
    issuers = [authority(params["pki_dir"], number) for number in numbers]
    found = {
        each["generation"]: ca_certificates.find(iot, each["fingerprint"]) for each in issuers if each["fingerprint"]
    }
    known = {number: ca for number, ca in found.items() if ca is not None}
    issuers = [{**each, "state": state_of(known.get(each["generation"]))} for each in issuers]
    if params["registry"]:
        # Before the rows: a device that joins meanwhile is no stranger.
        through = {number: ca_certificates.registered_through(iot, ca["certificateId"]) for number, ca in known.items()}
        census = read_census(module, datetime.now(UTC))
        issuers = [
            {**each, **dependents(params, each, census, through.get(each["generation"], {}))} for each in issuers
        ]
    return {"changed": False, "issuers": issuers}


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
