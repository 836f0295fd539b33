#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secretsmanager_private_key
version_added: 0.3.0
short_description: Keep a private key with its certificate in AWS Secrets Manager
description:
  - Makes the value of a secret the private key in a file, as PKCS8 PEM that is not encrypted, followed by its
    certificate, so that who reads the secret always has the two that belong together.
  - The value is compared with the file's and written only when it differs. It is never returned, shown in a diff or
    logged.
  - A secret that waits for its deletion is restored.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  name:
    description: Name of the secret.
    type: str
    required: true
  state:
    description: V(absent) deletes the secret at once, without a time in which it could be restored.
    type: str
    choices: [present, absent]
    default: present
  private_key_path:
    description:
      - Path of the private key in PEM form. Needed for O(state=present).
      - In check mode a key that is not there yet counts as one that would be kept.
    type: path
  private_key_passphrase:
    description: Opens the key; without it the key is not encrypted. The secret's value never is.
    type: str
  certificate_path:
    description: Path of its certificate in PEM form. Needed for O(state=present).
    type: path
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
    description: Shows tags, and fingerprints of the public key and the certificate.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - plugin: amazon.aws.secretsmanager_secret
    plugin_type: lookup
  - name: Delete a secret
    description: What cannot be undone.
    link: https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_delete-secret.html
"""

EXAMPLES = r"""
- name: Keep the issuing CA's key where the function that signs reads it
  iotops.fleet.secretsmanager_private_key:
    region: eu-west-1
    name: multi-region-iot-issuing-ca
    private_key_path: pki/intermediateCA/private/issuing.key.pem
    private_key_passphrase: "{{ vault_ca_passphrase }}"
    certificate_path: pki/intermediateCA/certs/issuing.cert.pem
    tags:
      Application: multi-region-iot

- name: Delete it
  iotops.fleet.secretsmanager_private_key:
    region: eu-west-1
    name: multi-region-iot-issuing-ca
    state: absent
"""

RETURN = r"""
secret:
  description: The secret, without its value; in check mode as it would be. Null when it is absent.
  returned: success
  type: dict
  contains:
    arn: {description: ARN; null in the prediction of a new one., type: str, sample: "arn:aws:secretsmanager:..."}
    name: {description: Name., type: str, sample: multi-region-iot-issuing-ca}
    public_key_sha256:
      description: SHA-256 of the public key (SubjectPublicKeyInfo); null where the value is none of this module's.
      type: str
      sample: 9f86d081884c7d65...
    certificate_sha256:
      description: SHA-256 of the certificate's DER; null where there is none.
      type: str
      sample: 4f3c0d...
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

from ansible_collections.iotops.fleet.plugins.module_utils._secrets.private_key import Wanted, ensure_present
from ansible_collections.iotops.fleet.plugins.module_utils._secrets.secret import Outcome, ensure_absent
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import is_missing, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module


def ensure(module: AnsibleAWSModule) -> Outcome:
    """Bring the secret to what is wanted."""
    params = module.params
    if params["state"] == "absent":
        return ensure_absent(module.client("secretsmanager"), params["name"], check_mode=module.check_mode)
    if module.check_mode and is_missing(params["private_key_path"]):
        return Outcome(before=None, after={"name": params["name"], "tags": params["tags"] or {}}, reasons=["created"])
    wanted = Wanted(
        private_key=read_text(params["private_key_path"], option="private_key_path"),
        passphrase=params["private_key_passphrase"],
        certificate=read_text(params["certificate_path"], option="certificate_path"),
    )
    return ensure_present(
        module.client("secretsmanager"),
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
    """Entry point."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "private_key_path": {"type": "path", "no_log": False},
            "private_key_passphrase": {"type": "str", "no_log": True},
            "certificate_path": {"type": "path"},
            "tags": {"type": "dict"},
            "purge_tags": {"type": "bool", "default": True},
        },
        required_if=[("state", "present", ["private_key_path", "certificate_path"])],
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
