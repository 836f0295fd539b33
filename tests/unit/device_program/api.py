# SPDX-License-Identifier: GPL-3.0-or-later
"""A provisioning API on loopback that knows both protocols, keeps its claims, and can be told what to answer."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from iotops.device.certificates import public_bytes
from tests.certificates import Issued, issue, new_key
from tests.unit.device_program.cloud import AUTHORITY, Requested

REGION, ADDRESS, SERVER_NAME = "eu-west-1", "abc-ats.iot.eu-west-1.amazonaws.com", "iot.example.com"
MOST_SECONDS_OFF = 300


def verify(public, signature: bytes, data: bytes) -> bool:
    """Whether a signature of any of the kinds is right."""
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        else:
            assert isinstance(public, ed25519.Ed25519PublicKey)
            public.verify(signature, data)
    except InvalidSignature:
        return False
    return True


@dataclass
class Api:
    """``scripted``: what it answers first, as (status, headers, body); an exception closes the connection instead."""

    listed: dict = field(default_factory=dict)  # name to public key; "": the key that all devices share
    scripted: deque = field(default_factory=deque)
    asked: list = field(default_factory=list)
    claims: dict = field(default_factory=dict)  # name to (public key, certificate, private key)
    nonces: set = field(default_factory=set)
    seconds_ahead: int = 0
    signer: Any = AUTHORITY
    chain: str = AUTHORITY.pem

    def answer(self, path: str, body: dict) -> tuple[int, dict, object]:
        """What a request is answered."""
        self.asked.append((path, body))
        if self.scripted:
            return self.scripted.popleft()
        return self.v1(body) if path.endswith("/v1/device-provisioning") else self.s2(body)

    def v1(self, body):
        """Our protocol."""
        name, csr, now = body["thingName"], body.get("csr", ""), int(time.time()) + self.seconds_ahead
        digest = hashlib.sha256(csr.encode()).hexdigest()
        signed = f"iotops-provisioning-v1\n{name}\n{body['nonce']}\n{body['timestamp']}\n{digest}".encode()
        known = self.listed.get(name)
        if known is None or not verify(known, base64.b64decode(body["signature"], validate=True), signed):
            return 401, {}, {"code": "NotAuthorized", "message": "not authorized"}
        if abs(now - body["timestamp"]) > MOST_SECONDS_OFF:
            return 401, {}, {"code": "ClockDiffers", "message": "look at the clock", "serverTime": now}
        if body["nonce"] in self.nonces:
            return 409, {}, {"code": "Replayed", "message": "seen before"}
        self.nonces.add(body["nonce"])
        claim = self.claim(name, csr)
        if claim is None:
            return 409, {}, {"code": "AlreadyProvisioned", "message": "with another key"}
        certificate, private = claim
        granted = {
            "thingName": name, "certificatePem": certificate.pem + self.chain, "certificateId": certificate.fingerprint,
            "endpointAddress": ADDRESS, "port": 8883, "serverName": SERVER_NAME, "region": REGION, "distanceKm": 12,
        }  # fmt: skip
        return 200, {}, granted | ({"privateKey": private} if private else {})

    def s2(self, body):
        """Its predecessor's."""
        name = body["thing-name"]
        if not verify(self.listed[""], base64.b64decode(body["thing-name-sig"]), name.encode()):
            return 200, {}, {"status": "error", "message": "wrong sig"}
        claim = self.claim(name, body.get("CSR", ""))
        if claim is None:
            return 200, {}, {"status": "error", "message": "you not"}
        certificate, private = claim
        granted = {
            "status": "success", "endpointAddress": ADDRESS, "certificatePem": certificate.pem, "region": REGION,
            "distance": 464.2,
        }  # fmt: skip
        return 200, {}, granted | ({"PrivateKey": private} if private else {})

    def claim(self, name: str, csr: str) -> tuple[Issued, str] | None:
        """The one certificate of a device; None when it has one of another key."""
        key = Requested(csr) if csr else new_key()
        public = public_bytes(key.public_key())
        if name not in self.claims:
            issued = issue(name, signer=self.signer, key=key)
            self.claims[name] = public, issued, "" if csr else issued.key_pem()
        known, issued, private = self.claims[name]
        return (issued, private) if known == public or private else None


def serve(api: Api, tls: tuple[str, str] | None = None) -> tuple[ThreadingHTTPServer, str]:
    """Start a server; it, and its URL. ``tls``: files of its certificate and key."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = api.answer(self.path, body)
            if isinstance(found, Exception):
                self.close_connection = True
                return
            status, headers, body = found
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *_arguments):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_arguments):
            """A client that turns away."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server, f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
