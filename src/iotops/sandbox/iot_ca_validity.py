# SPDX-License-Identifier: GPL-3.0-or-later
"""DescribeCACertificate tells when the CA's certificate begins and ends, which the base leaves out.

Source: CertificateValidity of the AWS IoT API reference.
"""

from __future__ import annotations

import json
from typing import Any

from cryptography import x509
from ministack.core.responses import json_response
from ministack.services import iot

from iotops.sandbox.patching import replace

__all__ = ["install"]

Answer = tuple[int, dict[str, str], bytes]


def _with_validity(original: Any) -> Any:
    def handle_ca_certificate(method: str, path: str, body: bytes, qp: dict[str, str]) -> Answer:
        answer: Answer = original(method, path, body, qp)
        if method != "GET" or answer[0] != 200:
            return answer
        content = json.loads(answer[2])
        description = content["certificateDescription"]
        certificate = x509.load_pem_x509_certificate(description["certificatePem"].encode())
        description["validity"] = {
            "notBefore": certificate.not_valid_before_utc.timestamp(),
            "notAfter": certificate.not_valid_after_utc.timestamp(),
        }
        return tuple(json_response(content))

    return handle_ca_certificate


def install() -> None:
    """Add the validity to the description."""
    replace(iot, "_handle_ca_certificate", "method, path, body, qp", _with_validity)
