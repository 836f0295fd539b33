#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mqtt_endpoint_info
version_added: 0.3.0
short_description: See whether a device gets in at an MQTT endpoint, and why not
description:
  - Does what a device does when it connects. It resolves and dials an address, asks for a server name (SNI), trusts
    nothing but the fleet's root, shows the device's certificate, and sends CONNECT. Then it goes.
  - What does not work does not make it fail; RV(ok) is false then, and RV(reason) says in one line what to do.
  - It runs on the controller and on devices, and needs nothing but Python 3.9 or later.
  - A broker lets a client id in once. A device that is connected while it is checked is put out, and comes back.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  address:
    description: Where to dial, C(host) or C(host:port); port 8883 without one.
    type: str
    required: true
  server_name:
    description: The name to ask for, which the server's certificate has to have; default is the host of O(address).
    type: str
  root_certificate_path:
    description: PEM file of the root, all that is trusted.
    type: path
    required: true
  certificate_path:
    description: PEM file of the device's certificate. Without it nobody is shown and CONNECT is not tried.
    type: path
  private_key_path:
    description: PEM file of its private key, without passphrase. It is read where the module runs and goes nowhere.
    type: path
  client_id:
    description: The MQTT client id; default is the common name of the certificate.
    type: str
  alpn:
    description:
      - Protocol to ask for in the TLS handshake, and to be given. C(x-amzn-mqtt-ca) is MQTT with a client certificate.
      - By default C(x-amzn-mqtt-ca) at port 443, where AWS IoT needs it, and nothing elsewhere.
    type: str
  timeout:
    description: Seconds to wait for each answer.
    type: int
    default: 10
attributes:
  check_mode:
    description: It changes nothing.
    support: full
seealso:
  - module: iotops.fleet.tls_served_certificate_info
"""

EXAMPLES = r"""
- name: See whether the device gets in
  iotops.fleet.mqtt_endpoint_info:
    address: a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com
    server_name: iot.example.com
    root_certificate_path: /var/lib/iotops-device/dev-1/root.cert.pem
    certificate_path: /var/lib/iotops-device/dev-1/dev-1.cert.pem
    private_key_path: /var/lib/iotops-device/dev-1/dev-1.key.pem
  register: seen
  failed_when: not seen.ok
"""

RETURN = r"""
ok: {description: Whether a device gets in., returned: success, type: bool}
reason: {description: "Why not, and what to do; empty when it does.", returned: success, type: str}
address: {description: What was dialled., returned: success, type: str, sample: "127.0.10.13:8883"}
server_name: {description: What was asked for., returned: success, type: str, sample: iot.example.com}
tls_version: {description: Empty when the handshake did not end well., returned: success, type: str, sample: TLSv1.3}
cipher: {description: The cipher suite., returned: success, type: str, sample: TLS_AES_128_GCM_SHA256}
alpn: {description: The protocol that the server chose., returned: success, type: str, sample: x-amzn-mqtt-ca}
server_not_after:
  description: When the server's certificate ends (RFC 3339).
  returned: success
  type: str
  sample: "2027-01-01T00:00:00Z"
common_name: {description: Of the device's certificate., returned: success, type: str, sample: dev-1}
certificate_id: {description: Of the device's certificate., returned: success, type: str, sample: 3a3e0a}
not_after:
  description: When the device's certificate ends (RFC 3339).
  returned: success
  type: str
  sample: "2027-01-01T00:00:00Z"
connect:
  description: What the broker said to CONNECT; V(accepted), V(refused), V(closed), V(unanswered) or V(not tried).
  returned: success
  type: str
seconds: {description: How long all of it took., returned: success, type: float, sample: 0.021}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils._device.endpoint import HTTPS_PORT, MQTT_ALPN, Target, look

MQTT_PORT = 8883
LARGEST_PORT = 65535


def target(params: dict[str, Any]) -> Target:
    """What the parameters ask for.

    Raises:
        ValueError: the address is none; the message says what to give.

    """
    host, _colon, port = params["address"].partition(":")
    if not host or not (port or "1").isdigit() or not 0 < int(port or MQTT_PORT) <= LARGEST_PORT:
        raise ValueError(f"address={params['address']}: give host or host:port")
    number = int(port or MQTT_PORT)
    return Target(
        host=host,
        port=number,
        server_name=params["server_name"] or host,
        root=params["root_certificate_path"],
        certificate=params["certificate_path"],
        private_key=params["private_key_path"],
        client_id=params["client_id"],
        alpn=params["alpn"] if params["alpn"] is not None else MQTT_ALPN if number == HTTPS_PORT else None,
        timeout=params["timeout"],
    )


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "server_name": {"type": "str"},
            "root_certificate_path": {"type": "path", "required": True},
            "certificate_path": {"type": "path"},
            "private_key_path": {"type": "path", "no_log": False},
            "client_id": {"type": "str"},
            "alpn": {"type": "str"},
            "timeout": {"type": "int", "default": 10},
        },
        required_together=[("certificate_path", "private_key_path")],
        supports_check_mode=True,
    )
    try:
        asked = target(module.params)
    except ValueError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **look(asked).described())


if __name__ == "__main__":
    main()
