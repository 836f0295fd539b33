#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_allow_list
version_added: 0.2.0
short_description: Say which new devices may come in
description:
  - Puts names on the global table C(allow-list), or takes them off, through the replica of this region. What is on the
    list already is changed in the home region alone, which gives names away, and only if no device has claimed the name
    in that moment.
  - The list is asked where C(onboarding_allow_list) is true, for a name that has no row; and for each device that comes
    with a claim certificate. Taking a name off does not put a device out.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  state:
    description: Whether the names are to be on the list.
    type: str
    choices: [present, absent]
    default: present
  devices:
    description: Names, each alone or as C(name,certificate_id); then only that certificate may come in under the name.
    type: list
    elements: str
  path:
    description: File with such a name on each line. A first line that begins with C(thing_name) is a heading.
    type: path
  again:
    description:
      - Whether the names may be claimed once more with a claim certificate although a device has claimed them.
      - The device must have been deleted, or never have come in. A name that has a device, revoked or not, is refused.
      - A name that nobody has claimed since it was given again is not written.
    type: bool
    default: false
  home_region:
    description: Region whose replica gives names away. Default is the module's own.
    type: str
  threads:
    description: Calls made at the same time.
    type: int
    default: 4
  progress_path:
    description: File to which a line is added from time to time, for those who watch a large list.
    type: path
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
attributes:
  check_mode:
    support: full
    description: Counts what would be written.
  diff_mode:
    support: full
    description: Shows the first 100 names that change.
  idempotent:
    support: full
    description: Names that are on the list with this certificate, or not on it, are not written. Claims stay.
"""

EXAMPLES = r"""
- name: Allow two devices
  iotops.fleet.fleet_allow_list:
    region: eu-west-1
    application: multi-region-iot
    devices:
      - dev-1
      - dev-2,3a3e0a0f0b8c4d1f9d5bb4fef2a8c7b6a1d2e3f405162738495a6b7c8d9eafb0

- name: Allow what the factory made
  iotops.fleet.fleet_allow_list:
    region: eu-west-1
    application: multi-region-iot
    path: batch-2026-07.csv

- name: Let a new device have the name of one that was deleted
  iotops.fleet.fleet_allow_list:
    region: eu-west-1
    application: multi-region-iot
    devices: dev-1
    again: true
"""

RETURN = r"""
allow_list:
  description: What was done, or would be in check mode.
  returned: always
  type: dict
  contains:
    named: {description: Names given., type: int, sample: 2}
    written: {description: "Names put on the list, given another certificate, or given again.", type: int, sample: 1}
    removed: {description: Names taken off the list., type: int, sample: 0}
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._registry.allow_list import (
    AllowList,
    Entries,
    given_again,
    parse,
    refuse_claimed,
    refuse_devices,
    shown,
    wanted,
)
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "devices": {"type": "list", "elements": "str"},
    "path": {"type": "path"},
    "again": {"type": "bool", "default": False},
    "home_region": {"type": "str"},
    "threads": {"type": "int", "default": 4},
    "progress_path": {"type": "path"},
}
GIVEN_BY = ("devices", "path")
SHOWN = 100


def named(params: dict[str, Any]) -> Entries:
    """Return the names given.

    Raises:
        FleetError: the file cannot be read, or a line is wrong.

    """
    if params["path"] is None:
        return parse(params["devices"], option="devices")
    try:
        text = Path(params["path"]).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError(f"path: cannot read {params['path']} ({error}); give a readable text file") from None
    return parse(text.splitlines(), option=params["path"])


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """Make the list what is wanted and return the module's result.

    Raises:
        FleetError: no threads, names are to be taken off and given again, or have a device; one was claimed meanwhile.

    """
    params = module.params
    if params["threads"] < 1:
        raise FleetError(f"threads={params['threads']} is less than 1: set 1 or more")
    is_present = params["state"] == "present"
    if params["again"] and not is_present:
        raise FleetError("again=true and state=absent exclude each other: leave one of them out")
    entries = named(params)
    here = AllowList(
        module.client("dynamodb"),
        params["application"],
        params["threads"],
        lambda line: write_progress(params["progress_path"], f"{module.region} {line}"),
    )
    known = here.read(list(entries))
    if not is_present:
        return removed(module, here, entries, known)
    to_put = {} if params["again"] else {name: wanted(name, entries[name], {}) for name in entries if name not in known}
    differing = [
        name
        for name, certificate_id in entries.items()
        if params["again"] or (name in known and wanted(name, certificate_id, known[name]) != known[name])
    ]
    home = replace(here, client=module.client("dynamodb", region=params["home_region"] or module.region))
    known_home = home.read(differing)
    items = wanted_at_home(params, entries, known_home, home.rows(differing) if params["again"] else {}, differing)
    to_change = {name: item for name, item in items.items() if known_home.get(name) != item}
    if not module.check_mode:
        here.put(list(to_put.values()))
        refuse_claimed(home.change(to_change, known_home))
    return result(entries, known_home, {**to_put, **to_change}, removed=0)


def wanted_at_home(
    params: dict[str, Any], entries: Entries, known: dict[str, Item], rows: dict[str, Item], names: list[str]
) -> dict[str, Item]:
    """Return the items that names are to have in the home region.

    Raises:
        FleetError: a name is to be given again and has a device.

    """
    if not params["again"]:
        return {name: wanted(name, entries[name], known.get(name, {})) for name in names}
    refuse_devices(rows)
    now = datetime.now(UTC)
    return {name: given_again(name, entries[name], known.get(name, {}), rows.get(name, {}), now) for name in names}


def removed(module: AnsibleAWSModule, table: AllowList, entries: Entries, known: dict[str, Item]) -> dict[str, Any]:
    """Take the names off and return the module's result."""
    if not module.check_mode:
        table.remove(list(known))
    return result(entries, known, {}, removed=len(known))


def result(entries: Entries, known: dict[str, Item], written: dict[str, Item], *, removed: int) -> dict[str, Any]:
    """Return what was done; ``known``: as it was before."""
    touched = sorted(written or (known if removed else ()))[:SHOWN]
    return {
        "changed": bool(touched),
        "allow_list": {"named": len(entries), "written": len(written), "removed": removed},
        "diff": {
            "before": {name: shown(known[name]) for name in touched if name in known},
            "after": {name: shown(written[name]) for name in touched if name in written},
        },
    }


def main() -> None:
    """Run the module."""
    run_module(
        AnsibleAWSModule(
            argument_spec=ARGUMENT_SPEC,
            required_one_of=[GIVEN_BY],
            mutually_exclusive=[GIVEN_BY],
            supports_check_mode=True,
        ),
        ensure,
    )


if __name__ == "__main__":
    main()
