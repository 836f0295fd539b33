#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_signed_requests
version_added: 0.3.0
short_description: Have AWS IoT sign a folder of certificate requests, and register their devices
description:
  - Has AWS IoT sign each certificate request of a folder, in the region of the module and within its quota, and keeps
    the certificates in a folder, C(<name>.cert.pem) each. The common name of the request is the name of the device.
  - Then writes the first row of each device as M(iotops.fleet.fleet_registrations) does. Every region follows by
    itself, and in the others the certificate is registered without a CA.
  - A request is signed once. A certificate that is in the folder or in the row of the device is the one that is meant,
    so a run that was killed is finished by the next one. Until its device has a row a certificate is INACTIVE.
  - A certificate that is in the folder and in no row counts when it is one that AWS IoT signed in that region. When its
    device cannot have it any more, and nobody uses it, it is deleted.
  - Leaves alone, and names, what is no request, is not signed with its own key, has a key that AWS does not take or a
    name that no thing can have; whose name is taken, revoked, or not on the allow-list where that is asked; and whose
    certificate in the folder is of another key or another issuer.
  - That is no failure of the module, nor is a region that has not applied a row; RV(requests.refused) and
    RV(requests.missing) name them.
author: The iotops.fleet maintainers
options:
  requests:
    description: Folder of the certificate requests in PEM form, files C(*.csr), C(*.pem) and C(*.req).
    type: path
    required: true
  certificates:
    description: Folder of the certificates, which has to exist; that of the requests without this option.
    type: path
  regions:
    description: The regions that are to follow. Their quotas count.
    type: list
    elements: str
    required: true
  allow_list:
    description: Whether a name has to be on the table C(allow-list).
    type: bool
    default: false
  quota_share:
    description: Part of each quota that may be used, more than 0 and at most 1. Live devices keep the rest.
    type: float
    default: 0.5
  machine_type:
    description: Type of the state machines, by which the price is estimated.
    type: str
    choices: [EXPRESS, STANDARD]
    default: EXPRESS
  timeout:
    description: Seconds without any progress after which the module stops waiting for the regions.
    type: int
    default: 300
  threads:
    description: Calls to AWS at a time.
    type: int
    default: 8
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
    description: Counts and names, and estimates the time and the price.
  diff_mode:
    support: full
    description: Lists the first 100 devices that get a certificate or a row.
  idempotent:
    support: full
    description: Devices that have their certificate and their row stay as they are.
seealso:
  - module: iotops.fleet.fleet_registrations
  - module: iotops.fleet.iot_certificate
"""

EXAMPLES = r"""
- name: Have the requests of a production lot signed
  iotops.fleet.fleet_signed_requests:
    region: eu-west-1
    application: multi-region-iot
    requests: /srv/lots/2026-11
    regions: [eu-west-1, us-west-2]
"""

RETURN = r"""
requests:
  description: What was done, or would be in check mode.
  returned: always
  type: dict
  contains:
    found: {description: "Requests in the folder, readable or not.", type: int, sample: 100}
    signed: {description: Requests that were signed., type: int, sample: 96}
    restored: {description: Certificates that were in the row only., type: int, sample: 0}
    removed: {description: Certificates of an earlier run that no row could get., type: int, sample: 0}
    written: {description: Rows that were written., type: int, sample: 96}
    known: {description: Devices whose row had the certificate., type: int, sample: 0}
    refused_count: {description: Requests that were left alone., type: int, sample: 4}
    refused:
      description: All of them.
      type: list
      elements: dict
      sample:
        - {file: dev-7.csr, name: "", why: "not a readable certificate request in PEM; have the device make another"}
    missing_count: {description: Rows that a region has not applied., type: int, sample: 0}
    missing: {description: The first of them., type: list, elements: str, sample: ["dev-9 in us-west-2: not applied"]}
    devices_per_second: {description: What the quotas allow., type: float, sample: 5.0}
    bound_by: {description: The quota that decides., type: str, sample: "RegisterCertificate in eu-west-1, 10 a second"}
    quotas: {description: Where the quotas are known from by region., type: dict, sample: {eu-west-1: Service Quotas}}
    seconds: {description: Estimate for those that are new., type: int, sample: 32}
    usd: {description: "Estimate for those that are new, at the list prices of us-east-1.", type: float, sample: 0.01}
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.account import partition_and_account
from ansible_collections.iotops.fleet.plugins.module_utils._aws.pace import Pace
from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas, read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._registration.budget import Budget
from ansible_collections.iotops.fleet.plugins.module_utils._registration.estimate import estimate
from ansible_collections.iotops.fleet.plugins.module_utils._registration.inputs import followers_of, require_sense
from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import CALLS
from ansible_collections.iotops.fleet.plugins.module_utils._registration.rows import Home
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

MISSING_LIBRARY = ""
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._registration.registrar import Registrar
    from ansible_collections.iotops.fleet.plugins.module_utils._registration.requested import (
        Certificates,
        RequestFolder,
    )
    from ansible_collections.iotops.fleet.plugins.module_utils._registration.signing import LOOKING, SIGNING, Signing
except ImportError as error:
    if not str(error.name).startswith("cryptography"):
        raise
    MISSING_LIBRARY = missing_required_lib("cryptography >= 43")

SHOWN = 100
MISSING_SHOWN = 20
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "requests": {"type": "path", "required": True},
    "certificates": {"type": "path"},
    "regions": {"type": "list", "elements": "str", "required": True},
    "allow_list": {"type": "bool", "default": False},
    "quota_share": {"type": "float", "default": 0.5},
    "machine_type": {"type": "str", "choices": ["EXPRESS", "STANDARD"], "default": "EXPRESS"},
    "timeout": {"type": "int", "default": 300},
    "threads": {"type": "int", "default": 8},
    "progress_path": {"type": "path"},
}


def require_folder(path: str | None) -> None:
    """Check that the folder of the certificates exists; raise FleetError when it does not."""
    if path and not Path(path).is_dir():
        raise FleetError(f"certificates: there is no folder {path}; make it first")


def signing_of(module: AnsibleAWSModule) -> Signing:
    """Return what is to be signed, in the region of the module."""
    params = module.params
    return Signing(
        dynamodb=module.client("dynamodb"),
        iot=module.client("iot"),
        application=params["application"],
        folder=RequestFolder(Path(params["requests"])),
        certificates=Certificates(Path(params["certificates"] or params["requests"])),
        allow_list=params["allow_list"],
    )


def registrar_of(module: AnsibleAWSModule, signing: Signing) -> Registrar:
    """Return who writes the rows of the certificates there are."""
    params, region = module.params, str(module.region)
    partition, account = partition_and_account(module.client("sts"))
    return Registrar(
        client=signing.dynamodb,
        home=Home(application=params["application"], partition=partition, region=region, account=account),
        issued=signing.certificates,
        allow_list=params["allow_list"],
        threads=params["threads"],
        report=lambda line: write_progress(params["progress_path"], line),
    )


def quotas_of(module: AnsibleAWSModule) -> dict[str, Quotas]:
    """The quotas of the regions that follow, and of the one that signs."""
    regions = dict.fromkeys([*module.params["regions"], str(module.region)])
    calls = [*CALLS, SIGNING, LOOKING]
    return {each: read_quotas(module.client("service-quotas", region=each), each, calls) for each in regions}


def pace_of(signing: Signing, operation: str, rate: float) -> Pace:
    """Calls of an operation that keep to its rate, and are fewer where AWS throttles."""
    pace = Pace(rate)
    pace.watch(signing.iot, operation)
    return pace


def process(module: AnsibleAWSModule) -> dict[str, Any]:
    """Sign, register, and return the module's result."""
    params = module.params
    require_sense(params)
    if not module.check_mode:
        require_folder(params["certificates"])
    signing, known = signing_of(module), quotas_of(module)
    rates = {call: known[str(module.region)].per_second[call] * params["quota_share"] for call in (SIGNING, LOOKING)}
    quotas = [known[region] for region in params["regions"]]
    budget = Budget(quotas, params["quota_share"], clock=time.monotonic)
    followers, registrar = followers_of(module), registrar_of(module, signing)
    signing.plan(pace_of(signing, LOOKING, rates[LOOKING]), registrar.report)
    to_sign = [request.name for request in signing.new]
    if not module.check_mode:
        signing.sign(pace_of(signing, SIGNING, rates[SIGNING]), params["threads"], registrar.report)
    plan = registrar.plan()
    new = sorted({device.name for device in plan.new} | (set(to_sign) if module.check_mode else set()))
    expected = estimate(len(new), budget, quotas, params["machine_type"])
    written, missing = 0, []
    if not module.check_mode:
        for each in followers:
            each.expect(plan.known)
        written = registrar.write(plan, budget, followers, params["timeout"])
        registrar.wait(followers, params["timeout"])
        missing = [line for each in followers for line in each.missing()]
    signing.settle(plan.refused, check_mode=module.check_mode)
    refused = sorted(signing.folder.refused, key=lambda each: each.file)
    done = {*new, *to_sign, *signing.lost} - {each.name for each in refused}
    changed = sorted({*done, *signing.removed})
    return {
        "changed": bool(changed),
        "requests": {
            "found": signing.folder.found,
            "signed": len(to_sign) if module.check_mode else len(signing.signed),
            "restored": len(signing.lost),
            "removed": len(signing.removed),
            "written": written,
            "known": len(plan.known),
            "refused_count": len(refused),
            "refused": [{"file": each.file, "name": each.name, "why": each.why} for each in refused],
            "missing_count": len(missing),
            "missing": missing[:MISSING_SHOWN],
            **expected,
            "seconds": expected["seconds"] + round(len(to_sign) / rates[SIGNING]),
        },
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in shown(changed))},
    }


def shown(names: list[str]) -> list[str]:
    """The part of the names that a diff shows."""
    more = len(names) - SHOWN
    return [*names[:SHOWN], *([f"and {more} more"] if more > 0 else [])]


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if MISSING_LIBRARY:
        module.fail_json(msg=MISSING_LIBRARY)
    run_module(module, process)


if __name__ == "__main__":
    main()
