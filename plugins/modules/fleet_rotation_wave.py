#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_rotation_wave
version_added: 0.3.0
short_description: Watch devices that rotate their certificates until each has done so or failed
description:
  - A device has rotated when its row says that it was seen with a certificate of the job; what it reports is not
    believed. It has failed when a region says that its job has, or when it has begun and does not end in time. One that
    has not begun is waiting; its job stays.
  - With O(authority) the certificate requests of all regions are answered meanwhile, as
    M(iotops.fleet.fleet_certificate_requests) does.
  - The executions that wait in other regions for a device that has ended are cancelled.
  - The campaign has to stop (RV(stopped)) when a canary fails, or when too many devices have failed. The watch then
    ends at once, and whoever called it cancels the jobs.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  jobs:
    description: The devices of each job by its id.
    type: dict
    required: true
  late_jobs:
    description: Ids of jobs of which only those devices are waited for that have begun.
    type: list
    elements: str
    default: []
  regions:
    description: The regions that have the jobs; O(region) is that of the replica that is read and written.
    type: list
    elements: str
    required: true
  seconds:
    description: How long is watched.
    type: int
    default: 1800
  canary:
    description: Whether the first failure stops the campaign.
    type: bool
    default: false
  abort_percentage:
    description: More failures than so many percent of the devices that have ended stop it.
    type: int
    default: 10
  abort_minimum:
    description: Before the wave's end only when so many have ended.
    type: int
    default: 20
  rotated_before:
    description: How many devices have rotated in the waves before.
    type: int
    default: 0
  failed_before:
    description: How many have failed there.
    type: int
    default: 0
  pause:
    description: Seconds between two looks.
    type: float
    default: 5
  with_certificates:
    description: Whether the result has the certificates.
    type: bool
    default: false
  progress_path:
    description: File to which a line with the rate and the time left is added every ten seconds, and at the end.
    type: path
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.issuing
attributes:
  check_mode:
    support: full
    description: Nothing is watched; the answer is empty.
  diff_mode:
    support: none
    description: Nobody knows before what a device will do.
  idempotent:
    support: full
    description: Devices that have ended are not waited for.
requirements: [cryptography >= 43]
seealso:
  - module: iotops.fleet.fleet_rotation_job
"""

EXAMPLES = r"""
- name: Wait for two devices
  iotops.fleet.fleet_rotation_wave:
    region: eu-west-1
    application: multi-region-iot
    regions: [eu-west-1, us-west-2]
    jobs: {multi-region-iot-rotate-7: [dev-1, dev-2]}
    authority: pki/intermediateCA
  register: wave
"""

RETURN = r"""
devices:
  description: What became of each device.
  returned: always
  type: list
  elements: dict
  contains:
    thing_name: {description: The device., type: str, sample: dev-1}
    job_id: {description: Its job., type: str, sample: multi-region-iot-rotate-7}
    outcome:
      description: V(rotated), V(failed), V(waiting), or V(cancelled) where the campaign stopped before.
      type: str
      sample: rotated
    reason: {description: Why it has not rotated., type: str, sample: ""}
    certificate_id: {description: The certificate that it works with., type: str, sample: 3a3e0a}
    not_after: {description: Until when (RFC 3339)., type: str, sample: "2027-01-31T12:00:00Z"}
    certificates:
      description: In PEM those that were made for the job; if O(with_certificates=true).
      type: list
      elements: str
stopped: {description: Why the campaign has to stop; empty when it may go on., returned: always, type: str, sample: ""}
"""

import traceback
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.options import ISSUING
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

MISSING_LIBRARY = ""
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._rotation.opening import desk_of, issuing_of
    from ansible_collections.iotops.fleet.plugins.module_utils._rotation.wave import (
        ROTATED,
        Limits,
        Outcome,
        Wave,
    )
except ImportError:
    MISSING_LIBRARY = traceback.format_exc()

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "jobs": {"type": "dict", "required": True},
    "late_jobs": {"type": "list", "elements": "str", "default": []},
    "regions": {"type": "list", "elements": "str", "required": True},
    "seconds": {"type": "int", "default": 1800},
    "canary": {"type": "bool", "default": False},
    "abort_percentage": {"type": "int", "default": 10},
    "abort_minimum": {"type": "int", "default": 20},
    "rotated_before": {"type": "int", "default": 0},
    "failed_before": {"type": "int", "default": 0},
    "pause": {"type": "float", "default": 5},
    "with_certificates": {"type": "bool", "default": False},
    "progress_path": {"type": "path"},
    **ISSUING,
}


def shown(outcome: Outcome, *, with_certificates: bool) -> dict[str, Any]:
    """Return an entry of the module's answer."""
    names = ("thing_name", "job_id", "outcome", "reason", "certificate_id", "not_after")
    return {
        **{name: getattr(outcome, name) for name in names},
        **({"certificates": outcome.awaited} if with_certificates else {}),
    }


def watch(module: AnsibleAWSModule) -> dict[str, Any]:
    """Watch the wave and return the module's answer.

    Raises:
        FleetError: no region, no time, or the CA cannot sign.

    """
    params = module.params
    if not params["regions"]:
        raise FleetError("regions is empty: name the regions that have the jobs")
    if params["pause"] <= 0 or params["seconds"] < 0:
        raise FleetError(f"pause={params['pause']:g} and seconds={params['seconds']}: set positive numbers")
    devices = {name: job_id for job_id, names in params["jobs"].items() for name in names}
    if module.check_mode or not devices:
        return {"changed": False, "devices": [], "stopped": ""}
    replica = Replica(module.client("dynamodb"), params["application"], str(module.region))
    wave = Wave(
        desks=[desk_of(module, region, replica) for region in params["regions"]],
        replica=replica,
        devices=devices,
        limits=Limits(
            canary=params["canary"],
            percentage=params["abort_percentage"],
            minimum=params["abort_minimum"],
            rotated=params["rotated_before"],
            failed=params["failed_before"],
        ),
        report=lambda line: write_progress(params["progress_path"], line),
        issuing=issuing_of(params) if params["authority"] else None,
        late=frozenset(params["late_jobs"]),
        pause=params["pause"],
    )
    outcomes = wave.watch(params["seconds"])
    return {
        "changed": any(each.outcome == ROTATED for each in outcomes),
        "devices": [shown(each, with_certificates=params["with_certificates"]) for each in outcomes],
        "stopped": wave.stopped,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if MISSING_LIBRARY:
        module.fail_json(msg=missing_required_lib("cryptography >= 43"), exception=MISSING_LIBRARY)
    run_module(module, watch)


if __name__ == "__main__":
    main()
