#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_rotation_job
version_added: 0.3.0
short_description: Give devices of one region the job of rotating their certificates, or take it away
description:
  - An AWS IoT Job of the operation C(ROTATE_CERTIFICATE). The same id in several regions is the same wave.
  - A job that is there is left as it is. One that is there for other devices is refused.
  - Things that the region does not have are left out, and returned.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  job_id:
    description: Id of the job, C(<application>-rotate-<n>).
    type: str
    required: true
  state:
    description:
      - V(present) creates it unless there is one, in whatever state.
      - V(cancelled) cancels it with all its executions, if it is in progress.
    type: str
    choices: [present, cancelled]
    default: present
  thing_names:
    description: The devices, at most 100; needed with O(state=present).
    type: list
    elements: str
  key_type:
    description: The type of key that devices make, in words of the job document.
    type: str
    default: ec256
  canary:
    description: Whether it is a canary wave, which is written into the job's description.
    type: bool
    default: false
  maximum_per_minute:
    description: At most so many devices are told in a minute.
    type: int
    default: 100
  abort_percentage:
    description: AWS IoT itself cancels the job when so many of its executions that ended have failed, in percent.
    type: int
    default: 10
  abort_minimum:
    description: It does not before so many executions have ended.
    type: int
    default: 20
  timeout_minutes:
    description: An execution that has begun fails after so many minutes.
    type: int
    default: 60
  comment:
    description: Why a job is cancelled.
    type: str
    default: cancelled by an operator
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Predicts whether a job would be made or cancelled.
  diff_mode:
    support: full
    description: Shows the state of the job.
  idempotent:
    support: full
    description: A job that is there is not made again.
seealso:
  - module: iotops.fleet.fleet_rotation_job_info
"""

EXAMPLES = r"""
- name: Let two devices rotate
  iotops.fleet.fleet_rotation_job:
    region: eu-west-1
    job_id: multi-region-iot-rotate-7
    thing_names: [dev-1, dev-2]

- name: Take it back
  iotops.fleet.fleet_rotation_job:
    region: eu-west-1
    job_id: multi-region-iot-rotate-7
    state: cancelled
    comment: wrong devices
"""

RETURN = r"""
job_id: {description: The job., returned: always, type: str, sample: multi-region-iot-rotate-7}
missing:
  description: Things that the region does not have; with O(state=present).
  returned: always
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._rotation import jobs
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "job_id": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "cancelled"], "default": "present"},
    "thing_names": {"type": "list", "elements": "str"},
    "key_type": {"type": "str", "default": "ec256", "no_log": False},
    "canary": {"type": "bool", "default": False},
    "maximum_per_minute": {"type": "int", "default": 100},
    "abort_percentage": {"type": "int", "default": 10},
    "abort_minimum": {"type": "int", "default": 20},
    "timeout_minutes": {"type": "int", "default": 60},
    "comment": {"type": "str", "default": "cancelled by an operator"},
}
# https://docs.aws.amazon.com/iot/latest/apireference/API_CreateJob.html
LIMITS = {
    "maximum_per_minute": (1, 1000),
    "abort_percentage": (1, 100),
    "abort_minimum": (1, jobs.MAX_TARGETS),
    "timeout_minutes": (1, 10080),
}


def require_sense(params: dict[str, Any]) -> None:
    """Check what AWS would refuse.

    Raises:
        FleetError: the first input that cannot be.

    """
    for name, (least, most) in LIMITS.items():
        if not least <= params[name] <= most:
            raise FleetError(f"{name}={params[name]}: set a number from {least} to {most}")
    count = len(set(params["thing_names"]))
    if not 1 <= count <= jobs.MAX_TARGETS:
        raise FleetError(f"thing_names are {count}: a job has 1 to {jobs.MAX_TARGETS} targets")


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """Create or cancel the job and return the module's result."""
    params, iot, check_mode = module.params, module.client("iot"), module.check_mode
    job_id = params["job_id"]
    missing: list[str] = []
    if params["state"] == "cancelled":
        changed = jobs.ensure_cancelled(iot, job_id, params["comment"], check_mode=check_mode)
    else:
        require_sense(params)
        names = ("key_type", "canary", *LIMITS)
        rollout = jobs.Rollout(**{name: params[name] for name in names})
        things = list(dict.fromkeys(params["thing_names"]))
        changed, missing = jobs.ensure_present(iot, job_id, things, rollout, check_mode=check_mode)
    after = f"{job_id} {params['state']}\n"
    return {
        "changed": changed,
        "job_id": job_id,
        "missing": missing,
        "diff": {"before": "" if changed else after, "after": after},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC, required_if=[("state", "present", ["thing_names"])], supports_check_mode=True
    )
    run_module(module, ensure)


if __name__ == "__main__":
    main()
