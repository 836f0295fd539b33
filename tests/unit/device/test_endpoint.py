# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a device gets in or not: handshakes and CONNECTs with a real server of this process."""

from __future__ import annotations

import ast
import contextlib
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import DAY, Issued, issue
from tests.integration.modules import run_module

DOMAIN = "iot.example.com"
ROOT = issue("Demo Root", ca=True)
ISSUING = issue("Demo Issuing CA G1", ca=True, signer=ROOT)
OTHER_ROOT = issue("Another Root", ca=True)
SERVER = issue(DOMAIN, names=[DOMAIN], server=True, signer=ISSUING)
DEVICE = issue("dev-1", signer=ISSUING)
WELCOME = b"\x20\x02\x00\x00"
COLLECTION = Path(__file__).parents[3] / "plugins"


class Broker:
    """Asks for a certificate, reads CONNECT, and answers as told; ``silent`` answers nothing and stays."""

    def __init__(self, directory: Path, server: Issued, answer: bytes | None, alpn: list[str]) -> None:
        pair = directory / "server.pem"
        pair.write_text(server.pem + ISSUING.pem + server.key_pem())
        (directory / "issuing.pem").write_text(ISSUING.pem + ROOT.pem)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair)
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._context.load_verify_locations(directory / "issuing.pem")
        # As AWS IoT does, which knows certificates by themselves.
        self._context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        if alpn:
            self._context.set_alpn_protocols(alpn)
        self._answer, self.heard = answer, b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _address = self._listener.accept()
                with contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as connection:
                    self.heard = connection.recv(1024)
                    if self._answer is None:
                        time.sleep(2)
                    connection.sendall(self._answer or b"")

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def looking(tmp_path: Path) -> Iterator[Any]:
    """Look at a broker with the device's files; ``files`` and the broker's behaviour can be other ones."""
    brokers: list[Broker] = []

    def look(
        *,
        root: str = ROOT.pem,
        device: Issued | None = DEVICE,
        server: Issued = SERVER,
        answer: bytes | None = WELCOME,
        served_alpn: list[str] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        brokers.append(Broker(tmp_path, server, answer, served_alpn or []))
        (tmp_path / "root.pem").write_text(root)
        files = {"root_certificate_path": str(tmp_path / "root.pem")}
        files |= device.write(tmp_path, "device") if device else {}
        wanted = {"address": brokers[-1].address, "server_name": DOMAIN, "timeout": 1, **files, **more}
        return {**run_module("mqtt_endpoint_info", **wanted), "heard": brokers[-1].heard}

    yield look
    for broker in brokers:
        broker.close()


def test_a_device_that_gets_in_is_described(looking: Any) -> None:
    seen = looking()
    assert (seen["ok"], seen["reason"], seen["connect"]) == (True, "", "accepted")
    assert seen["tls_version"] == "TLSv1.3"
    assert seen["server_not_after"] == SERVER.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert seen["not_after"] == DEVICE.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (seen["common_name"], seen["certificate_id"]) == ("dev-1", DEVICE.fingerprint)
    assert not seen["changed"]


@pytest.mark.parametrize("name", ["d", "d" * 64, "d" * 128])
def test_connect_is_mqtt_with_the_clients_id(looking: Any, name: str) -> None:
    heard = looking(client_id=name)["heard"]
    length = 1 if heard[1] < 128 else 2
    size = heard[1] % 128 + (heard[2] * 128 if length == 2 else 0)
    body = heard[1 + length :]
    assert (heard[0], len(body)) == (0x10, size)
    assert body == b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name.encode()


@pytest.mark.parametrize(
    ("given", "connect", "why"),
    [
        ({"answer": b""}, "closed", "unknown, not ACTIVE or revoked in this region, or may not connect as dev-1"),
        ({"answer": b"\x20\x02\x00\x05"}, "refused", "refuses CONNECT as dev-1: not authorised"),
        ({"answer": b"HTTP"}, "refused", "its answer is no CONNACK"),
        ({"answer": None}, "unanswered", "does not answer CONNECT"),
        ({"root": OTHER_ROOT.pem}, "not tried", "root.pem is the fleet's root"),
        ({"root": "nothing"}, "not tried", "root.pem holds no certificate in PEM: put the fleet's root"),
        ({"root_certificate_path": "/nowhere/root.pem"}, "not tried", "/nowhere/root.pem cannot be read .No such file"),
        ({"server_name": "other.example.com"}, "not tried", "other.example.com is not served there"),
        (
            {"server": issue(DOMAIN, names=[DOMAIN], server=True, signer=ISSUING, start=-3 * DAY, days=1)},
            "not tried",
            "not trusted .certificate has expired.: replace the server certificate",
        ),
        (
            {"device": issue("dev-1", signer=ISSUING, start=-3 * DAY, days=1)},
            "not tried",
            "device.cert.pem ended at 20.*: give the device another certificate",
        ),
        (
            {"device": issue("dev-1", signer=ISSUING, start=DAY)},
            "not tried",
            "device.cert.pem begins at 20.*: set this machine's clock",
        ),
        (
            {"device": Issued(DEVICE.certificate, SERVER.key)},
            "not tried",
            "device.key.pem is not the key of .*device.cert.pem",
        ),
        ({"alpn": "x-amzn-mqtt-ca"}, "not tried", "does not speak x-amzn-mqtt-ca"),
        ({"address": "nobody.invalid"}, "not tried", "nobody.invalid does not resolve"),
        ({"address": "127.0.0.1:1"}, "not tried", "nobody answers at 127.0.0.1:1 .*: look at network and firewall"),
    ],
    ids=lambda value: None,
)  # fmt: skip
def test_what_keeps_a_device_out_is_one_line_with_a_remedy(
    looking: Any, given: dict[str, Any], connect: str, why: str
) -> None:
    seen = looking(**given)
    assert (seen["ok"], seen["connect"]) == (False, connect)
    assert re.search(why, seen["reason"]), seen["reason"]
    assert "\n" not in seen["reason"]


def test_a_key_with_a_passphrase_is_said_so_and_nobody_is_asked_for_it(looking: Any, tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    locked.write_text(DEVICE.key_pem("secret"))
    assert "is no key without passphrase" in looking(private_key_path=str(locked))["reason"]


def test_without_a_certificate_only_the_server_is_looked_at(looking: Any) -> None:
    seen = looking(device=None)
    assert (seen["ok"], seen["connect"], seen["tls_version"]) == (True, "not tried", "TLSv1.3")


def test_alpn_is_asked_for_and_told(looking: Any) -> None:
    assert looking(alpn="x-amzn-mqtt-ca", served_alpn=["x-amzn-mqtt-ca"])["alpn"] == "x-amzn-mqtt-ca"


def test_port_443_is_asked_for_mqtt() -> None:
    from ansible_collections.iotops.fleet.plugins.modules.mqtt_endpoint_info import target

    empty = dict.fromkeys(
        ("server_name", "root_certificate_path", "certificate_path", "private_key_path", "client_id", "alpn", "timeout")
    )
    asked = {port: target({**empty, "address": f"iot.example.com{port}"}) for port in ("", ":8883", ":443")}
    assert {port: (each.port, each.alpn) for port, each in asked.items()} == {
        "": (8883, None),
        ":8883": (8883, None),
        ":443": (443, "x-amzn-mqtt-ca"),
    }


@pytest.mark.parametrize("address", ["", ":8883", "host:", "host:x", "host:0", "host:65536"])
def test_what_is_no_address_is_refused(looking: Any, address: str) -> None:
    answer = looking(address=address)
    if address == "host:":  # the port may be left out
        assert "host does not resolve" in answer["reason"]
    else:
        assert answer["msg"] == f"address={address}: give host or host:port"


@pytest.mark.parametrize("path", ["modules/mqtt_endpoint_info.py", "module_utils/_device/endpoint.py"])
def test_it_runs_on_a_device_that_has_python_39_and_nothing_else(path: str) -> None:
    found = ast.parse((COLLECTION / path).read_text(), feature_version=(3, 9))
    names = [each.module or "" for each in ast.walk(found) if isinstance(each, ast.ImportFrom)]
    names += [alias.name for each in ast.walk(found) if isinstance(each, ast.Import) for alias in each.names]
    foreign = {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}
    assert foreign <= {
        "ansible.module_utils.basic",
        "ansible_collections.iotops.fleet.plugins.module_utils._device.endpoint",
    }
