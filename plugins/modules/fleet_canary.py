#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_canary
version_added: 0.1.0
short_description: Prove the fleet with one real device
description:
  - Connects to every region over MQTT with mutual TLS as a device does, with the fleet's root as its only trust
    and the fleet's domain as server name.
  - In the first region the device may be refused until it is registered; it is tried again with growing pauses, without
    any other help. In each other region it waits until C(device-status) shows the write of the device's row, and must
    then be accepted at the first attempt. A region that was added after the device became known has no status of it;
    there it is tried again as in the first one.
  - In every region it subscribes to C(e/<thing>/#), publishes to C(i/<thing>/canary), and (O(impostor)) fails to act as
    another device.
  - At last every region's data table must hold every message with the region that it was sent in, and every region's
    status must show the row's write.
author:
  - The iotops.fleet maintainers
options:
  thing_name:
    description: Name of the device, the CN of its certificate.
    type: str
    required: true
  server_name:
    description: The fleet's domain; sent as server name and expected in the server's certificate.
    type: str
    required: true
  root_certificate_path:
    description: PEM file of the root, the only certificate that the device trusts.
    type: path
    required: true
  certificate_path:
    description: PEM file of the device's certificate.
    type: path
    required: true
  private_key_path:
    description: PEM file of the device's private key, without passphrase. It is read here and goes nowhere.
    type: path
    required: true
  endpoints:
    description:
      - The regions to visit, in this order; the value is the address to dial, C(host) or C(host:port).
      - An empty value dials the region's own C(iot:Data-ATS) endpoint, port 8883.
    type: dict
    required: true
  first_region:
    description: The region to visit first; default is the first of O(endpoints).
    type: str
  simultaneous:
    description: Visit all regions at the same moment; then the device may be refused for a while in each.
    type: bool
    default: false
  impostor:
    description: Also try to publish to another device's topic and to connect under another device's name.
    type: bool
    default: true
  inventory_table:
    description: Name of the global table C(device-inventory).
    type: str
    required: true
  status_table:
    description: Name of the regional table C(device-status).
    type: str
    required: true
  data_table:
    description: Name of the global table C(data).
    type: str
    required: true
  timeout:
    description: Seconds after which a step has failed.
    type: int
    default: 60
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
requirements:
  - paho-mqtt >= 2.0
attributes:
  check_mode:
    support: full
    description: Nothing is connected to and nothing is read; the result is that of a skipped task.
  diff_mode:
    support: none
    description: A visit has no state to compare.
  idempotent:
    support: partial
    description: Each run leaves one message per region; only a device that was unknown before is reported as a change.
"""

EXAMPLES = r"""
- name: Prove both regions with the device dev-42
  iotops.fleet.fleet_canary:
    region: eu-west-1
    thing_name: dev-42
    server_name: iot.example.com
    root_certificate_path: pki/rootCA/certs/root.cert.pem
    certificate_path: pki/clients/dev-42/dev-42.cert.pem
    private_key_path: pki/clients/dev-42/dev-42.key.pem
    endpoints: {eu-west-1: "", us-west-2: ""}
    inventory_table: multi-region-iot-device-inventory
    status_table: multi-region-iot-device-status
    data_table: multi-region-iot-data
"""

RETURN = r"""
canary:
  description: What the device saw. Absent in check mode.
  returned: when not in check mode
  type: dict
  contains:
    thing_name: {description: The device., type: str, returned: always, sample: dev-42}
    known: {description: Whether its row existed before., type: bool, returned: always, sample: false}
    write_id: {description: WriteId of its row at the end., type: str, returned: always}
    regions:
      description: One entry for each region, the first visited first.
      returned: always
      type: list
      elements: dict
      contains:
        region: {description: The region., type: str, returned: always, sample: eu-west-1}
        attempts: {description: Attempts to connect., type: int, returned: always, sample: 2}
        refused: {description: Attempts that were refused., type: int, returned: always, sample: 1}
        last_refusal: {description: What the last refused attempt saw., type: str, returned: always}
        accepted_seconds: {description: From the first attempt to the accepted one., type: float, returned: always}
        acknowledged_seconds: {description: From the publication to its acknowledgement., type: float, returned: always}
        stored_seconds:
          description: From the publication to the item in this region's data table.
          type: float
          returned: always
        converged_seconds:
          description: From C(UpdatedAt) of the row to C(AppliedAt) of this region's status.
          type: float
          returned: always
        applied_write_id: {description: C(AppliedWriteId) of this region's status., type: str, returned: always}
"""

import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, run_module

PAHO_ERROR = ""
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._canary.canary import Canary, Place
    from ansible_collections.iotops.fleet.plugins.module_utils._device.session import Endpoint
    from ansible_collections.iotops.fleet.plugins.module_utils._device.tls import Identity, client_context
except ImportError:
    PAHO_ERROR = traceback.format_exc()

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "thing_name": {"type": "str", "required": True},
    "server_name": {"type": "str", "required": True},
    "root_certificate_path": {"type": "path", "required": True},
    "certificate_path": {"type": "path", "required": True},
    "private_key_path": {"type": "path", "required": True, "no_log": False},
    "endpoints": {"type": "dict", "required": True},
    "first_region": {"type": "str"},
    "simultaneous": {"type": "bool", "default": False},
    "impostor": {"type": "bool", "default": True},
    "inventory_table": {"type": "str", "required": True},
    "status_table": {"type": "str", "required": True},
    "data_table": {"type": "str", "required": True},
    "timeout": {"type": "int", "default": 60},
}


@api_call("describe the region's data endpoint")
def data_endpoint(client: Any) -> str:
    """Return the host name of the account's data endpoint in the client's region."""
    return str(client.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"])


def regions_in_order(endpoints: dict[str, str | None], first_region: str | None) -> list[str]:
    """Return the regions, the first to visit first.

    Raises:
        FleetError: no region, or the first one is not among them.

    """
    if not endpoints:
        raise FleetError("endpoints is empty: name at least one region")
    first = first_region or next(iter(endpoints))
    if first not in endpoints:
        raise FleetError(f"first_region={first} is none of the regions to visit: {', '.join(endpoints)}")
    return [first, *(region for region in endpoints if region != first)]


def place(module: AnsibleAWSModule, region: str) -> Place:
    """Return where to dial in a region and how to read its tables.

    Raises:
        FleetError: the address is not ``host`` or ``host:port``.

    """
    address = module.params["endpoints"][region] or data_endpoint(module.client("iot", region=region))
    try:
        endpoint = Endpoint.parse(address, server_name=module.params["server_name"])
    except ValueError:
        raise FleetError(f"endpoints[{region}]={address} is not host or host:port") from None
    return Place(region=region, endpoint=endpoint, tables=module.client("dynamodb", region=region))


def identity_of(params: dict[str, Any]) -> Identity:
    """Return the device, after its files were read once.

    Raises:
        FleetError: a file is missing or they do not belong together.

    """
    paths = {name: Path(params[name]) for name in ("root_certificate_path", "certificate_path", "private_key_path")}
    for name, path in paths.items():
        if not path.is_file():
            raise FleetError(f"{name}={path} is no file: issue it with the role device_certificates")
    identity = Identity(thing_name=params["thing_name"], **paths)
    try:
        client_context(identity=identity, server_name=params["server_name"])
    except OSError as error:
        raise FleetError(f"the certificate and key of {params['thing_name']} cannot be used: {error}") from error
    return identity


def prove(module: AnsibleAWSModule) -> dict[str, Any]:
    """Let the device visit all regions and return the module's result."""
    params = module.params
    regions = regions_in_order(params["endpoints"], params["first_region"])
    if module.check_mode:
        return {"changed": False, "skipped": True}
    canary = Canary(
        identity=identity_of(params),
        places=tuple(place(module, region) for region in regions),
        **{name: params[name] for name in ("simultaneous", "impostor", "timeout")},
        **{name: params[name] for name in ("inventory_table", "status_table", "data_table")},
    ).run()
    return {"changed": not canary["known"], "canary": canary}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if PAHO_ERROR:
        module.fail_json(msg=missing_required_lib("paho-mqtt"), exception=PAHO_ERROR)
    run_module(module, prove)


if __name__ == "__main__":
    main()
