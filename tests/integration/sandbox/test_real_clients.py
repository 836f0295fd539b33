# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of others, unchanged: the root CA is their only trust and iot.example.com the name they ask for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.sandbox.fleet import Fleet
from tests.integration.sandbox.mqtt import issue

REGION = "ap-southeast-2"
PYTHON = Path(__file__).parents[3] / ".venv-awsiotsdk/bin/python"
AWS_SDK = """
import concurrent.futures, sys
from awscrt import mqtt5
from awsiot import mqtt5_client_builder

port, certificate, key, root, client_id = sys.argv[1:]
connected, lost = concurrent.futures.Future(), concurrent.futures.Future()
client = mqtt5_client_builder.mtls_from_path(
    endpoint="iot.example.com", port=int(port), cert_filepath=certificate, pri_key_filepath=key, ca_filepath=root,
    client_id=client_id,
    on_lifecycle_connection_success=lambda data: connected.done() or connected.set_result(True),
    on_lifecycle_connection_failure=lambda data: connected.done() or connected.set_result(False),
)
client.start()
if not connected.result(20):
    sys.exit("refused")
packet = mqtt5.PublishPacket(topic="t/1", payload="hello", qos=mqtt5.QoS.AT_LEAST_ONCE)
print(client.publish(packet).result(10).puback.reason_code.name)
client.stop()
"""


@pytest.fixture(scope="module")
def fleet(sandbox, tmp_path_factory):
    fleet = Fleet(sandbox, tmp_path_factory.mktemp("fleet"), (REGION,))
    fleet.serve(REGION)
    return fleet


def test_paho_connects_and_publishes_with_the_root_as_its_only_trust(fleet):
    issued = issue("paho", fleet.ca)
    fleet.activate(REGION, issued)
    device = fleet.device("paho", REGION, issued)
    assert device.connect()
    assert device.publish("t/1", "hello")
    device.close()


def test_the_aws_iot_device_sdk_connects_and_publishes(fleet, tmp_path):
    if not PYTHON.exists():
        pytest.skip("awsiotsdk is not installed: make .venv-awsiotsdk/ok")
    issued = issue("sdk", fleet.ca)
    host, port = fleet.sandbox.regions[REGION]["mqtt"].split(":")
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{host} iot.example.com\n")
    private = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    if subprocess.run([*private, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no private mount namespace here (unshare -rm)")
    files = issued.files(tmp_path, chain=fleet.ca.pem)
    arguments = [port, *map(str, files), str(fleet.trust), "sdk"]
    command = [*private, str(PYTHON), "-c", AWS_SDK, *arguments]
    first = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (first.returncode, first.stderr.strip()) == (1, "refused")
    iot = fleet.sandbox.client("iot", REGION)
    fleet.activate(REGION, issue("any", fleet.ca))  # makes the policy
    iot.update_certificate(certificateId=issued.id, newStatus="ACTIVE")
    arn = iot.describe_certificate(certificateId=issued.id)["certificateDescription"]["certificateArn"]
    iot.attach_policy(policyName="allow", target=arn)
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (second.stdout.strip(), second.stderr) == ("SUCCESS", "")
