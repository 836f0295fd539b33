#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iot_thing_info
version_added: 0.2.0
short_description: List things of AWS IoT with all their certificates
description:
  - Lists the things of one region that fit, each with every principal that is attached to it and the status of every
    certificate.
  - Without a filter it also lists the certificates that no thing has.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  names:
    description: Only these things, also ranges like V(dev-[001:100]). One that does not exist is left out.
    type: list
    elements: str
  thing_type:
    description: Only things of this type.
    type: str
  attribute_name:
    description: Only things with this attribute.
    type: str
  attribute_value:
    description: Only things of which it is this. Needs O(attribute_name).
    type: str
  certificates:
    description: Whether to ask for the certificates. Without them, 250 things cost one call.
    type: bool
    default: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.reads
  - iotops.fleet.registry_reads
"""

EXAMPLES = r"""
- name: All things of the fleet
  iotops.fleet.iot_thing_info:
    region: eu-west-1
    thing_type: multi-region-iot-device
  register: found

- name: Two of them
  iotops.fleet.iot_thing_info:
    region: eu-west-1
    names: ["dev-[1:2]"]
"""

RETURN = r"""
things:
  description: The things in the order of their names, or as they were named.
  returned: always
  type: list
  elements: dict
  contains:
    thing_name: {description: The name., type: str, sample: dev-1}
    thing_arn: {description: The ARN., type: str}
    thing_type_name: {description: "The type, empty when it has none.", type: str, sample: multi-region-iot-device}
    attributes: {description: The attributes., type: dict, sample: {site: harbour-3}}
    version: {description: How often it was changed., type: int, sample: 2}
    certificates:
      description: Every certificate that is attached.
      returned: with O(certificates)
      type: list
      elements: dict
      sample: [{certificate_id: 3a3e0a, status: ACTIVE, exclusive: false}]
    principals:
      description: What else is attached.
      returned: with O(certificates)
      type: list
      elements: str
certificates_without_thing:
  description: The certificates of the region that no thing has, by id, with their status.
  returned: with O(certificates), without a filter
  type: dict
  sample: {9d5bb4: INACTIVE}
"""

from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._iot.things import (
    OPERATIONS,
    QUOTA_OF,
    Reader,
    Thing,
    certificate_id_of,
)
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

MISSING_LIBRARY = ""
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._devices.named import named_devices
except ImportError as error:
    if not str(error.name).startswith("cryptography"):
        raise
    MISSING_LIBRARY = missing_required_lib("cryptography >= 43")

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "names": {"type": "list", "elements": "str"},
    "thing_type": {"type": "str"},
    "attribute_name": {"type": "str"},
    "attribute_value": {"type": "str"},
    "certificates": {"type": "bool", "default": True},
    "quota_share": {"type": "float", "default": 0.8},
    "threads": {"type": "int", "default": 8},
    "progress_path": {"type": "path"},
}
FILTERS = {"thing_type": "thingTypeName", "attribute_name": "attributeName", "attribute_value": "attributeValue"}


def require_sense(params: dict[str, Any]) -> None:
    """Check the inputs.

    Raises:
        FleetError: the first one that cannot be.

    """
    if not 0 < params["quota_share"] <= 1:
        raise FleetError(f"quota_share={params['quota_share']:g} is not a part: set more than 0 and at most 1")
    if params["threads"] < 1:
        raise FleetError(f"threads={params['threads']} is less than 1: set 1 or more")


def reader_of(module: AnsibleAWSModule) -> Reader:
    """Return who reads, within the quotas of the region."""
    params, region = module.params, str(module.region)
    quotas = read_quotas(module.client("service-quotas"), region, [QUOTA_OF.get(each, each) for each in OPERATIONS])
    return Reader.within(
        module.client("iot"),
        quotas,
        params["quota_share"],
        params["threads"],
        lambda line: write_progress(params["progress_path"], f"{region} {line}"),
    )


def with_certificates(thing: Thing, principals: dict[str, str], statuses: dict[str, str]) -> Thing:
    """Return a thing with all that is attached to it."""
    certificates = {certificate_id_of(arn): kind for arn, kind in principals.items() if certificate_id_of(arn)}
    return {
        **thing,
        "certificates": [
            {"certificate_id": each, "status": statuses.get(each, ""), "exclusive": kind == "EXCLUSIVE_THING"}
            for each, kind in sorted(certificates.items())
        ],
        "principals": sorted(arn for arn in principals if not certificate_id_of(arn)),
    }


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    params = module.params
    require_sense(params)
    filters = {theirs: params[ours] for ours, theirs in FILTERS.items() if params[ours]}
    reader = reader_of(module)
    things = reader.things(named_devices(params["names"])) if params["names"] else reader.all_things(**filters)
    if not params["certificates"]:
        return {"changed": False, "things": things}
    principals = reader.principals(things)
    attached = {certificate_id_of(arn) for arns in principals.values() for arn in arns} - {""}
    everything = not params["names"] and not filters
    statuses = reader.all_statuses() if everything else reader.statuses(attached)
    found = [with_certificates(thing, principals[thing["thing_name"]], statuses) for thing in things]
    loose = {each: status for each, status in sorted(statuses.items()) if each not in attached}
    return {"changed": False, "things": found, **({"certificates_without_thing": loose} if everything else {})}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC,
        mutually_exclusive=[("names", "thing_type"), ("names", "attribute_name")],
        required_by={"attribute_value": ["attribute_name"]},
        supports_check_mode=True,
    )
    if MISSING_LIBRARY:
        module.fail_json(msg=MISSING_LIBRARY)
    run_module(module, read)


if __name__ == "__main__":
    main()
