#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_ca_certificate_info
version_added: 0.1.0
short_description: Read the CA certificates registered in AWS IoT
description:
  - Reads the CA certificates of one region, all of them or the one that is asked for.
author: The iotops.fleet maintainers
options:
  certificate_path:
    description: Path of a CA certificate in PEM form; only this CA is returned.
    type: path
  certificate_id:
    description: Id of a CA in this region; only this CA is returned.
    type: str
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.reads
seealso:
  - module: iotops.fleet.iot_ca_certificate
"""

EXAMPLES = r"""
- name: Is our issuing CA registered here?
  iotops.fleet.iot_ca_certificate_info:
    region: eu-west-1
    certificate_path: pki/intermediateCA/certs/issuing.cert.pem
  register: __ca

- name: Read all CAs
  iotops.fleet.iot_ca_certificate_info:
    region: eu-west-1
"""

RETURN = r"""
ca_certificates:
  description:
    - The CAs that were found, none being an empty list.
    - The keys are those of RV(iotops.fleet.iot_ca_certificate#module:ca_certificate).
  type: list
  elements: dict
  returned: success
  sample:
    - certificate_id: 4f3c0d...
      status: ACTIVE
      auto_registration_status: ENABLE
      certificate_mode: SNI_ONLY
      not_after: "2036-01-29T12:00:00Z"
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._iot.ca_certificates import (
    describe,
    find,
    list_all,
    summary,
)
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module


def descriptions(iot: Any, *, path: str | None, certificate_id: str | None) -> list[dict[str, Any]]:
    """The descriptions of the CAs asked for."""
    if path:
        found = [find(iot, fingerprint(read_text(path, option="certificate_path")))]
    elif certificate_id:
        found = [describe(iot, certificate_id)]
    else:
        found = [describe(iot, ca["certificateId"]) for ca in list_all(iot)]
    return [description for description in found if description is not None]


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    iot = module.client("iot")
    found = descriptions(iot, path=module.params["certificate_path"], certificate_id=module.params["certificate_id"])
    return {"changed": False, "ca_certificates": [summary(iot, description) for description in found]}


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(
        argument_spec={"certificate_path": {"type": "path"}, "certificate_id": {"type": "str"}},
        mutually_exclusive=[("certificate_path", "certificate_id")],
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
