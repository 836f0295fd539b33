"""Who is behind a certificate, and whether it is to be trusted.

Pure: a PEM in, a verdict out. No network, no secret, no state; the CA certificates are in the package.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BUNDLES = "ca-bundle*.pem"
# CAs whose devices AWS IoT itself lets in, by a provisioning template.
PROVISIONED = "jitp-ca*.pem"
# https://docs.aws.amazon.com/iot/latest/apireference/API_CreateThing.html
THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
# https://docs.aws.amazon.com/iot/latest/developerguide/x509-client-certs.html
CLIENT_PURPOSES = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
CURVES = {"secp256r1", "secp384r1", "secp521r1"}
MINIMUM_RSA_BITS = 2048

Verdict = dict[str, Any]


class UntrustedError(Exception):
    """The certificate may not come in; the message is the reason, for an operator to read."""


def handler(event: dict[str, str], context: object) -> Verdict:  # noqa: ARG001 - Lambda's signature
    """AWS Lambda's entry point: ``{"pem": ...}`` to the verdict of :func:`identify`."""
    return identify(event["pem"], issuers=bundle(), provisioned=bundle(PROVISIONED), now=datetime.now(UTC))


@cache
def bundle(files: str = BUNDLES, directory: Path = Path(__file__).parent) -> tuple[x509.Certificate, ...]:
    """The CA certificates of the package: every generation that may sign devices, or those of ``PROVISIONED``.

    Raises:
        FileNotFoundError: no generation is there; to call every device a stranger would be worse than to fail.

    """
    found = [ca for path in sorted(directory.glob(files)) for ca in x509.load_pem_x509_certificates(path.read_bytes())]
    if not found and files == BUNDLES:
        raise FileNotFoundError(f"no {BUNDLES} in the package")
    return tuple(found)


def identify(
    pem: str,
    *,
    issuers: Iterable[x509.Certificate],
    provisioned: Iterable[x509.Certificate] = (),
    now: datetime,
) -> Verdict:
    """Return what the certificate says and whether it is to be believed.

    ``trusted`` bool, ``reason`` ("" when trusted), ``thingName`` (its common name; "" when it is no thing name),
    ``certificateId`` (SHA-256 of the DER), ``serial`` (lower-case hex without leading zeros), ``notBefore`` and
    ``notAfter`` (RFC 3339, UTC), ``keyType`` (RSA, EC or another), ``keyBits``, ``issuerFingerprint`` (SHA-256
    of the issuer's DER; "" when the issuer is not ours), ``provisioned`` bool (it is of a CA whose devices AWS IoT lets
    in by a template: whoever waits for activation is AWS IoT's to activate). All hex is lower-case. A text that is no
    certificate has "" and 0 in all of these.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return _verdict(reason="it is not a certificate")
    facts = _facts(certificate)
    try:
        issuer = find_issuer(certificate, [*issuers, *provisioned])
        facts["issuerFingerprint"] = _fingerprint(issuer)
        facts["provisioned"] = issuer in provisioned
        _check_dates(certificate, issuer, now)
        _check_key(certificate)
        _check_purpose(certificate)
        _check_name(certificate)
    except UntrustedError as error:
        return _verdict(reason=str(error), **facts)
    return _verdict(trusted=True, **facts)


def find_issuer(certificate: x509.Certificate, issuers: Iterable[x509.Certificate]) -> x509.Certificate:
    """The CA certificate whose key signed this one.

    Raises:
        UntrustedError: none of ours has its issuer's name, or none of those signed it.

    """
    named = [issuer for issuer in issuers if issuer.subject == certificate.issuer]
    for issuer in named:
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, TypeError, ValueError):
            continue
        return issuer
    raise UntrustedError("its issuer did not sign it" if named else "its issuer is not one of ours")


def _check_dates(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
    if now < certificate.not_valid_before_utc:
        raise UntrustedError(f"it is not valid before {_time(certificate.not_valid_before_utc)}")
    if now > certificate.not_valid_after_utc:
        raise UntrustedError(f"it expired on {_time(certificate.not_valid_after_utc)}")
    if now > issuer.not_valid_after_utc:
        raise UntrustedError(f"its issuer expired on {_time(issuer.not_valid_after_utc)}")


def _check_key(certificate: x509.Certificate) -> None:
    key = _key(certificate)
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MINIMUM_RSA_BITS:
            raise UntrustedError(f"its RSA key has {key.key_size} bits, less than {MINIMUM_RSA_BITS}")
    elif not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise UntrustedError("its key is of a kind that AWS IoT does not take")


def _check_purpose(certificate: x509.Certificate) -> None:
    """Our CA signs servers too; a certificate that names no purpose is for any."""
    try:
        extensions = [extension.value for extension in certificate.extensions]
    except ValueError as error:
        raise UntrustedError("its extensions cannot be read") from error
    for extension in extensions:
        if isinstance(extension, x509.ExtendedKeyUsage) and CLIENT_PURPOSES.isdisjoint(extension):
            raise UntrustedError("it is not for clients")
        if isinstance(extension, x509.BasicConstraints) and extension.ca:
            raise UntrustedError("it is a CA's")


def _check_name(certificate: x509.Certificate) -> None:
    names = _common_names(certificate)
    if len(names) != 1:
        raise UntrustedError(f"it has {len(names)} common names, and not one")
    if not THING_NAME.fullmatch(names[0]):
        raise UntrustedError("its common name is not a thing name")


def _facts(certificate: x509.Certificate) -> Verdict:
    names, key = _common_names(certificate), _key(certificate)
    return {
        "thingName": names[0] if len(names) == 1 and THING_NAME.fullmatch(names[0]) else "",
        "certificateId": _fingerprint(certificate),
        "serial": format(certificate.serial_number, "x"),
        "notBefore": _time(certificate.not_valid_before_utc),
        "notAfter": _time(certificate.not_valid_after_utc),
        "keyType": type(key).__name__.removesuffix("PublicKey") if key else "",
        "keyBits": getattr(key, "key_size", 0),
    }


def _verdict(**facts: Any) -> Verdict:
    unknown: Verdict = dict.fromkeys(
        ("reason", "thingName", "certificateId", "serial", "notBefore", "notAfter", "keyType", "issuerFingerprint"), ""
    )
    return {"trusted": False, "provisioned": False, **unknown, "keyBits": 0, **facts}


def _common_names(certificate: x509.Certificate) -> list[str]:
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def _key(certificate: x509.Certificate) -> Any:
    try:
        return certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return None


def _fingerprint(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
