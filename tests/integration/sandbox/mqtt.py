# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and MQTT connections for the sandbox's own tests."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def id(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def files(self, directory: Path, chain: str = "") -> tuple[Path, Path]:
        certificate, key = directory / f"{self.id[:16]}.pem", directory / f"{self.id[:16]}.key"
        certificate.write_text(self.pem + chain)
        key.write_text(self.key_pem)
        return certificate, key


def issue(
    name: str,
    issuer: Issued | None = None,
    *,
    authority: bool = False,
    dns: tuple[str, ...] = (),
    key: Any = None,
    start: int = 0,
    days: int = 30,
    organization: str = "",
) -> Issued:
    """A certificate of ``issuer``, or a self-signed one."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    begin = now + datetime.timedelta(days=start, minutes=-5)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in dns]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def rsa_key() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Device:
    """A paho client that dials an address and asks for another server name."""

    def __init__(
        self, address: str, trust: Path, files: tuple[Path, Path], client_id: str, server_name: str = "iot.example.com"
    ) -> None:
        host, _, port = address.rpartition(":")
        context = ssl.create_default_context(cafile=str(trust))
        context.load_cert_chain(*files)
        self.received: list[tuple[str, bytes]] = []
        self.connected, self.lost, self.acknowledged = threading.Event(), threading.Event(), threading.Event()

        class Client(paho.Client):
            def _create_socket(self) -> ssl.SSLSocket:
                plain = socket.create_connection((host, int(port)), timeout=10)
                return context.wrap_socket(plain, server_hostname=server_name)

        self.client = Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=False)
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_disconnect = lambda *_: self.lost.set()
        self.client.on_message = lambda _c, _u, message: self.received.append((message.topic, message.payload))
        self.client.on_publish = lambda *_: self.acknowledged.set()
        self.client.on_subscribe = lambda *_: self.acknowledged.set()

    def connect(self, seconds: float = 10) -> bool:
        """Whether the broker accepted us."""
        try:
            self.client.connect("unused", 8883, keepalive=30)
        except (ssl.SSLError, ConnectionError):
            return False
        self.client.loop_start()
        for _ in range(int(seconds * 50)):
            if self.connected.wait(0.02):
                return True
            if self.lost.is_set():
                return False
        return False

    def publish(self, topic: str, payload: str) -> bool:
        """QoS 1; whether the broker acknowledged it."""
        self.acknowledged.clear()
        self.client.publish(topic, payload, qos=1)
        return self.acknowledged.wait(5)

    def subscribe(self, topic: str) -> bool:
        self.acknowledged.clear()
        self.client.subscribe(topic, qos=1)
        return self.acknowledged.wait(5)

    def wait_for(self, count: int, seconds: float = 5) -> list[tuple[str, bytes]]:
        """The messages received, once there are ``count`` of them or the time is over."""
        deadline = time.monotonic() + seconds
        while len(self.received) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.received

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
