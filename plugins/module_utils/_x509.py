# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""X.509 as the modules that call AWS need it: read, compare, check. Private to this collection.

Comparing needs no parser: a fingerprint is the SHA-256 of the DER. ``cryptography`` is imported only where a
certificate has to be understood, since its import takes longer than a call.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = [
    "certificates",
    "fingerprint",
    "fingerprints",
    "is_missing",
    "key_description",
    "load_private_key",
    "names",
    "read_text",
    "require_key_pair",
    "require_valid_now",
]

_PEM_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def read_text(path: str, *, option: str) -> str:
    """The text of the file given by the module option ``option``.

    Raises:
        FleetError: the file cannot be read.

    """
    try:
        return Path(path).read_text("ascii")
    except OSError as error:
        raise FleetError(
            f"{option}: cannot read {path}: {error.strerror}; give the path of a readable PEM file"
        ) from None
    except UnicodeDecodeError:
        raise FleetError(f"{option}: {path} is not PEM; convert it with openssl, for example -inform DER") from None


def is_missing(path: str) -> bool:
    """Whether the file does not exist: what check mode on an empty controller meets."""
    return not Path(path).exists()


def _ders(pem: str) -> list[bytes]:
    return [base64.b64decode("".join(body.split())) for body in _PEM_CERTIFICATE.findall(pem)]


def fingerprints(pem: str) -> list[str]:
    """SHA-256 of each certificate's DER in lower-case hex, in the order of the file."""
    return [hashlib.sha256(der).hexdigest() for der in _ders(pem)]


def fingerprint(pem: str) -> str:
    """The fingerprint of the first certificate, or the empty string where there is none."""
    return next(iter(fingerprints(pem)), "")


def certificates(pem: str, *, option: str) -> list[Certificate]:
    """Parse all certificates of ``pem``.

    Raises:
        FleetError: there is none, or one that cannot be parsed.

    """
    from cryptography import x509

    try:
        found = [x509.load_der_x509_certificate(der) for der in _ders(pem)]
    except ValueError as error:
        raise FleetError(f"{option}: not a valid X.509 certificate ({error}); make it anew") from None
    if not found:
        raise FleetError(f"{option}: holds no certificate in PEM form (BEGIN CERTIFICATE)")
    return found


def load_private_key(pem: str, *, option: str, passphrase: str | None = None) -> Any:
    """Load a private key, or open one in a token where ``pem`` is its PKCS#11 URI. Messages never quote it.

    Raises:
        FleetError: it cannot be read with this passphrase, or without one.

    """
    if pem.startswith("pkcs11:"):
        return _key_in_token(pem, option=option, pin=passphrase)
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem.encode(), passphrase.encode() if passphrase else None)
    except TypeError:
        remedy = "give its passphrase" if passphrase is None else "it has no passphrase: give none"
        raise FleetError(f"{option}: the private key does not fit the passphrase given; {remedy}") from None
    except ValueError:
        raise FleetError(f"{option}: not a readable PEM private key, or its passphrase is wrong") from None


def _key_in_token(uri: str, *, option: str, pin: str | None) -> Any:
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.token import read_token_key
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.token_uri import TokenUri

    try:
        return read_token_key(TokenUri.parse(uri), pin)
    except PkiError as error:
        raise FleetError(f"{option}: {error}") from None


def require_key_pair(certificate: Certificate, key: Any, *, option: str) -> None:
    """Check that ``key`` is the private key of ``certificate``.

    Raises:
        FleetError: it is another one's.

    """
    if key.public_key() != certificate.public_key():
        raise FleetError(f"{option}: not the private key of {_subject(certificate)}; give the key it was made with")


def require_valid_now(certificate: Certificate, *, option: str) -> None:
    """Check that the certificate is valid at this moment.

    Raises:
        FleetError: it has expired or is not valid yet.

    """
    now = datetime.datetime.now(datetime.UTC)
    if certificate.not_valid_after_utc <= now:
        raise FleetError(
            f"{option}: {_subject(certificate)} expired at {iso(certificate.not_valid_after_utc)}; renew it first"
        )
    if certificate.not_valid_before_utc > now:
        raise FleetError(
            f"{option}: {_subject(certificate)} is not valid before {iso(certificate.not_valid_before_utc)};"
            " wait, or set this machine's clock"
        )


def _subject(certificate: Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without subject"


def names(certificate: Certificate) -> list[str]:
    """DNS names of the subject alternative name, sorted; the common name where there are none (RFC 6125, 6.4.4)."""
    from cryptography import x509

    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = alternative.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        found = []
    common = [str(item.value) for item in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    return sorted({name.lower() for name in found or common})


def key_description(certificate: Certificate) -> str:
    """Type and size of the public key in ACM's words, for example ``RSA_2048`` or ``EC_prime256v1``."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA_{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "EC_" + {"secp256r1": "prime256v1"}.get(key.curve.name, key.curve.name)
    return type(key).__name__
