#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_rotation_candidates_info
version_added: 0.3.0
short_description: Tell which devices have to rotate their certificates, in which waves
description:
  - Reads this region's replica of the registry as a whole, in parallel segments, and holds no more of it than O(limit)
    devices.
  - A device is meant by its name (O(devices)), by the issuer of the certificate that it uses (O(generation)), or by the
    end of that certificate (O(within_days)).
  - A device that is not ACTIVE, or whose certificate has expired, cannot connect and therefore cannot rotate.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  devices:
    description: Names of the devices that are meant. Each of them has to be able to rotate.
    type: list
    elements: str
    default: []
  generation:
    description: The generation of the issuing CA whose certificates are to go.
    type: int
  pki_dir:
    description: Directory of the PKI on the controller; needed with O(generation).
    type: path
  within_days:
    description: Devices whose certificate ends within so many days, when neither O(devices) nor O(generation) is set.
    type: int
    default: 30
  exclude:
    description: Names of devices that have a job.
    type: list
    elements: str
    default: []
  canary:
    description: So many devices are the first wave.
    type: int
    default: 5
  canary_devices:
    description: Names of those devices, instead of the ones whose certificates end first.
    type: list
    elements: str
    default: []
  wave_size:
    description: Devices in each of the other waves; a job has at most 100 targets.
    type: int
    default: 100
  limit:
    description: At most so many devices; the others are counted.
    type: int
    default: 10000
  authorities:
    description:
      - Directories of issuing CAs. Certificates that functions signed for them, and that their ledgers do not have, are
        told.
    type: list
    elements: path
    default: []
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
  - iotops.fleet.scans
seealso:
  - module: iotops.fleet.fleet_rotation_job
"""

EXAMPLES = r"""
- name: See whose certificates end within two months
  iotops.fleet.fleet_rotation_candidates_info:
    region: eu-west-1
    application: multi-region-iot
    within_days: 60
  register: found
"""

RETURN = r"""
waves:
  description: The waves, the canary wave first; in each the devices whose certificates end first are the first.
  returned: always
  type: list
  elements: dict
  contains:
    canary: {description: Whether it is the canary wave., type: bool, sample: true}
    devices:
      description: Its devices, with the certificate that each uses.
      type: list
      elements: dict
      sample: [{thing_name: dev-7, certificate_id: 3a3e, not_after: "2026-01-31T12:00:00Z"}]
due: {description: How many devices are meant and can rotate., type: int, sample: 200}
excluded: {description: How many are meant and in O(exclude)., type: int, sample: 0}
left_out_count: {description: How many are meant and cannot rotate., type: int, sample: 1}
left_out:
  description: The first of those that are meant and cannot rotate.
  returned: always
  type: list
  elements: dict
  sample: [{thing_name: dev-9, why: "its certificate has expired at 2026-01-31T12:00:00Z: it cannot connect"}]
unrecorded:
  description: Certificates that functions signed and that the ledger does not have, by O(authorities).
  returned: always
  type: list
  elements: dict
  sample: [{authority: /srv/pki/intermediateCA, certificates: ["-----BEGIN CERTIFICATE-----"]}]
last: {description: The highest number of a wave that any row names; 0 for none., type: int, sample: 3}
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso
from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import ledger_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.generations import issuing_ca
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import AuthorityTree
from ansible_collections.iotops.fleet.plugins.module_utils._registry.ends import End
from ansible_collections.iotops.fleet.plugins.module_utils._registry.survey import Scan
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.candidates import (
    ROW,
    Candidates,
    Ledgers,
    Wish,
    waves_of,
)
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.jobs import MAX_TARGETS
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "devices": {"type": "list", "elements": "str", "default": []},
    "generation": {"type": "int"},
    "pki_dir": {"type": "path"},
    "within_days": {"type": "int", "default": 30},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "canary": {"type": "int", "default": 5},
    "canary_devices": {"type": "list", "elements": "str", "default": []},
    "wave_size": {"type": "int", "default": 100},
    "limit": {"type": "int", "default": 10000},
    "authorities": {"type": "list", "elements": "path", "default": []},
    "segments": {"type": "int", "default": 4},
    "progress_path": {"type": "path"},
}


def require_sense(params: Mapping[str, Any]) -> None:
    """Check the numbers.

    Raises:
        FleetError: the first one that cannot be.

    """
    for name, least, most in (
        ("within_days", 0, 36500),
        ("canary", 1, MAX_TARGETS),
        ("wave_size", 1, MAX_TARGETS),
        ("limit", 1, 1_000_000),
        ("segments", 1, 1_000_000),
    ):
        if not least <= params[name] <= most:
            raise FleetError(f"{name}={params[name]}: set a number from {least} to {most}")
    if params["devices"] and params["generation"] is not None:
        raise FleetError("devices and generation are both set: leave one of them out")
    if len(set(params["canary_devices"])) > MAX_TARGETS:
        raise FleetError(f"canary_devices are {len(set(params['canary_devices']))}: name at most {MAX_TARGETS}")


def wish_of(params: Mapping[str, Any]) -> Wish:
    """Return which devices are meant.

    Raises:
        FleetError: there is no such generation of the issuing CA.

    """
    if params["devices"]:
        return Wish(names=frozenset(params["devices"]))
    if params["generation"] is None:
        return Wish(days=params["within_days"])
    try:
        path = issuing_ca(params["generation"], params["pki_dir"], "certificate")
    except ValueError as error:
        raise FleetError(str(error)) from None
    return Wish(issuer=fingerprint(read_text(path, option=f"generation {params['generation']}")))


def require_known(params: Mapping[str, Any], found: Candidates, chosen: list[End]) -> None:
    """Check the devices that somebody named.

    Raises:
        FleetError: one of them cannot rotate, or a canary is not among those that do.

    """
    problems = [f"{name} {why}" for name, why in sorted(found.left_out.items())] if found.wish.names else []
    problems += [f"{name} has no row in the registry" for name in sorted(set(found.wish.names) - found.seen)]
    if problems:
        raise FleetError(f"devices: {'; '.join(problems[:5])}: leave them out")
    strangers = set(params["canary_devices"]) - {each.thing_name for each in chosen} - set(params["exclude"])
    if strangers:
        raise FleetError(f"canary_devices: {', '.join(sorted(strangers)[:5])} would not rotate: name devices that do")


def directories_of(authorities: Iterable[str]) -> dict[str, str]:
    """Return the CAs' directories by the SHA-256 of their certificates' DER."""
    trees = {path: AuthorityTree(Path(path), "issuing") for path in authorities}
    return {
        fingerprint(read_text(str(tree.certificate), option=f"authorities: {path}")): path
        for path, tree in trees.items()
    }


def ledgers_of(directories: Mapping[str, str]) -> Ledgers:
    """Return the CAs' ledgers.

    Raises:
        FleetError: one is missing or damaged.

    """
    try:
        return Ledgers({key: ledger_of(AuthorityTree(Path(path), "issuing")) for key, path in directories.items()})
    except PkiError as error:
        raise FleetError(str(error)) from error


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer.

    Raises:
        FleetError: an input that cannot be.

    """
    params = module.params
    require_sense(params)
    directories = directories_of(params["authorities"])
    found = Candidates(
        application=params["application"],
        wish=wish_of(params),
        now=datetime.now(UTC),
        limit=params["limit"],
        exclude=frozenset(params["exclude"]),
        ledgers=ledgers_of(directories),
    )
    scan = Scan(
        module.client("dynamodb"),
        params["segments"],
        lambda line: write_progress(params["progress_path"], f"{module.region} {line}"),
    )
    scan.each(f"{params['application']}-device-inventory", ROW, found.take)
    chosen = found.chosen()
    require_known(params, found, chosen)
    waves = waves_of(
        chosen, size=params["wave_size"], canary=params["canary"], canaries=frozenset(params["canary_devices"])
    )
    return {
        "changed": False,
        "waves": [
            {"canary": canary, "devices": [{**each._asdict(), "not_after": iso(each.not_after)} for each in devices]}
            for canary, devices in waves
        ],
        "due": found.due,
        "excluded": found.excluded,
        "left_out_count": found.left_out_count,
        "left_out": [{"thing_name": name, "why": why} for name, why in sorted(found.left_out.items())],
        "unrecorded": [
            {"authority": directories[issuer], "certificates": pems}
            for issuer, pems in sorted(found.ledgers.missing.items())
        ],
        "last": found.last,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC, required_by={"generation": ["pki_dir"]}, supports_check_mode=True
    )
    run_module(module, read)


if __name__ == "__main__":
    main()
