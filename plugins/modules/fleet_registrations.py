#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_registrations
version_added: 0.3.0
short_description: Register devices before they connect
description:
  - Writes the first row of each device that an issuing CA has issued a certificate to, as the state machine
    C(register-device) would have when the device had connected in this region. Every region follows by itself.
  - Is no faster than a share of the quotas of AWS IoT allows in every region, and never more than a minute ahead of the
    slowest one. Quotas are read from Service Quotas (C(servicequotas:ListServiceQuotas),
    C(servicequotas:ListAWSDefaultServiceQuotas)); where that is not allowed AWS's defaults count.
  - Leaves alone who has a row, whose name, serial number or certificate id is revoked, and who is not on the allow-list
    where that is asked.
  - A run that was killed is finished by the next one. A region that has not applied a row is no failure of the module;
    RV(registrations.missing) names it.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  authority:
    description: Directory of the issuing CA, made by M(iotops.fleet.x509_authority).
    type: path
    required: true
  names:
    description:
      - Names of the devices, also ranges, C(dev-[000001:010000]).
      - Without O(names), O(devices_file) and O(manifest) all valid device certificates in the CA's C(index.txt) count.
      - Of several certificates of a device the newest one is registered.
    type: list
    elements: str
  devices_file:
    description: File of the devices as M(iotops.fleet.x509_device_certificates) takes it.
    type: path
  manifest:
    description:
      - Manifest that M(iotops.fleet.x509_device_certificates) has written. Of an archive it is the only copy of the
        certificates.
    type: path
  regions:
    description: The regions that are to follow. Their quotas count.
    type: list
    elements: str
    required: true
  to_be_issued:
    description:
      - Count devices of O(names) that have no certificate yet as if they had one. Only for check mode, to know who
        would be left alone before certificates are issued.
    type: bool
    default: false
  allow_list:
    description: Whether a name has to be on the table C(allow-list).
    type: bool
    default: false
  policies:
    description:
      - Names of the policies that new devices carry instead of the fleet's own, C(<application>-device). Every region
        has to have them.
      - A device that has its row keeps its policies; change them with M(iotops.fleet.fleet_device).
    type: list
    elements: str
    default: []
  quota_share:
    description: Part of each quota that may be used, more than 0 and at most 1. Live devices keep the rest.
    type: float
    default: 0.5
  machine_type:
    description: Type of the state machines, by which the price is estimated.
    type: str
    choices: [EXPRESS, STANDARD]
    default: EXPRESS
  wait:
    description: Wait until every region has applied the rows of all devices that are registered.
    type: bool
    default: true
  timeout:
    description: Seconds without any progress after which the module stops waiting.
    type: int
    default: 300
  threads:
    description: Calls to DynamoDB at a time.
    type: int
    default: 8
  max_results:
    description: List at most so many devices in RV(registrations.refused) and RV(registrations.missing).
    type: int
    default: 20
  progress_path:
    description: File to which a line with the rate and the time left is added every ten seconds.
    type: path
requirements: [cryptography >= 43]
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
attributes:
  check_mode:
    support: full
    description: Counts, and estimates the time and the price.
  diff_mode:
    support: full
    description: Lists the first 100 devices that get a row.
  idempotent:
    support: full
    description: Devices that have a row are not written.
"""

EXAMPLES = r"""
- name: Register all that was issued
  iotops.fleet.fleet_registrations:
    region: eu-west-1
    application: multi-region-iot
    authority: /srv/pki/intermediateCA
    regions: [eu-west-1, us-west-2]

- name: Register a production lot with all that the quotas allow, and do not wait
  iotops.fleet.fleet_registrations:
    region: eu-west-1
    application: multi-region-iot
    authority: /srv/pki/intermediateCA
    manifest: /srv/lots/2026-11.ndjson
    regions: [eu-west-1, us-west-2]
    quota_share: 1.0
    wait: false
"""

RETURN = r"""
registrations:
  description: What was done, or would be in check mode.
  returned: always
  type: dict
  contains:
    devices: {description: Devices that were meant., type: int, sample: 10000}
    new: {description: Devices without a row., type: int, sample: 9000}
    known: {description: Devices whose row has the certificate., type: int, sample: 998}
    written: {description: Rows that were written., type: int, sample: 9000}
    refused_count: {description: Devices that were left alone., type: int, sample: 2}
    refused:
      description: The first of them.
      type: list
      elements: dict
      sample: [{name: dev-7, why: the device is REVOKED}]
    missing_count: {description: Rows that a region has not applied. 0 without O(wait)., type: int, sample: 0}
    missing: {description: The first of them., type: list, elements: str, sample: ["dev-9 in us-west-2: not applied"]}
    devices_per_second: {description: What the quotas allow., type: float, sample: 5.0}
    bound_by: {description: The quota that decides., type: str, sample: "RegisterCertificate in eu-west-1, 10 a second"}
    quotas: {description: Where the quotas are known from by region., type: dict, sample: {eu-west-1: Service Quotas}}
    seconds: {description: Estimate for those that are new., type: int, sample: 1800}
    usd: {description: "Estimate for those that are new, at the list prices of us-east-1.", type: float, sample: 0.18}
"""

import time
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.account import partition_and_account
from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError, one_line
from ansible_collections.iotops.fleet.plugins.module_utils._registration.budget import Budget
from ansible_collections.iotops.fleet.plugins.module_utils._registration.estimate import estimate
from ansible_collections.iotops.fleet.plugins.module_utils._registration.inputs import followers_of, require_sense
from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._registration.rows import Home
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

MISSING_LIBRARY = ""
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._registration.issued import IssuedDevices
    from ansible_collections.iotops.fleet.plugins.module_utils._registration.registrar import Registrar
except ImportError as error:
    if not str(error.name).startswith("cryptography"):
        raise
    MISSING_LIBRARY = missing_required_lib("cryptography >= 43")

SHOWN = 100
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "authority": {"type": "path", "required": True},
    "names": {"type": "list", "elements": "str"},
    "devices_file": {"type": "path"},
    "manifest": {"type": "path"},
    "regions": {"type": "list", "elements": "str", "required": True},
    "to_be_issued": {"type": "bool", "default": False},
    "allow_list": {"type": "bool", "default": False},
    "policies": {"type": "list", "elements": "str", "default": []},
    "quota_share": {"type": "float", "default": 0.5},
    "machine_type": {"type": "str", "choices": ["EXPRESS", "STANDARD"], "default": "EXPRESS"},
    "wait": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 300},
    "threads": {"type": "int", "default": 8},
    "max_results": {"type": "int", "default": 20},
    "progress_path": {"type": "path"},
}


def issued_devices(params: dict[str, Any]) -> IssuedDevices:
    """Return the devices that are meant.

    Raises:
        FleetError: there is no such CA, or an input cannot be used.

    """
    try:
        return IssuedDevices(
            params["authority"],
            names=params["names"] or (),
            devices_file=params["devices_file"],
            manifest=params["manifest"],
            to_be_issued=params["to_be_issued"],
        )
    except (PkiError, OSError) as error:
        raise FleetError(one_line(error)) from error


def registrar_of(module: AnsibleAWSModule) -> Registrar:
    """Return who writes, in the region of the module."""
    params, region = module.params, str(module.region)
    partition, account = partition_and_account(module.client("sts"))
    return Registrar(
        client=module.client("dynamodb"),
        home=Home(
            application=params["application"],
            partition=partition,
            region=region,
            account=account,
            policies=tuple(params["policies"]),
        ),
        issued=issued_devices(params),
        allow_list=params["allow_list"],
        threads=params["threads"],
        report=lambda line: write_progress(params["progress_path"], line),
    )


def register(module: AnsibleAWSModule) -> dict[str, Any]:
    """Register devices and return the module's result."""
    params = module.params
    require_sense(params)
    if params["to_be_issued"] and not module.check_mode:
        raise FleetError("to_be_issued: without a certificate nothing can be registered; use it in check mode")
    registrar, followers = registrar_of(module), followers_of(module)
    quotas = [read_quotas(module.client("service-quotas", region=region), region) for region in params["regions"]]
    budget = Budget(quotas, params["quota_share"], clock=time.monotonic)
    plan = registrar.plan()
    names = [device.name for device in plan.new]
    expected = estimate(len(names), budget, quotas, params["machine_type"])
    written, missing = 0, []
    if not module.check_mode:
        registrar.report(f"{len(names)} devices are new, which takes about {expected['seconds']} s")
        for each in followers:
            each.expect(plan.known)
        written = registrar.write(plan, budget, followers, params["timeout"])
        if params["wait"]:
            registrar.wait(followers, params["timeout"])
            missing = [line for each in followers for line in each.missing()]
    shown, more = params["max_results"], len(names) - SHOWN
    lines = [*names[:SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return {
        "changed": bool(names),
        "registrations": {
            "devices": len(registrar.issued.devices),
            "new": len(names),
            "known": len(plan.known),
            "written": written,
            "refused_count": len(plan.refused),
            "refused": [{"name": name, "why": why} for name, why in list(plan.refused.items())[:shown]],
            "missing_count": len(missing),
            "missing": missing[:shown],
            **expected,
        },
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in lines)},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC,
        mutually_exclusive=[("names", "devices_file", "manifest")],
        supports_check_mode=True,
    )
    if MISSING_LIBRARY:
        module.fail_json(msg=MISSING_LIBRARY)
    run_module(module, register)


if __name__ == "__main__":
    main()
