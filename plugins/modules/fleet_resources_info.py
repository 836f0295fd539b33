#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_resources_info
version_added: 0.1.0
short_description: List what a fleet has in one region
description:
  - Lists the resources of one fleet in one region, each kind as a sorted list of plain dicts, and writes nothing.
  - A resource is the fleet's when its name begins with C(<application>-), when it is for the fleet's domain, or when it
    is the registration of the fleet's CA. So no application's name may be another one's beginning.
  - The DNS records that validate the domain belong to all regions, and are listed in each.
author:
  - The iotops.fleet maintainers
options:
  domain:
    description: C(fleet_domain). Without it no certificates of ACM and no DNS records are listed.
    type: str
    default: ""
  hosted_zone_id:
    description: The zone that holds the domain's records. Without it no DNS records are listed.
    type: str
    default: ""
  ca_certificate_paths:
    description:
      - PEM files of the generations of the issuing CA.
      - A file that does not exist stands for a CA that never was.
    type: list
    elements: path
    default: []
  gather_subset:
    description: The kinds to list; V(all) stands for every one.
    type: list
    elements: str
    default: [all]
    choices:
      - all
      - alarms
      - buckets
      - ca_certificates
      - claim_certificates
      - devices
      - dns_records
      - domain_configurations
      - event_buses
      - functions
      - health_checks
      - iam_roles
      - iot_policies
      - log_groups
      - pipes
      - provisioning_templates
      - queues
      - secrets
      - server_certificates
      - stacks
      - state_machines
      - tables
      - thing_types
      - topic_rules
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
"""

EXAMPLES = r"""
- name: List the stacks and the CA of this region
  iotops.fleet.fleet_resources_info:
    region: eu-west-1
    application: multi-region-iot
    ca_certificate_paths: [pki/intermediateCA/certs/issuing.cert.pem]
    gather_subset: [stacks, ca_certificates]
"""

RETURN = r"""
resources:
  description:
    - A list for each kind in O(gather_subset).
    - Entries have C(name), C(id) or C(arn), and what else helps to judge them, such as C(status), or C(parameters) of a
      stack.
    - C(devices) has no or one entry, with the numbers C(things) and C(certificates).
  returned: always
  type: dict
  sample:
    stacks:
      - {name: multi-region-iot-foundation, status: CREATE_COMPLETE, parameters: {Application: multi-region-iot}}
    ca_certificates: []
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._resources.listing import READERS, Scope, read_all
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint, is_missing, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "domain": {"type": "str", "default": ""},
    "hosted_zone_id": {"type": "str", "default": ""},
    "ca_certificate_paths": {"type": "list", "elements": "path", "default": []},
    "gather_subset": {"type": "list", "elements": "str", "default": ["all"], "choices": ["all", *READERS]},
}


def ca_fingerprints(paths: list[str]) -> tuple[str, ...]:
    """Return the fingerprints of the CAs in the files that exist."""
    return tuple(fingerprint(read_text(path, option="ca_certificate_paths")) for path in paths if not is_missing(path))


def gather(module: AnsibleAWSModule) -> dict[str, Any]:
    """List the chosen kinds and return the module's result."""
    params = module.params
    chosen = set(params["gather_subset"])
    kinds = READERS.keys() if "all" in chosen else chosen
    services = {service for kind in kinds for service in READERS[kind].services}
    scope = Scope(
        region=module.region or "",
        ca_fingerprints=ca_fingerprints(params["ca_certificate_paths"]),
        clients={service: module.client(service) for service in sorted(services)},
        **{name: params[name] for name in ("application", "domain", "hosted_zone_id")},
    )
    return {"changed": False, "resources": read_all(scope, kinds)}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    run_module(module, gather)


if __name__ == "__main__":
    main()
