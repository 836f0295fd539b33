#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_provisioning
version_added: 0.2.0
short_description: Say which devices may ask the provisioning API for a certificate
description:
  - Puts names on the table of the provisioning API, each with the public key that its device signs with, takes names
    off, and gives names back.
  - The API writes the same items at the same time. Each write is conditional, and what the API is granting right now
    stays as it is; the module then fails once it has done the rest, and names a device. So it does when a name that is
    to be given back is not on the list, in check mode too.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  state:
    description:
      - V(present) puts names on the list. What is there stays as it is, but for another key.
      - V(absent) takes names off. A device that has its certificate keeps it.
      - V(released) gives a name back whose request came to nothing, and leaves all others.
      - V(reset) lets a device that has its certificate ask for another one, and leaves all others.
      - A key that comes with a name that is V(released) or V(reset) takes the place of the one on the list. A device
        that lost its key cannot ask without it.
    type: str
    choices: [present, absent, released, reset]
    default: present
  devices:
    description:
      - Names, or dictionaries with C(thing_name) and C(public_key), a key in PEM form.
      - A device without a key can only use the protocol of the earlier provisioning API, if that is deployed.
    type: list
    elements: raw
  path:
    description:
      - CSV file with C(name) or C(name,"<public key in PEM form>") in each record; the key has line breaks, hence the
        quotes.
      - A first line that begins with C(thing_name) is a heading, and C(#) begins a comment.
    type: path
  table:
    description: Name of the table, in the region of the call.
    type: str
    required: true
  threads:
    description: Calls made at the same time.
    type: int
    default: 8
  progress_path:
    description: File to which a line is added from time to time, for those who watch a large list.
    type: path
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Counts what would be written.
  diff_mode:
    support: full
    description: Shows the first 100 devices that change, with the fingerprints of their keys.
  idempotent:
    support: full
    description: Devices that are as wanted are not written.
"""

EXAMPLES = r"""
- name: Let two devices ask
  iotops.fleet.fleet_provisioning:
    region: eu-west-1
    table: iot-global-provisioning
    devices:
      - thing_name: dev-1
        public_key: "{{ lookup('ansible.builtin.file', 'dev-1.pub.pem') }}"
      - dev-2

- name: Let those ask that the factory made
  iotops.fleet.fleet_provisioning:
    region: eu-west-1
    table: iot-global-provisioning
    path: batch-2026-07.csv

- name: Give a name back whose request came to nothing
  iotops.fleet.fleet_provisioning:
    region: eu-west-1
    table: iot-global-provisioning
    devices: [dev-1]
    state: released

- name: Let a device that lost its key ask again, signed with its new one
  iotops.fleet.fleet_provisioning:
    region: eu-west-1
    table: iot-global-provisioning
    devices:
      - thing_name: dev-1
        public_key: "{{ lookup('ansible.builtin.file', 'dev-1.pub.pem') }}"
    state: reset
"""

RETURN = r"""
provisioning:
  description: What was done, or would be in check mode.
  returned: always
  type: dict
  contains:
    named: {description: Names given., type: int, sample: 2}
    changed: {description: Names that were put on or taken off the list or given back., type: int, sample: 1}
    in_progress: {description: Names that stay since the API is granting them a request., type: int, sample: 0}
"""

import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._provisioning.entries import Entries, from_file, from_list
from ansible_collections.iotops.fleet.plugins.module_utils._provisioning.table import STATES, Plan, Table, plan, shown
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils.aws import (
    MISSING_CODES,
    FleetError,
    error_code,
    run_module,
)

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": list(STATES), "default": "present"},
    "devices": {"type": "list", "elements": "raw"},
    "path": {"type": "path"},
    "table": {"type": "str", "required": True},
    "threads": {"type": "int", "default": 8},
    "progress_path": {"type": "path"},
}
GIVEN_BY = ("devices", "path")
SHOWN = 100
NAMED = 5


def _now() -> int:
    return int(time.time())


def known(module: AnsibleAWSModule, table: Table, entries: Entries) -> dict[str, Item]:
    """The items of the names; in check mode a table that is not there yet is empty.

    Raises:
        FleetError: there is no such table.

    """
    try:
        return table.read(list(entries))
    except AnsibleAWSError as error:
        if error_code(error) not in MISSING_CODES:
            raise
    if module.check_mode:
        return {}
    raise FleetError(f"table={table.name} is not in {module.region}: run playbooks/provisioning_api.yml first")


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """Make the list what is wanted and return the module's result.

    Raises:
        FleetError: no threads, no table, or names that cannot be, are unknown, or are being granted a request.

    """
    params = module.params
    if params["threads"] < 1:
        raise FleetError(f"threads={params['threads']} is less than 1: set 1 or more")
    entries = from_file(params["path"]) if params["path"] is not None else from_list(params["devices"])
    table = Table(
        module.client("dynamodb"),
        params["table"],
        params["threads"],
        lambda line: write_progress(params["progress_path"], f"{module.region} {line}"),
    )
    planned = plan(params["state"], entries, known(module, table, entries), _now())
    if not module.check_mode and planned.changes:
        table.make(params["state"], {change.name: entries[change.name] for change in planned.changes}, _now)
    touched = sorted(planned.changes, key=lambda change: change.name)[:SHOWN]
    result = {
        "changed": bool(touched),
        "provisioning": {
            "named": len(entries),
            "changed": len(planned.changes),
            "in_progress": len(planned.busy),
        },
        "diff": {
            "before": {change.name: shown(change.before) for change in touched if change.before},
            "after": {change.name: shown(change.after) for change in touched if change.after},
        },
    }
    if told := "; ".join(left_alone(planned)):
        raise FleetError(told, **result)
    return result


def left_alone(planned: Plan) -> Iterator[str]:
    """What to say of the names that nothing could be done for."""
    if planned.busy:
        more = f"{min(planned.busy)} and {len(planned.busy) - 1} more"
        yield f"{more} are being granted a request, and stay as they are: run again in a minute"
    if planned.unknown:
        first = ", ".join(sorted(planned.unknown)[:NAMED])
        more = f"{first} and {max(0, len(planned.unknown) - NAMED)} more"
        yield f"{more} are not on the list: correct the names, or put them on it with state=present"


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
