#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_devices_info
version_added: 0.2.0
short_description: List what a region has of devices, beside what the registry says
description:
  - Reads AWS IoT itself, all certificates of each thing with their status, and beside it this region's replica of the
    registry, and whether the region has applied it.
  - Things and certificates without a row are listed too, and so are rows without a thing, of devices that are deleted.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  names:
    description: Only these, also ranges like V(dev-[001:100]). Nothing is known of a name that does not exist.
    type: list
    elements: str
  devices_file:
    description: Or those in a file, CSV with a column C(name), a JSON list, or JSON lines.
    type: path
  segments:
    description: Pages of a table that are read at the same time.
    type: int
    default: 4
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
  - iotops.fleet.registry_reads
"""

EXAMPLES = r"""
- name: All devices of a region
  iotops.fleet.fleet_devices_info:
    region: eu-west-1
    application: multi-region-iot
  register: found
"""

RETURN = r"""
devices:
  description: The devices in the order of their names, or as they were named.
  returned: always
  type: list
  elements: dict
  contains:
    thing_name: {description: The name., type: str, sample: dev-1}
    state: {description: "State of the row; empty when there is none.", type: str, sample: ACTIVE}
    reason: {description: Why it is in that state., type: str, sample: recalled}
    lag: {description: Why the region has not applied the row; empty when it has., type: str}
    thing: {description: Whether there is a thing., type: bool, sample: true}
    thing_type_name: {description: Its type., type: str, sample: multi-region-iot-device}
    attributes: {description: Its attributes., type: dict, sample: {site: harbour-3}}
    certificates:
      description:
        - Every certificate that the thing or the row has. C(status) is empty for one that the region does not have.
        - C(other_things) are those that have the certificate too.
      type: list
      elements: dict
      sample: [{certificate_id: 3a3e0a, status: ACTIVE, attached: true, in_row: true, other_things: []}]
loose_certificates:
  description:
    - Certificates that neither a thing nor a row has. Empty where devices were named.
    - C(claim) says that it is a claim certificate (M(iotops.fleet.fleet_claim_certificates_info)), which no thing has.
  returned: always
  type: list
  elements: dict
  sample: [{certificate_id: 9d5bb4, status: INACTIVE, claim: false}]
"""

from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._devices.calls import certificates_with_policy
from ansible_collections.iotops.fleet.plugins.module_utils._devices.listing import ROW, STATUS, Region
from ansible_collections.iotops.fleet.plugins.module_utils._iot.things import (
    OPERATIONS,
    QUOTA_OF,
    Reader,
    certificate_id_of,
)
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.survey import Scan
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import existing
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

MISSING_LIBRARY = ""
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._devices.named import named_devices
except ImportError as error:
    if not str(error.name).startswith("cryptography"):
        raise
    MISSING_LIBRARY = missing_required_lib("cryptography >= 43")

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "names": {"type": "list", "elements": "str"},
    "devices_file": {"type": "path"},
    "segments": {"type": "int", "default": 4},
    "quota_share": {"type": "float", "default": 0.8},
    "threads": {"type": "int", "default": 8},
    "progress_path": {"type": "path"},
}


def require_sense(params: dict[str, Any]) -> None:
    """Check the inputs.

    Raises:
        FleetError: the first one that cannot be.

    """
    if not 0 < params["quota_share"] <= 1:
        raise FleetError(f"quota_share={params['quota_share']:g} is not a part: set more than 0 and at most 1")
    for name in ("threads", "segments"):
        if params[name] < 1:
            raise FleetError(f"{name}={params[name]} is less than 1: set 1 or more")


def slim(row: Item) -> Item:
    """Return a row without the PEM of its certificates: there may be a million rows."""
    return {**row, "Certificates": dict.fromkeys(row.get("Certificates") or {})}


class Registry:
    """The two tables of the region that say what is wanted and what was applied."""

    def __init__(self, module: AnsibleAWSModule, scan: Scan) -> None:
        self._client, self._scan = module.client("dynamodb"), scan
        application = module.params["application"]
        self._inventory, self._status = f"{application}-device-inventory", f"{application}-device-status"

    def named(self, names: list[str]) -> tuple[dict[str, Item], dict[str, Item]]:
        """Return rows and statuses of these devices by their names."""
        rows, statuses = (
            existing(self._client, table, "ThingName", names) for table in (self._inventory, self._status)
        )
        return {row["ThingName"]: slim(row) for row in rows}, {each["ThingName"]: each for each in statuses}

    def all(self) -> tuple[dict[str, Item], dict[str, Item]]:
        """Return those of every device."""
        rows: dict[str, Item] = {}
        self._scan.each(self._inventory, ROW, lambda row: rows.update({row["ThingName"]: slim(row)}))
        statuses = {
            each["ThingName"]: each
            for each in self._scan.items(self._status, STATUS)
            if "/" not in each["ThingName"]  # leases of certificates and of the sweep lie there, too
        }
        return rows, statuses


def named(reader: Reader, registry: Registry, names: list[str]) -> tuple[Region, list[str]]:
    """Return what there is of these devices, and their names."""
    things = reader.things(names)
    principals = reader.principals(things)
    rows, applied = registry.named(names)
    arns = {certificate_id_of(arn): arn for arns in principals.values() for arn in arns if certificate_id_of(arn)}
    known = {each for row in rows.values() for each in row["Certificates"]}
    sharing = reader.things_of(arns.values())
    return Region(
        things=things,
        principals=principals,
        statuses=reader.statuses({*arns, *known}),
        rows=rows,
        applied=applied,
        sharing={certificate_id_of(arn): found for arn, found in sharing.items()},
    ), names


def everything(reader: Reader, registry: Registry, application: str) -> tuple[Region, list[str]]:
    """Return what there is in the region, and the names of all devices."""
    things = reader.all_things()
    principals = reader.principals(things)
    rows, applied = registry.all()
    region = Region(
        things=things,
        principals=principals,
        statuses=reader.all_statuses(),
        rows=rows,
        applied=applied,
        claims=certificates_with_policy(reader.iot, f"{application}-claim") or (),
    )
    region.share()
    return region, sorted({*principals, *rows})


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    params = module.params
    require_sense(params)
    names = named_devices(params["names"] or (), params["devices_file"])

    def report(line: str) -> None:
        write_progress(params["progress_path"], f"{module.region} {line}")

    quotas = read_quotas(
        module.client("service-quotas"), str(module.region), [QUOTA_OF.get(each, each) for each in OPERATIONS]
    )
    reader = Reader.within(module.client("iot"), quotas, params["quota_share"], params["threads"], report)
    registry = Registry(module, Scan(module.client("dynamodb"), params["segments"], report))
    region, listed = named(reader, registry, names) if names else everything(reader, registry, params["application"])
    return {
        "changed": False,
        "devices": region.devices(listed),
        "loose_certificates": [] if names else region.loose(listed),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC, mutually_exclusive=[("names", "devices_file")], supports_check_mode=True
    )
    if MISSING_LIBRARY:
        module.fail_json(msg=MISSING_LIBRARY)
    run_module(module, read)


if __name__ == "__main__":
    main()
