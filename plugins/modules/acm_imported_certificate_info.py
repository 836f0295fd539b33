#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: acm_imported_certificate_info
version_added: 0.1.0
short_description: Read the certificates imported into AWS Certificate Manager
description:
  - Reads the imported certificates of one region, of every key type, all of them or those asked for.
author: The iotops.fleet maintainers
options:
  name:
    description: Value of the tag C(Name); only certificates that carry it are returned.
    type: str
  certificate_arn:
    description: ARN of a certificate; only this one is returned.
    type: str
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.reads
seealso:
  - module: iotops.fleet.acm_imported_certificate
"""

EXAMPLES = r"""
- name: When does the server certificate expire?
  iotops.fleet.acm_imported_certificate_info:
    region: eu-west-1
    name: multi-region-iot-server
  register: __server
"""

RETURN = r"""
certificates:
  description:
    - The certificates that were found, none being an empty list.
    - The keys are those of RV(iotops.fleet.acm_imported_certificate#module:certificate).
  type: list
  elements: dict
  returned: success
  sample:
    - certificate_arn: arn:aws:acm:eu-west-1:123456789012:certificate/0f0e...
      domain_name: iot.example.com
      not_after: "2027-02-10T12:00:00+00:00"
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._acm.calls import list_imported
from ansible_collections.iotops.fleet.plugins.module_utils._acm.imported import find_tagged, read
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module


def certificates(acm: Any, *, name: str | None, certificate_arn: str | None) -> list[dict[str, Any]]:
    """The certificates asked for."""
    if name:
        return find_tagged(acm, name)
    arns = [certificate_arn] if certificate_arn else [summary["CertificateArn"] for summary in list_imported(acm)]
    return [found for arn in arns if (found := read(acm, arn))]


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    params = module.params
    found = certificates(module.client("acm"), name=params["name"], certificate_arn=params["certificate_arn"])
    return {"changed": False, "certificates": found}


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(
        argument_spec={"name": {"type": "str"}, "certificate_arn": {"type": "str"}},
        mutually_exclusive=[("name", "certificate_arn")],
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
