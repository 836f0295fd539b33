# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate that proves to AWS IoT that we hold a CA's private key (mode DEFAULT).

https://docs.aws.amazon.com/iot/latest/developerguide/register-CA-cert.html
"""

from __future__ import annotations

import datetime

from ansible_collections.iotops.fleet.plugins.module_utils._x509 import certificates, load_private_key

__all__ = ["verification_certificate"]


def verification_certificate(
    *, ca_certificate: str, ca_key: str, passphrase: str | None, registration_code: str
) -> str:
    """A certificate (PEM) with the region's registration code as common name, signed by the CA, valid for a day.

    It is made in memory; the key it names is thrown away, since nobody ever connects with it.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    issuer = certificates(ca_certificate, option="certificate")[0]
    signer = load_private_key(ca_key, option="private_key_path", passphrase=passphrase)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, registration_code)]))
        .issuer_name(issuer.subject)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
