#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_certificate_requests
version_added: 0.3.0
short_description: Sign what devices of one region ask for, with the controller's issuing CA
description:
  - Devices that rotate hand in certificate requests, which the table C(certificate-requests) of their region keeps
    while the CA's key is on the controller alone. Each one is checked again, signed, written into the device's row
    through the replica O(write_region), taken from the table, and the device is told; or the device is told why not.
  - The CA's ledger is written first. A run that was killed is finished by the next one, and no request is signed twice.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  write_region:
    description: The replica of the registry that is written to; default is O(region).
    type: str
  authority:
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.issuing
attributes:
  check_mode:
    support: full
    description: Tells what would become of each request; the devices are told nothing.
  diff_mode:
    support: full
    description: Lists the devices and their answers.
  idempotent:
    support: full
    description: A request that is answered is not there any more.
requirements: [cryptography >= 43]
seealso:
  - module: iotops.fleet.fleet_certificate_requests_info
"""

EXAMPLES = r"""
- name: Sign what devices ask for
  iotops.fleet.fleet_certificate_requests:
    region: eu-west-1
    application: multi-region-iot
    authority: pki/intermediateCA
"""

RETURN = r"""
answers:
  description: What became of each request, the oldest first.
  returned: always
  type: list
  elements: dict
  contains:
    thing_name: {description: The device., type: str, sample: dev-1}
    job_id: {description: Its job., type: str, sample: multi-region-iot-rotate-7}
    answer:
      description: V(accepted), V(later) when the next run has to answer it, or the code of a refusal.
      type: str
      sample: accepted
    message: {description: Why not., type: str, sample: ""}
    certificate_id: {description: The certificate; empty where there is none., type: str, sample: 3a3e}
"""

import traceback
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.options import ISSUING
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

MISSING_LIBRARY = ""
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._rotation.desk import LATER, Answer
    from ansible_collections.iotops.fleet.plugins.module_utils._rotation.opening import desk_of, issuing_of
except ImportError:
    MISSING_LIBRARY = traceback.format_exc()

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "write_region": {"type": "str"},
    **ISSUING,
    "authority": {"type": "path", "required": True},
}


def shown(answer: Answer) -> dict[str, str]:
    """Return an entry of the module's answer."""
    return {
        "thing_name": answer.request.thing_name,
        "job_id": answer.request.job_id,
        **{name: getattr(answer, name) for name in ("answer", "message", "certificate_id")},
    }


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """Answer all requests and return the module's result."""
    params, region = module.params, str(module.region)
    write_region = params["write_region"] or region
    replica = Replica(module.client("dynamodb", region=write_region), params["application"], write_region)
    desk = desk_of(module, region, replica)
    answers = desk.answer(desk.requests(), issuing_of(params), check_mode=module.check_mode)
    answers.sort(key=lambda each: (each.request.requested_at, each.request.thing_name))
    done = [each for each in answers if each.answer != LATER]
    lines = "".join(f"{each.request.thing_name}: {each.answer}\n" for each in done)
    return {
        "changed": bool(done),
        "answers": [shown(each) for each in answers],
        "diff": {"before": "", "after": lines},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if MISSING_LIBRARY:
        module.fail_json(msg=missing_required_lib("cryptography >= 43"), exception=MISSING_LIBRARY)
    run_module(module, ensure)


if __name__ == "__main__":
    main()
