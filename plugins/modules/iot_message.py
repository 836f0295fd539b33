#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iot_message
version_added: 0.2.0
short_description: Publish a message through AWS IoT
description:
  - Publishes over HTTPS, without a certificate, as the caller's IAM identity allows (C(iot:Publish) on the topic).
    Devices that have subscribed in this region get it.
  - A device of the fleet may subscribe to what is below C(e/<thing>/), so this is how it is sent a command. It is
    connected to one region, and nobody knows to which; publish in each.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  topic:
    description: Where to publish; without C(+) and C(#), at most 256 bytes and 7 slashes.
    type: str
    required: true
  payload:
    description: The message. Text is sent as it is, all else as JSON; at most 128 KiB.
    type: raw
    required: true
  qos:
    description: V(1) is kept for devices with a persistent session that are away.
    type: int
    choices: [0, 1]
    default: 1
  retain:
    description: Keep it for those who subscribe later. An empty O(payload) takes back what was kept.
    type: bool
    default: false
  content_type:
    description: MIME type, for devices that speak MQTT 5.
    type: str
  user_properties:
    description: Names and values, for devices that speak MQTT 5.
    type: dict
  expires_after:
    description: Seconds after which it is of no use any more, for devices that speak MQTT 5.
    type: int
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Checks the inputs, and publishes nothing.
  diff_mode:
    support: none
    description: A message leaves nothing that could be compared.
  idempotent:
    support: none
    description: Each run publishes.
"""

EXAMPLES = r"""
- name: Ask a device to restart
  iotops.fleet.iot_message:
    region: eu-west-1
    topic: e/dev-1/command
    payload: {command: restart, id: 7}

- name: Take back what was kept
  iotops.fleet.iot_message:
    region: eu-west-1
    topic: e/dev-1/configuration
    payload: ""
    retain: true
"""

RETURN = r"""
message:
  description: What was published.
  returned: always
  type: dict
  contains:
    topic: {description: Where., type: str, sample: e/dev-1/command}
    octets: {description: Length of the payload., type: int, sample: 29}
    qos: {description: Quality of service., type: int, sample: 1}
"""

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, run_module

# https://docs.aws.amazon.com/general/latest/gr/iot-core.html
MAX_TOPIC_OCTETS, MAX_SLASHES, MAX_OCTETS = 256, 7, 128 * 1024
# Basic ingest, https://docs.aws.amazon.com/iot/latest/developerguide/iot-basic-ingest.html, does not count.
BASIC_INGEST = "$aws/rules/"
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "topic": {"type": "str", "required": True},
    "payload": {"type": "raw", "required": True},
    "qos": {"type": "int", "choices": [0, 1], "default": 1},
    "retain": {"type": "bool", "default": False},
    "content_type": {"type": "str"},
    "user_properties": {"type": "dict"},
    "expires_after": {"type": "int"},
}


def encoded(payload: Any) -> bytes:
    """Return the octets of a message."""
    text = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    return text.encode()


def require_sense(topic: str, octets: int, expires_after: int | None) -> None:
    """Check what AWS would refuse.

    Raises:
        FleetError: the first input that cannot be.

    """
    if not topic or any(each in topic for each in "+#\0"):
        raise FleetError(f"topic={topic}: a message goes to one topic; write it without + and #")
    counted = topic.removeprefix(BASIC_INGEST).partition("/")[2] if topic.startswith(BASIC_INGEST) else topic
    if len(counted.encode()) > MAX_TOPIC_OCTETS or counted.count("/") > MAX_SLASHES:
        raise FleetError(f"topic={topic}: AWS takes {MAX_TOPIC_OCTETS} bytes and {MAX_SLASHES} slashes; shorten it")
    if octets > MAX_OCTETS:
        raise FleetError(f"payload has {octets} bytes: AWS takes {MAX_OCTETS}; shorten it")
    if expires_after is not None and expires_after < 1:
        raise FleetError(f"expires_after={expires_after} is less than 1: set 1 or more")


@api_call("publish the message", repeatable=False)
def publish(client: Any, **message: Any) -> None:
    """Publish; a device must not get a command twice because an answer was lost."""
    client.publish(**message)


def properties(params: dict[str, Any]) -> dict[str, Any]:
    """Return what MQTT 5 adds."""
    found: dict[str, Any] = {}
    if params["content_type"]:
        found["contentType"] = params["content_type"]
    if params["user_properties"]:
        found["userProperties"] = [{str(name): str(value)} for name, value in params["user_properties"].items()]
    if params["expires_after"]:
        found["messageExpiry"] = params["expires_after"]
    return found


def send(module: AnsibleAWSModule) -> dict[str, Any]:
    """Publish and return the module's result."""
    params = module.params
    topic, payload = params["topic"], encoded(params["payload"])
    require_sense(topic, len(payload), params["expires_after"])
    if not module.check_mode:
        publish(
            module.client("iot-data"),
            topic=topic,
            payload=payload,
            qos=params["qos"],
            retain=params["retain"],
            **properties(params),
        )
    return {"changed": True, "message": {"topic": topic, "octets": len(payload), "qos": params["qos"]}}


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), send)


if __name__ == "__main__":
    main()
