#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_certificate_info
version_added: 0.3.0
short_description: Read a certificate that is registered in AWS IoT
description:
  - Reads one client certificate of one region, with its policies and things.
author: The iotops.fleet maintainers
options:
  certificate_path:
    description:
      - Path of the certificate in PEM form. Exactly one of O(certificate_path) and O(certificate_id) is needed.
    type: path
  certificate_id:
    description: Id of the certificate, the same in every region.
    type: str
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.reads
seealso:
  - module: iotops.fleet.iot_certificate
"""

EXAMPLES = r"""
- name: Is this certificate registered here?
  iotops.fleet.iot_certificate_info:
    region: eu-west-1
    certificate_path: pki/claims/lot-7/cert.pem
  register: __certificate
"""

RETURN = r"""
certificates:
  description:
    - The certificate, or an empty list when it is not registered.
    - The keys are those of RV(iotops.fleet.iot_certificate#module:certificate).
  type: list
  elements: dict
  returned: success
  sample:
    - certificate_id: 4f3c0d...
      status: ACTIVE
      certificate_mode: DEFAULT
      not_after: "2049-12-31T23:59:59Z"
      policies: [multi-region-iot-claim]
      things: []
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._iot.certificates import describe, summary
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import certificates, fingerprint, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module


def wanted_id(params: dict[str, Any]) -> str:
    """Id of the certificate asked for."""
    if params["certificate_id"]:
        return str(params["certificate_id"])
    pem = read_text(params["certificate_path"], option="certificate_path")
    certificates(pem, option="certificate_path")
    return fingerprint(pem)


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    iot = module.client("iot")
    found = describe(iot, wanted_id(module.params))
    return {"changed": False, "certificates": [summary(iot, found)] if found else []}


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(
        argument_spec={"certificate_path": {"type": "path"}, "certificate_id": {"type": "str"}},
        mutually_exclusive=[("certificate_path", "certificate_id")],
        required_one_of=[("certificate_path", "certificate_id")],
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
