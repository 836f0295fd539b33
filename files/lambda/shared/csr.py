"""Certificate signing requests as strangers send them."""

from __future__ import annotations

from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

# https://docs.aws.amazon.com/iot/latest/developerguide/x509-client-certs.html, and as the controller signs them
CURVES = (ec.SECP256R1, ec.SECP384R1)
MINIMUM_RSA_BITS = 2048
# RFC 5280, appendix A.1: ub-common-name
MAX_NAME = 64


class UnfitError(Exception):
    """A request that nobody signs; ``code`` is InvalidRequest, NameDiffers or KeyUnsuitable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Wanted(NamedTuple):
    """The key that is to be certified; ``key`` is its SubjectPublicKeyInfo DER, to compare keys by."""

    public_key: Any
    key: bytes

    @classmethod
    def read(cls, pem: str, thing: str) -> Wanted:
        """Of a request the common name and the key count; its signature proves that the device has the key.

        Raises:
            UnfitError: it cannot be read, is not signed with its key, is for another name, or of an unsuitable key.

        """
        try:
            request = x509.load_pem_x509_csr(pem.encode())
            is_proven, public_key = request.is_signature_valid, request.public_key()
            names = [str(part.value) for part in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        except Exception as error:  # of many types, for what a stranger may have written
            raise UnfitError("InvalidRequest", "csr is not a certificate signing request in PEM") from error
        if not is_proven:
            raise UnfitError("InvalidRequest", "csr is not signed with its own key")
        if names != [thing]:
            raise UnfitError("NameDiffers", f"the common name of csr has to be {thing}, once")
        if len(thing) > MAX_NAME:
            raise UnfitError("NameDiffers", f"a common name has at most {MAX_NAME} characters")
        if not is_suitable(public_key):
            raise UnfitError("KeyUnsuitable", "make a key that is RSA of 2048 bits or more, EC P-256 or EC P-384")
        return cls(public_key, _bytes(public_key))


def is_suitable(public_key: Any) -> bool:
    """Whether AWS IoT takes the key."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return public_key.key_size >= MINIMUM_RSA_BITS
    return isinstance(public_key, ec.EllipticCurvePublicKey) and isinstance(public_key.curve, CURVES)


def key_of(pem: str) -> bytes:
    """SubjectPublicKeyInfo DER of a certificate's key; empty where it cannot be read."""
    try:
        return _bytes(x509.load_pem_x509_certificate(pem.encode()).public_key())
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _bytes(public_key: Any) -> bytes:
    encoded: bytes = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded
