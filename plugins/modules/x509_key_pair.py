#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: x509_key_pair
version_added: 0.2.0
short_description: Keep a private key, and its public key beside it
description:
  - Makes a private key (PKCS8, mode 0600) on the controller unless there is one, and writes its public key, and a
    request for a certificate if that is wanted.
  - A private key that is there is never changed, whatever its type.
options:
  path:
    description: File of the private key. Its directory is made with mode 0700 when it is missing.
    type: path
    required: true
  public_path:
    description: File of the public key.
    type: path
    required: true
  key_type:
    description: Type of a new key.
    type: str
    choices: [EC P-256, EC P-384, RSA 2048, RSA 3072, RSA 4096]
    default: EC P-256
  request_path:
    description: File of a certificate signing request (PEM) that is kept for the key. Needs O(common_name).
    type: path
  common_name:
    description: The name in the request.
    type: str
attributes:
  check_mode:
    description: Predicts the result and writes nothing.
    support: full
  diff_mode:
    description: Keys are not shown.
    support: none
  idempotent:
    description: A second run changes nothing.
    support: full
requirements: [cryptography >= 43]
author: The iotops.fleet maintainers (@iotops)
"""

EXAMPLES = r"""
- name: Keep the key of a device
  iotops.fleet.x509_key_pair:
    path: /srv/devices/dev-1/dev-1.key.pem
    public_path: /srv/devices/dev-1/dev-1.pub.pem

- name: Keep a key, and a request that AWS IoT is to sign
  iotops.fleet.x509_key_pair:
    path: pki/claims/lot-7/key.pem
    public_path: pki/claims/lot-7/pub.pem
    request_path: pki/claims/lot-7/csr.pem
    common_name: multi-region-iot-claim-lot-7
"""

RETURN = r"""
key_pair:
  description: The pair, without the private key.
  returned: success
  type: dict
  contains:
    path: {description: File of the private key., type: str, sample: /srv/devices/dev-1/dev-1.key.pem}
    public_path: {description: File of the public key., type: str, sample: /srv/devices/dev-1/dev-1.pub.pem}
    key_type: {description: Its type., type: str, sample: EC P-256}
    public_key: {description: The public key in PEM form; null in the prediction of a new one., type: str}
reasons:
  description: Why something was written.
  returned: success
  type: list
  elements: str
  sample: [made]
"""

from pathlib import Path
from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_key_pair, run_module

KEY_TYPES = ["EC P-256", "EC P-384", "RSA 2048", "RSA 3072", "RSA 4096"]


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "public_path": {"type": "path", "required": True},
            "key_type": {"type": "str", "choices": KEY_TYPES, "default": KEY_TYPES[0], "no_log": False},
            "request_path": {"type": "path"},
            "common_name": {"type": "str"},
        },
        required_together=[("request_path", "common_name")],
        supports_check_mode=True,
    )
    params = module.params
    run_module(
        module,
        lambda: ensure_key_pair(
            path=Path(params["path"]),
            public_path=Path(params["public_path"]),
            key_type=params["key_type"],
            check_mode=module.check_mode,
            request_path=Path(params["request_path"]) if params["request_path"] else None,
            common_name=params["common_name"] or "",
        ),
    )


if __name__ == "__main__":
    main()
