#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_certificates_info
version_added: 0.3.0
short_description: When the certificates of a fleet end, in one region
description:
  - Reads the CAs that AWS IoT accepts, the certificates of ACM for the domain, whether AWS IoT accepts the server
    certificate of the domain configuration, and the certificate that devices are shown when they ask for the domain.
  - With O(devices) it also reads this region's replica of the registry as a whole, in parallel segments, and counts
    the devices by the end of the certificate that they use. AWS IoT is not asked about devices.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  domain:
    description: The name that devices ask for.
    type: str
    required: true
  address:
    description: Where devices connect, C(host) or C(host:port); empty for the region's own C(iot:Data-ATS) endpoint.
    type: str
    default: ""
  timeout:
    description: Seconds after which the endpoint has not answered.
    type: float
    default: 10
  pki_dir:
    description:
      - Directory of the PKI. Its issuing CAs are looked for in AWS IoT.
      - Its root has to vouch for the certificate that is served, and its server certificate is compared with that one.
    type: path
    required: true
  devices:
    description: Whether the registry is read, too. It is the same in every region.
    type: bool
    default: false
  device_days:
    description: Devices are counted whose certificate ends within so many days; V(0) counts the expired ones.
    type: list
    elements: int
    default: [0, 14, 30]
  named:
    description: The devices whose certificates end first are named, so many of them.
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
  - module: iotops.fleet.x509_expiry_info
"""

EXAMPLES = r"""
- name: Read what can expire in a region
  iotops.fleet.fleet_certificates_info:
    region: us-west-2
    application: multi-region-iot
    domain: iot.example.com
    pki_dir: pki
    devices: true
  register: found
"""

RETURN = r"""
certificates:
  description: One entry for each certificate, in no order, and for the domain configuration.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description:
        - V(issuing), a CA that AWS IoT accepts; V(acm), an imported certificate of ACM; V(validation), one that ACM
          issued; V(domain), the domain configuration; V(server), what devices are shown.
      type: str
      sample: issuing
    name: {description: "Common name, domain, domain configuration, or id in ACM.", type: str, sample: Issuing CA}
    place: {description: "The region.", type: str, sample: us-west-2}
    not_after: {description: "RFC 3339; null when unknown.", type: str, sample: "2036-01-31T12:00:00Z"}
    note: {description: "What else there is to say.", type: str, sample: not on the controller}
    severity: {description: "How bad the note is: empty, V(warn) or V(error).", type: str, sample: warn}
devices:
  description: The devices that are ACTIVE or SUSPENDED and have a certificate to use.
  returned: when O(devices)
  type: dict
  contains:
    in_use: {description: How many., type: int, sample: 100000}
    within: {description: How many of them end within so many days., type: dict, sample: {"0": 1, "14": 7, "30": 12}}
    soonest:
      description: Those that end first, the soonest first.
      type: list
      elements: dict
      sample: [{thing_name: dev-7, certificate_id: 3a3e, not_after: "2026-01-31T12:00:00Z"}]
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso
from ansible_collections.iotops.fleet.plugins.module_utils._expiry import files, region
from ansible_collections.iotops.fleet.plugins.module_utils._registry.ends import ATTRIBUTES, Tally
from ansible_collections.iotops.fleet.plugins.module_utils._registry.survey import Scan
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "domain": {"type": "str", "required": True},
    "address": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 10},
    "pki_dir": {"type": "path", "required": True},
    "devices": {"type": "bool", "default": False},
    "device_days": {"type": "list", "elements": "int", "default": [0, 14, 30]},
    "named": {"type": "int", "default": 20},
    "segments": {"type": "int", "default": 4},
    "progress_path": {"type": "path"},
}


def certificates(module: AnsibleAWSModule) -> list[dict[str, Any]]:
    """The region's entries, the endpoint's last."""
    params, iot, place, pki = module.params, module.client("iot"), str(module.region), Path(module.params["pki_dir"])
    known = files.fingerprints(files.authority_paths(pki))
    where = {"region": place, "domain": params["domain"]}
    return [
        *region.authorities(iot, region=place, known=known),
        *region.managed(module.client("acm"), **where),
        *region.domain_configuration(iot, region=place, name=f"{params['application']}-primary"),
        *region.served(iot, **where, address=params["address"], pki=pki, timeout=params["timeout"]),
    ]


def devices(module: AnsibleAWSModule) -> dict[str, Any]:
    """The devices in numbers, and the soonest by name."""
    params = module.params
    tally = Tally(now=datetime.now(UTC), days=params["device_days"], named=params["named"])
    scan = Scan(
        module.client("dynamodb"),
        params["segments"],
        lambda line: write_progress(params["progress_path"], f"{module.region} {line}"),
    )
    scan.each(f"{params['application']}-device-inventory", ATTRIBUTES, tally.add)
    return {
        "in_use": tally.in_use,
        "within": {str(days): number for days, number in tally.within.items()},
        "soonest": [{**end._asdict(), "not_after": iso(end.not_after)} for end in tally.soonest()],
    }


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer.

    Raises:
        FleetError: a number that cannot be, or an address that is none.

    """
    for name in ("named", "segments"):
        if module.params[name] < 1:
            raise FleetError(f"{name}={module.params[name]} is less than 1: set 1 or more")
    found = {"changed": False, "certificates": certificates(module)}
    return {**found, "devices": devices(module)} if module.params["devices"] else found


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
