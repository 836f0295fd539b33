#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: x509_server_certificate_successor
version_added: 0.2.0
short_description: Keep the successor of a server certificate beside it until it takes its place
description:
  - Issues the successor of a server certificate that M(iotops.fleet.x509_server_certificate) made, with a new key, into
    the directory C(next) beside it. Names, key type and size and signature algorithm are those of the present one,
    since AWS takes up nothing else under an ARN that exists.
  - With O(names) it is a replacement, which goes under an ARN of its own and may differ in all of that.
  - The present pair stays as it is until O(state=taken), so that it can be put back.
  - What a killed run left is finished by the next one; nothing is issued twice.
options:
  path:
    description: Directory of the server's files.
    type: path
    required: true
  authority:
    description:
      - Directory of the issuing CA. When another one issued the present certificate a successor is due; the chain of
        that one is looked for in the directories beside this one.
    type: path
    required: true
  state:
    description:
      - V(present) issues a successor when one is due, unless it is there. V(taken) puts it into the place of the
        present certificate, whose key is gone then. V(absent) removes it.
    type: str
    choices: [present, taken, absent]
    default: present
  days:
    description: Lifetime of the successor in days. It ends no later than the CA.
    type: int
    default: 375
  renew_before:
    description: A successor is due when the present certificate expires within this many days.
    type: int
    default: 60
  renew:
    description: A successor is due now.
    type: bool
    default: false
  names:
    description:
      - DNS names of a replacement; the key type is the one that O(authority) gives to servers. A successor is due when
        the present certificate has others. One that was issued already stays as it is.
    type: list
    elements: str
  passphrase:
    description: Passphrase of the CA's private key, needed only when a certificate is issued.
    type: str
requirements: [cryptography >= 43]
attributes:
  check_mode:
    description: Predicts the result and writes nothing, no key either.
    support: full
  diff_mode:
    description: Says what is issued and why, what is replaced or removed.
    support: full
  idempotent:
    description: A second run changes nothing, unless O(renew) is set and the successor was taken in between.
    support: partial
seealso:
  - module: iotops.fleet.x509_server_certificate
author: The iotops.fleet maintainers
"""

EXAMPLES = r"""
- name: Issue the successor when less than sixty days are left
  iotops.fleet.x509_server_certificate_successor:
    path: /srv/pki/server
    authority: /srv/pki/intermediateCA

- name: Issue a replacement by a CA with another kind of key
  iotops.fleet.x509_server_certificate_successor:
    path: /srv/pki/server
    authority: /srv/pki/intermediateCA-G2
    names: [iot.example.com]

- name: Every region serves it now
  iotops.fleet.x509_server_certificate_successor:
    path: /srv/pki/server
    authority: /srv/pki/intermediateCA
    state: taken
"""

RETURN = r"""
current:
  description: The present certificate, with the keys of RV(iotops.fleet.x509_server_certificate#module:server).
  returned: success
  type: dict
  sample: {"certificate": "/srv/pki/server/certs/server.cert.pem", "serial": "5F3A"}
successor:
  description: Its successor, with the same keys; only the paths where check mode predicts it. Null when there is none.
  returned: success
  type: dict
  sample: {"certificate": "/srv/pki/server/next/certs/server.cert.pem", "serial": "77B1"}
reason:
  description: Why there is a successor, or is to be one. Null when none is due.
  returned: success
  type: str
  sample: it was about to expire
differences:
  description:
    - In what the successor differs from the present certificate so that AWS does not take it up under the same ARN, any
      of V(key), V(names), V(signature).
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_successor, run_module


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "authority": {"type": "path", "required": True},
            "state": {"choices": ["present", "taken", "absent"], "default": "present"},
            "days": {"type": "int", "default": 375},
            "renew_before": {"type": "int", "default": 60},
            "renew": {"type": "bool", "default": False},
            "names": {"type": "list", "elements": "str"},
            "passphrase": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    run_module(
        module,
        lambda: ensure_successor(
            path=params["path"],
            authority_path=params["authority"],
            state=params["state"],
            days=params["days"],
            renew_before=params["renew_before"],
            renew=params["renew"],
            passphrase=params["passphrase"],
            names=params["names"],
            check_mode=module.check_mode,
        ),
    )


if __name__ == "__main__":
    main()
