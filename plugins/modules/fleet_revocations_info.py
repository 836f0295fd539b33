#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_revocations_info
version_added: 0.3.0
short_description: Prove that every region refuses what was revoked
description:
  - Watches all regions at once until each has the keys in its table C(revocations), has applied the rows, and has the
    certificates REVOKED in AWS IoT, or not registered where it never saw them.
  - Where the controller has a device's key, the device then connects to each region over MQTT with mutual TLS, and has
    to be refused. Where it has none, RV(refusals[].attempt) says so.
  - That a region does not refuse in time is no failure of the module; RV(missing) names it.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  revocations:
    description: What was revoked, as M(iotops.fleet.fleet_revocations) returns it.
    type: list
    elements: dict
    required: true
    suboptions:
      thing_name: {description: The device., type: str, default: ""}
      certificate_id: {description: AWS IoT's id., type: str, default: ""}
      key: {description: "C(serial:<issuer>:<serial>).", type: str, default: ""}
      device: {description: Whether the whole device is revoked., type: bool, default: false}
      seen: {description: Whether a row has it., type: bool, default: true}
      named: {description: Not used., type: bool, default: true}
      reason: {description: Not used., type: str, default: ""}
      pending: {description: Not used., type: bool, default: false}
  began_at:
    description: When the command was given, in seconds since 1970; default is now.
    type: float
  endpoints:
    description:
      - The regions; the value is the address to dial, C(host) or C(host:port).
      - An empty value dials the region's own C(iot:Data-ATS) endpoint, port 8883.
    type: dict
    required: true
  server_name:
    description: The fleet's domain; sent as server name and expected in the server's certificate.
    type: str
    required: true
  root_certificate_path:
    description: PEM file of the root, the only certificate that the devices trust.
    type: path
    required: true
  clients_path:
    description: Directory with the devices' certificates and keys, C(<name>/<name>.cert.pem) or C(<name>.cert.pem).
    type: path
    required: true
  timeout:
    description: Seconds in which every region has to refuse.
    type: int
    default: 120
  threads:
    description: Calls and connections at a time in each region.
    type: int
    default: 8
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
requirements:
  - paho-mqtt >= 2.0
attributes:
  check_mode:
    support: full
    description: Nothing is asked and nothing is connected to; the answer is empty.
  diff_mode:
    support: N/A
    description: Changes nothing, so there is nothing to show.
  idempotent:
    support: full
    description: Changes nothing.
seealso:
  - module: iotops.fleet.fleet_revocations
"""

EXAMPLES = r"""
- name: Prove that both regions refuse
  iotops.fleet.fleet_revocations_info:
    region: eu-west-1
    application: multi-region-iot
    revocations: "{{ revoked.revocations }}"
    began_at: "{{ revoked.began_at }}"
    endpoints: {eu-west-1: "", us-west-2: ""}
    server_name: iot.example.com
    root_certificate_path: pki/rootCA/certs/root.cert.pem
    clients_path: pki/clients
"""

RETURN = r"""
refusals:
  description: One entry for each certificate and region.
  returned: always
  type: list
  elements: dict
  contains:
    region: {description: The region., type: str, sample: eu-west-1}
    thing_name: {description: The device., type: str, sample: dev-1}
    certificate_id: {description: The certificate., type: str, sample: 3a3e0a}
    key: {description: "C(serial:<issuer>:<serial>).", type: str, sample: "serial:9f:5f3a"}
    state: {description: State of the device's row there., type: str, sample: REVOKED}
    status: {description: What AWS IoT says of the certificate there., type: str, sample: REVOKED}
    attempt: {description: What the device saw when it connected., type: str, sample: "refused: CONNECT refused"}
    refused: {description: Whether all that was to be shown was shown., type: bool, sample: true}
    why: {description: What was missing at last; empty when it is refused., type: str, sample: ""}
    seconds: {description: From O(began_at) to the evidence; null when it is not refused., type: float, sample: 1.4}
missing:
  description: What is not refused, where, and why.
  returned: always
  type: list
  elements: str
  sample: ["dev-1 3a3e0a in us-west-2: its certificate is ACTIVE"]
"""

import time
import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._registry.revoking import Target
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, run_module

PAHO_ERROR = ""
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._device.session import Endpoint
    from ansible_collections.iotops.fleet.plugins.module_utils._device.tls import Identity
    from ansible_collections.iotops.fleet.plugins.module_utils._refusal.watch import Outcome, Watch, watch_all
except ImportError:
    PAHO_ERROR = traceback.format_exc()

TARGET: dict[str, dict[str, Any]] = {
    "thing_name": {"type": "str", "default": ""},
    "certificate_id": {"type": "str", "default": ""},
    "key": {"type": "str", "default": "", "no_log": False},
    "device": {"type": "bool", "default": False},
    "seen": {"type": "bool", "default": True},
    "named": {"type": "bool", "default": True},
    "reason": {"type": "str", "default": ""},
    "pending": {"type": "bool", "default": False},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "revocations": {"type": "list", "elements": "dict", "options": TARGET, "required": True},
    "began_at": {"type": "float"},
    "endpoints": {"type": "dict", "required": True},
    "server_name": {"type": "str", "required": True},
    "root_certificate_path": {"type": "path", "required": True},
    "clients_path": {"type": "path", "required": True},
    "timeout": {"type": "int", "default": 120},
    "threads": {"type": "int", "default": 8},
}


@api_call("describe the region's data endpoint")
def data_endpoint(client: Any) -> str:
    """Return the host name of the account's data endpoint in the client's region."""
    return str(client.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"])


def endpoint_of(module: AnsibleAWSModule, region: str) -> Endpoint:
    """Return where devices dial in a region.

    Raises:
        FleetError: the address is not ``host`` or ``host:port``.

    """
    address = module.params["endpoints"][region] or data_endpoint(module.client("iot", region=region))
    try:
        return Endpoint.parse(address, server_name=module.params["server_name"])
    except ValueError:
        raise FleetError(f"endpoints[{region}]={address} is not host or host:port") from None


def identities(params: dict[str, Any], targets: list[Target]) -> dict[str, Identity]:
    """Return the devices whose key is here with the certificate that was revoked, by certificate id."""
    root, found = Path(params["root_certificate_path"]), {}
    for each in targets:
        for folder in (Path(params["clients_path"]) / each.thing_name, Path(params["clients_path"])):
            certificate, key = (folder / f"{each.thing_name}.{kind}.pem" for kind in ("cert", "key"))
            if key.is_file() and certificate.is_file() and fingerprint(certificate.read_text()) == each.certificate_id:
                found[each.certificate_id] = Identity(each.thing_name, root, certificate, key)
    return found


def shown(region: str, outcome: Outcome) -> dict[str, Any]:
    """Return an entry of the module's answer."""
    return {
        "region": region,
        **{name: getattr(outcome.target, name) for name in ("thing_name", "certificate_id", "key")},
        **{name: getattr(outcome, name) for name in ("state", "status", "attempt", "why", "seconds")},
        "refused": not outcome.why,
    }


def prove(module: AnsibleAWSModule) -> dict[str, Any]:
    """Watch all regions and return the module's answer."""
    params = module.params
    targets = [Target(**each) for each in params["revocations"]]
    if module.check_mode or not targets or not params["endpoints"]:
        return {"changed": False, "refusals": [], "missing": []}
    known = identities(params, targets)
    watches = [
        Watch(
            region=region,
            endpoint=endpoint_of(module, region),
            tables=module.client("dynamodb", region=region),
            iot=module.client("iot", region=region),
            identities=known,
            began_at=params["began_at"] or time.time(),
            **{name: params[name] for name in ("application", "threads")},
        )
        for region in params["endpoints"]
    ]
    outcomes = watch_all(watches, targets, params["timeout"])
    missing = [
        f"{each.target.thing_name} {each.target.certificate_id or each.target.key} in {region}: {each.why}".lstrip()
        for region, each in outcomes
        if each.why
    ]
    return {"changed": False, "refusals": [shown(region, each) for region, each in outcomes], "missing": missing}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if PAHO_ERROR:
        module.fail_json(msg=missing_required_lib("paho-mqtt"), exception=PAHO_ERROR)
    run_module(module, prove)


if __name__ == "__main__":
    main()
