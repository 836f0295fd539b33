#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secretsmanager_text
version_added: 0.2.0
short_description: Keep a text, such as an access key, in AWS Secrets Manager
description:
  - Makes a secret hold a text, encrypted with Secrets Manager's own key. The text is neither returned nor shown.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  name:
    description: Name of the secret.
    type: str
    required: true
  state:
    description:
      - V(absent) deletes the secret at once, without a time in which it could be restored. One that does not carry all
        of O(tags) is somebody else's and stays.
    type: str
    choices: [present, absent]
    default: present
  value:
    description: The text. Needed for O(state=present).
    type: str
  description:
    description: Description of a new secret.
    type: str
    default: ""
  tags:
    description: Tags of the secret. Without this option they stay as they are.
    type: dict
  purge_tags:
    description: Whether tags that O(tags) does not name are removed.
    type: bool
    default: true
attributes:
  check_mode:
    description: Predicts the result and writes nothing.
    support: full
  diff_mode:
    description: Shows tags.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - module: iotops.fleet.secretsmanager_private_key
"""

EXAMPLES = r"""
- name: Keep the access key of a geolocation service
  iotops.fleet.secretsmanager_text:
    region: eu-west-1
    name: multi-region-iot-ipstack
    value: "{{ vault_ipstack_key }}"
    tags:
      Application: multi-region-iot
"""

RETURN = r"""
secret:
  description: The secret, without its value; in check mode as it would be. Null when it is absent, or not ours.
  returned: success
  type: dict
  contains:
    arn: {description: ARN; null in the prediction of a new one., type: str, sample: "arn:aws:secretsmanager:..."}
    name: {description: Name., type: str, sample: multi-region-iot-ipstack}
    tags: {description: Its tags., type: dict, sample: {"Application": "multi-region-iot"}}
reasons:
  description: What differed, any of V(created), V(restored), V(value changed), V(tags changed), V(deleted).
  returned: success
  type: list
  elements: str
  sample: [value changed]
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._secrets.secret import (
    Outcome,
    Text,
    ensure_absent,
    ensure_text,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module


def ensure(module: AnsibleAWSModule) -> Outcome:
    """Bring the secret to what is wanted."""
    params, secrets = module.params, module.client("secretsmanager")
    if params["state"] == "absent":
        return ensure_absent(secrets, params["name"], tags=params["tags"], check_mode=module.check_mode)
    wanted = Text(value=params["value"], description=params["description"])
    return ensure_text(
        secrets,
        params["name"],
        wanted,
        tags=params["tags"],
        purge_tags=params["purge_tags"],
        check_mode=module.check_mode,
    )


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    outcome = ensure(module)
    return {
        "changed": bool(outcome.reasons),
        "secret": outcome.after,
        "reasons": outcome.reasons,
        "diff": {"before": outcome.before or {}, "after": outcome.after or {}},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "value": {"type": "str", "no_log": True},
            "description": {"type": "str", "default": ""},
            "tags": {"type": "dict"},
            "purge_tags": {"type": "bool", "default": True},
        },
        required_if=[("state", "present", ["value"])],
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
