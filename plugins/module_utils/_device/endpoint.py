# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endpoint as a device meets it: address, TLS, trust, MQTT CONNECT. Private to the collection.

Standard library only, since it runs on devices, and nothing newer than Python 3.9.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MQTT_ALPN = "x-amzn-mqtt-ca"
HTTPS_PORT = 443
# OpenSSL's X509_V_ERR_*.
_NOT_YET_VALID, _EXPIRED, _HOSTNAME_MISMATCH = 9, 10, 62
_REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it does not take this client id",
    3: "it is not available",
    4: "user name or password are wrong",
    5: "not authorised",
}


class Red(Exception):
    """Why a device would not get in, and what to do."""


@dataclass(frozen=True)
class Own:
    """A certificate in a file: its name, id (SHA-256 of the DER), and validity in epoch seconds."""

    common_name: str
    certificate_id: str
    not_before: float
    not_after: float

    @classmethod
    def read(cls, path: str) -> Own:
        """Return the first certificate of a PEM file.

        Raises:
            Red: there is none.

        """
        text = _text(path)
        try:
            # The standard library reads certificates of peers only; this is what its own tests read files with.
            found: dict[str, Any] = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
            der = ssl.PEM_cert_to_DER_cert(text[text.index(ssl.PEM_HEADER) : _end(text)])
        except (ssl.SSLError, ValueError) as error:
            raise Red(f"{path} holds no certificate in PEM: put the device's certificate there") from error
        return cls(_common_name(found), hashlib.sha256(der).hexdigest(), *_validity(found))


@dataclass(frozen=True)
class Target:
    """Where to dial, what to ask for, what to trust, and who to be; without ``certificate`` nobody, and no CONNECT."""

    host: str
    port: int
    server_name: str
    root: str
    certificate: str | None
    private_key: str | None
    client_id: str | None
    alpn: str | None
    timeout: float

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"


@dataclass
class Seen:
    """What was seen, as far as it went; ``reason`` says why it did not go further, empty when all is well."""

    address: str
    server_name: str
    ok: bool = False
    reason: str = ""
    tls_version: str = ""
    cipher: str = ""
    alpn: str = ""
    server_not_after: str = ""
    common_name: str = ""
    certificate_id: str = ""
    not_after: str = ""
    connect: str = "not tried"
    seconds: float = 0.0

    def described(self) -> dict[str, Any]:
        """All of it by name."""
        return asdict(self)


def look(target: Target) -> Seen:
    """Do what a device does when it connects, and say how far that went."""
    seen = Seen(target.address, target.server_name)
    started = time.monotonic()
    try:
        _connect(target, seen)
        seen.ok = True
    except Red as red:
        seen.reason = str(red)
    seen.seconds = round(time.monotonic() - started, 3)
    return seen


def _connect(target: Target, seen: Seen) -> None:
    own = Own.read(target.certificate) if target.certificate else None
    if own:
        seen.common_name, seen.certificate_id, seen.not_after = own.common_name, own.certificate_id, _iso(own.not_after)
    context = _context(target)
    with _dialled(target) as plain, _shaken(context, plain, target) as connection:
        _note_tls(connection, target, seen)
        if own:
            _require_valid(own, target)
            _greet(connection, target.client_id or own.common_name, seen)


def _context(target: Target) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if target.alpn:
        context.set_alpn_protocols([target.alpn])
    _text(target.root)
    try:
        context.load_verify_locations(cafile=target.root)
    except ssl.SSLError as error:
        raise Red(f"{target.root} holds no certificate in PEM: put the fleet's root certificate there") from error
    if target.certificate and target.private_key:
        _text(target.private_key)
        try:
            context.load_cert_chain(target.certificate, target.private_key, password=lambda: b"")
        except ssl.SSLError as error:
            what = "is not the key of" if "MISMATCH" in str(error.reason) else "is no key without passphrase for"
            raise Red(f"{target.private_key} {what} {target.certificate}: put the two that belong together") from error
    return context


def _dialled(target: Target) -> socket.socket:
    try:
        return socket.create_connection((target.host, target.port), timeout=target.timeout)
    except socket.gaierror as error:
        raise Red(f"{target.host} does not resolve ({error.strerror}): look at DNS") from error
    except OSError as error:
        raise Red(f"nobody answers at {target.address} ({error}): look at network and firewall") from error


def _shaken(context: ssl.SSLContext, plain: socket.socket, target: Target) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(plain, server_hostname=target.server_name)
    except ssl.SSLCertVerificationError as error:
        raise Red(
            f"the server's certificate is not trusted ({error.verify_message}): {_remedy(error.verify_code, target)}"
        ) from error
    except OSError as error:
        raise Red(
            f"the TLS handshake was ended ({_short(error)}): see whether {target.server_name} is served there and takes"
            " TLS 1.2 or later"
        ) from error


def _remedy(code: int, target: Target) -> str:
    return {
        _EXPIRED: "replace the server certificate, or set this machine's clock",
        _NOT_YET_VALID: "set this machine's clock",
        _HOSTNAME_MISMATCH: f"{target.server_name} is not served there, ask for a name that is",
    }.get(code, f"see that {target.root} is the fleet's root")


def _note_tls(connection: ssl.SSLSocket, target: Target, seen: Seen) -> None:
    seen.tls_version = connection.version() or ""
    seen.cipher = (connection.cipher() or ("", "", 0))[0]
    seen.alpn = connection.selected_alpn_protocol() or ""
    seen.server_not_after = _iso(_validity(connection.getpeercert() or {})[1])
    if target.alpn and seen.alpn != target.alpn:
        raise Red(f"the server does not speak {target.alpn} (ALPN) at {target.address}: dial port 8883 without it")


def _require_valid(own: Own, target: Target) -> None:
    now = time.time()
    if now > own.not_after:
        raise Red(f"{target.certificate} ended at {_iso(own.not_after)}: give the device another certificate")
    if now < own.not_before:
        raise Red(f"{target.certificate} begins at {_iso(own.not_before)}: set this machine's clock")


def _greet(connection: ssl.SSLSocket, client_id: str, seen: Seen) -> None:
    """CONNECT of MQTT 3.1.1 with a clean session; DISCONNECT once it was accepted."""
    try:
        connection.sendall(_connect_packet(client_id))
        answer = _received(connection, 4)
    except socket.timeout as error:  # noqa: UP041 - not the same before Python 3.10
        seen.connect = "unanswered"
        raise Red("the broker does not answer CONNECT: see whether MQTT is spoken at this port") from error
    except OSError as error:
        seen.connect = "closed"
        raise Red(f"{_CLOSED.format(client_id)} ({_short(error)})") from error
    if len(answer) < 4:
        seen.connect = "closed"
        raise Red(_CLOSED.format(client_id))
    if answer[:2] != b"\x20\x02" or answer[3]:
        seen.connect = "refused"
        raise Red(f"the broker refuses CONNECT as {client_id}: {_REFUSALS.get(answer[3], 'its answer is no CONNACK')}")
    seen.connect = "accepted"
    connection.sendall(b"\xe0\x00")


_CLOSED = (
    "the broker closes the connection at CONNECT: the certificate is unknown, not ACTIVE or revoked in this region, or"
    " may not connect as {}"
)


def _connect_packet(client_id: str) -> bytes:
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name
    low, high = len(body) % 128, len(body) // 128
    return b"\x10" + (bytes([low | 128, high]) if high else bytes([low])) + body


def _received(connection: ssl.SSLSocket, size: int) -> bytes:
    """So many bytes; fewer when the connection was closed."""
    found = b""
    while len(found) < size and (more := connection.recv(size - len(found))):
        found += more
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Red(f"{path} cannot be read ({error.strerror}): put the file there") from error


def _end(text: str) -> int:
    return text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)


def _common_name(found: dict[str, Any]) -> str:
    names = [value for part in found.get("subject", ()) for kind, value in part if kind == "commonName"]
    return str(names[-1]) if names else ""


def _validity(found: dict[str, Any]) -> tuple[float, float]:
    return ssl.cert_time_to_seconds(found["notBefore"]), ssl.cert_time_to_seconds(found["notAfter"])


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _short(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)


__all__ = ["HTTPS_PORT", "MQTT_ALPN", "Own", "Red", "Seen", "Target", "look"]
