#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_account_info
short_description: Read which account the credentials belong to, and prove that the fleet's domain can stand in its zone
version_added: 0.1.0
description:
  - Two calls before anything is changed. Wrong credentials, an unknown or private zone and a domain that is not below
    the zone end in one clear line.
options:
  hosted_zone_id:
    description: Id of the public hosted zone of the fleet.
    type: str
    required: true
  domain:
    description: The name that devices know.
    type: str
    required: true
author: The iotops.fleet maintainers (@iotops)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.reads
"""

EXAMPLES = r"""
- name: Read account and zone
  iotops.fleet.fleet_account_info:
    hosted_zone_id: Z0123456789EXAMPLE
    domain: iot.example.com
  run_once: true
"""

RETURN = r"""
account_id:
  description: Twelve digits.
  returned: always
  type: str
  sample: "123456789012"
caller_arn:
  description: Who the credentials speak for.
  returned: always
  type: str
zone_name:
  description: Name of the zone, without the last dot.
  returned: always
  type: str
  sample: example.com
"""

from typing import TYPE_CHECKING, Any

try:
    from botocore.exceptions import EndpointConnectionError, NoCredentialsError
except ImportError:  # AnsibleAWSModule tells the user
    EndpointConnectionError = NoCredentialsError = Exception

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, error_code, run_module

if TYPE_CHECKING:
    from typing import NoReturn


@api_call("find out whose credentials these are")
def get_caller(client: Any) -> dict[str, str]:
    """STS GetCallerIdentity."""
    caller: dict[str, str] = client.get_caller_identity()
    return caller


def prove_credentials(client: Any) -> dict[str, str]:
    """The caller.

    Raises:
        FleetError: nobody answers, or there are no credentials.

    """
    try:
        return get_caller(client)
    except AnsibleAWSError as error:
        if isinstance(error.exception, EndpointConnectionError):
            raise FleetError(f"{error.exception} Is the sandbox running (make sandbox-up), or the network?") from error
        if isinstance(error.exception, NoCredentialsError):
            raise FleetError(
                "There are no credentials: export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or set fleet_aws_profile"
            ) from error
        raise


@api_call("read the hosted zone")
def get_zone(client: Any, zone_id: str) -> dict[str, Any]:
    """Route 53 GetHostedZone."""
    zone: dict[str, Any] = client.get_hosted_zone(Id=zone_id)["HostedZone"]
    return zone


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's answer.

    Raises:
        FleetError: the zone cannot hold the domain.

    """
    caller = prove_credentials(module.client("sts"))
    domain, zone_id = module.params["domain"], module.params["hosted_zone_id"]
    name = _zone(module.client("route53"), zone_id, caller["Account"])["Name"].rstrip(".")
    if not domain.endswith(f".{name}"):
        raise FleetError(f"fleet_domain is '{domain}': use a name below {name}, the zone {zone_id}")
    return {"changed": False, "account_id": caller["Account"], "caller_arn": caller["Arn"], "zone_name": name}


def _zone(client: Any, zone_id: str, account: str) -> dict[str, Any]:
    try:
        zone = get_zone(client, zone_id)
    except AnsibleAWSError as error:
        if error_code(error) in ("NoSuchHostedZone", "InvalidInput"):
            raise FleetError(f"fleet_hosted_zone_id is '{zone_id}': name a zone that account {account} has") from error
        raise
    if zone.get("Config", {}).get("PrivateZone"):
        raise FleetError(
            f"fleet_hosted_zone_id is '{zone_id}', a private zone: name a public one, which devices can ask"
        )
    return zone


def main() -> NoReturn:
    """Run the module."""
    spec: dict[str, Any] = {
        "hosted_zone_id": {"type": "str", "required": True},
        "domain": {"type": "str", "required": True},
    }
    run_module(AnsibleAWSModule(argument_spec=spec, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
