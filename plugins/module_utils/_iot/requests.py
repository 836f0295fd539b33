# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate signing requests as AWS IoT takes them. Private to this collection.

AWS answers "CSR violates constraints" to all that is wrong; here it is said what.
https://docs.aws.amazon.com/iot/latest/apireference/API_CreateCertificateFromCsr.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, CertificateSigningRequest

__all__ = ["load", "require_same_key"]

RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1", "secp521r1")


def load(pem: str, *, where: str) -> CertificateSigningRequest:
    """Parse a request (PEM); ``where`` it comes from starts the message.

    Raises:
        FleetError: it cannot be read, is not signed with its own key, or AWS IoT does not take its key.

    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        request = x509.load_pem_x509_csr(pem.encode())
        proven, key = request.is_signature_valid, request.public_key()
    except Exception as error:  # of many types, for what a stranger may have written
        raise FleetError(f"{where}: not a readable certificate request in PEM; have the device make another") from error
    if not proven:
        raise FleetError(f"{where}: the request is not signed with its own key; have the device sign it")
    is_rsa = isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS
    is_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES
    if not (is_rsa or is_curve):
        kind = f"{type(key).__name__.strip('_').removesuffix('PublicKey')} key of {getattr(key, 'key_size', '?')} bits"
        raise FleetError(
            f"{where}: AWS IoT does not take its {kind}; have the device make RSA of {RSA_BITS} bits or more,"
            " P-256, P-384 or P-521"
        )
    return request


def require_same_key(certificate: Certificate, request: CertificateSigningRequest, *, where: str) -> None:
    """Check that the certificate was made of this request or of another one with its key.

    Raises:
        FleetError: it has another key.

    """
    if certificate.public_key() != request.public_key():
        raise FleetError(
            f"{where}: the certificate has another key than the request; move the file away to have the request signed,"
            " or give the request that the certificate was made of"
        )
