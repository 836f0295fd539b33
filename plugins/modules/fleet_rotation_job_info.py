#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_rotation_job_info
version_added: 0.3.0
short_description: List the rotation jobs of one region
description:
  - Lists the AWS IoT Jobs by which devices of this region rotate their certificates; of those in progress also how each
    device stands.
author:
  - The iotops.fleet maintainers (@iotops)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
seealso:
  - module: iotops.fleet.fleet_rotation_job
"""

EXAMPLES = r"""
- name: See which devices have a job
  iotops.fleet.fleet_rotation_job_info:
    region: eu-west-1
    application: multi-region-iot
  register: found
"""

RETURN = r"""
jobs:
  description: The jobs in progress, by their number.
  returned: always
  type: list
  elements: dict
  contains:
    job_id: {description: Its id., type: str, sample: multi-region-iot-rotate-7}
    created_at: {description: When it was made (RFC 3339)., type: str, sample: "2026-01-31T12:00:00Z"}
    age: {description: Seconds since then., type: int, sample: 340}
    canary: {description: Whether it is a canary wave., type: bool, sample: false}
    devices:
      description: Status of the execution by device, V(ignore:QUEUED) also where it is not rolled out yet.
      type: dict
      sample: {dev-1: QUEUED, dev-2: SUCCEEDED}
known:
  description: Ids of all rotation jobs of the region.
  returned: always
  type: list
  elements: str
  sample: [multi-region-iot-rotate-7]
last: {description: The highest number; 0 when there is none., returned: always, type: int, sample: 7}
"""

from datetime import UTC, datetime
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso
from ansible_collections.iotops.fleet.plugins.module_utils._rotation import jobs
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module


def shown(iot: Any, job: jobs.Job) -> dict[str, Any]:
    """Return an entry of the module's answer."""
    statuses = jobs.executions(iot, job.job_id) or {}
    return {
        "job_id": job.job_id,
        "created_at": iso(job.created_at),
        "age": int((datetime.now(UTC) - job.created_at).total_seconds()),
        "canary": job.canary,
        "devices": {name: statuses.get(name, "QUEUED") for name in job.targets},
    }


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    iot, application = module.client("iot"), module.params["application"]
    statuses = jobs.list_jobs(iot, application)
    described = (jobs.describe(iot, job_id) for job_id, status in statuses.items() if status == "IN_PROGRESS")
    return {
        "changed": False,
        "jobs": [shown(iot, job) for job in described if job is not None],
        "known": list(statuses),
        "last": max((jobs.number(application, job_id) for job_id in statuses), default=0),
    }


def main() -> None:
    """Run the module."""
    spec: dict[str, dict[str, Any]] = {"application": {"type": "str", "required": True}}
    run_module(AnsibleAWSModule(argument_spec=spec, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
