# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._device.session import Endpoint
from ansible_collections.iotops.fleet.plugins.module_utils._device.tls import Identity, client_context


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.10.1:8884", "127.0.10.1", 8884),
        ("a-ats.iot.eu-west-1.amazonaws.com", "a-ats.iot.eu-west-1.amazonaws.com", 8883),
    ],
)
def test_an_address_without_a_port_means_mqtt_over_tls(address, host, port):
    assert Endpoint.parse(address, server_name="iot.example.com") == Endpoint(host, port, "iot.example.com")


def test_a_port_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="mqtt"):
        Endpoint.parse("host:mqtt", server_name="iot.example.com")


def test_a_root_that_is_no_certificate_is_refused(tmp_path: Path):
    nonsense = tmp_path / "root.pem"
    nonsense.write_text("not a certificate")
    identity = Identity("dev-1", nonsense, nonsense, nonsense)
    with pytest.raises(OSError, match="certificate"):
        client_context(identity=identity, server_name="iot.example.com")
