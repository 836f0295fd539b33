# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS side of a region's MQTT listener: which server certificate it shows and whom it lets in.

Server certificate: the ACM certificate of the region's ENABLED domain configuration with the name the device asked
for (SNI), read at each handshake so that a re-import is live at once; for any other name the broker's own.
Trust: the region's registered CAs, those that were registered (their devices go on working:
https://docs.aws.amazon.com/iot/latest/developerguide/manage-your-CA-certs.html), the sandbox's own CA and the device
certificates registered without a CA. Which of the trusted certificates may stay connected is the registry's decision,
taken after the handshake.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ssl
import tempfile
import threading
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import get_region
from ministack.services import acm, iot

from iotops.sandbox.addresses import iot_regions, loopback_address
from iotops.sandbox.patching import replace


@dataclass
class _Trusting:
    """A TLS context and what it trusts already."""

    context: ssl.SSLContext
    authorities: set[str] = field(default_factory=set)
    loose: int = 0


_lock = threading.Lock()
_contexts: dict[tuple[str, str], _Trusting] = {}
# PEM of the device certificates that no registered CA vouches for, by region; kept apart from the registry so that a
# handshake costs the same with ten thousand registered devices as with ten.
_without_ca: dict[str, list[str]] = {}
# PEM of the CAs that were registered at a handshake, by region.
_authorities: dict[str, set[str]] = {}


def context_for(region: str, server_name: str | None) -> ssl.SSLContext:
    """The region's TLS context for this server name, with every certificate registered so far among its anchors."""
    material = _server_material(region, server_name)
    key = (region, hashlib.sha256(material.encode()).hexdigest())
    with _lock:
        if key not in _contexts:
            _contexts[key] = _Trusting(_new_context(region, material))
        _load_anchors(region, _contexts[key])
        return _contexts[key].context


def remember_without_ca(region: str, pem: str) -> None:
    """Trust this device certificate by itself in ``region``."""
    _without_ca.setdefault(region, []).append(pem)


def _server_material(region: str, server_name: str | None) -> str:
    """Server certificate, chain and private key as one PEM text."""
    if server_name:
        for (account, at, _name), configuration in list(iot._domain_configurations._data.items()):
            if at == region and _serves(configuration, server_name):
                arn = configuration["serverCertificates"][0]["serverCertificateArn"]
                certificate = acm._certificates.get_scoped(account, region, arn) or {}
                if certificate.get("_private_key"):
                    parts = (certificate["_pem_body"], certificate.get("_pem_chain") or "", certificate["_private_key"])
                    return "\n".join(parts)
    return "".join(iot._mtls_ensure_server_cert())


def _serves(configuration: dict[str, Any], server_name: str) -> bool:
    return (
        str(configuration.get("domainName", "")).lower() == server_name.lower().rstrip(".")
        and configuration.get("domainConfigurationStatus") == "ENABLED"
        and bool(configuration.get("serverCertificates"))
    )


def _new_context(region: str, material: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["x-amzn-mqtt-ca", "mqtt"])
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(material)
        file.flush()
        context.load_cert_chain(file.name)
    context.sni_callback = functools.partial(_client_hello, region)
    return context


def _load_anchors(region: str, trusting: _Trusting) -> None:
    known = _authorities.setdefault(region, set())
    known.update(
        record["certificatePem"] for key, record in list(iot._ca_certificates._data.items()) if key[1] == region
    )
    authorities = {iot.get_ca_cert_pem(), *known} - trusting.authorities
    loose = _without_ca.get(region, [])[trusting.loose :]
    trusting.authorities |= authorities
    trusting.loose += len(loose)
    for pem in (*authorities, *loose):
        with contextlib.suppress(ssl.SSLError):  # a certificate OpenSSL cannot use costs only itself
            trusting.context.load_verify_locations(cadata=pem)


def _client_hello(region: str, connection: Any, server_name: str | None, _context: ssl.SSLContext) -> int | None:
    try:
        if server_name:
            iot._mtls_server_names[connection] = server_name
        connection.context = context_for(region, server_name)
    except Exception:
        iot._mtls_logger.warning("no server certificate for %s in %s", server_name, region, exc_info=True)
        return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
    return None


def _record_trusting(original: Any) -> Any:
    def certificate_record(cert_id: str, cert_pem: str, status: str, ca_id: str | None = None) -> dict[str, Any]:
        record: dict[str, Any] = original(cert_id, cert_pem, status, ca_id)
        if _needs_own_anchor(record):
            remember_without_ca(get_region(), cert_pem)
        return record

    return certificate_record


def _needs_own_anchor(record: dict[str, Any]) -> bool:
    pem = record.get("certificatePem") or ""
    return not record.get("caCertificateId") and not iot.certificate_is_signed_by(pem, iot.get_ca_cert_pem())


def restore_anchors() -> None:
    """After a restart: trust again what was registered without a CA, or through one that is deleted."""
    for (account, region, _id), record in list(iot._certificates._data.items()):
        ca_id = record.get("caCertificateId")
        orphaned = ca_id is not None and iot._ca_certificates.get_scoped(account, region, ca_id) is None
        if orphaned or _needs_own_anchor(record):
            remember_without_ca(region, record["certificatePem"])


def _server_names(original: Any) -> Any:
    def mtls_server_cert_sans() -> tuple[list[str], list[str]]:
        names, addresses = original()
        names += [f"*.iot.{region}.amazonaws.com" for region in iot_regions()]
        names += [f"*.iot.{region}.{iot._MINISTACK_HOST}" for region in iot_regions()]
        addresses += [loopback_address(region) for region in iot_regions()]
        return list(dict.fromkeys(names)), list(dict.fromkeys(addresses))

    return mtls_server_cert_sans


def install() -> None:
    """Keep the anchors of certificates without CA, and name every region in the broker's own certificate."""
    replace(iot, "_certificate_record", "cert_id, cert_pem, status, ca_id", _record_trusting)
    replace(iot, "_mtls_server_cert_sans", "", _server_names)
