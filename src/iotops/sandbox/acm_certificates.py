# SPDX-License-Identifier: GPL-3.0-or-later
"""ACM as far as a server certificate needs it: what an import contains, what a re-import may change, who uses it.

Rules: https://docs.aws.amazon.com/acm/latest/APIReference/API_ImportCertificate.html,
https://docs.aws.amazon.com/acm/latest/userguide/import-reimport.html
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from ministack.core.responses import error_response_json, get_account_id, json_response
from ministack.services import acm, iot

from iotops.sandbox import x509_facts
from iotops.sandbox.patching import replace

# Without Includes.keyTypes, ListCertificates shows nothing else.
_LISTED_BY_DEFAULT = ("RSA_1024", "RSA_2048")


class _Refused(Exception):
    """A ValidationException of ACM."""


def _import(original: Any) -> Any:
    def import_certificate(data: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        arn = data.get("CertificateArn")
        before = acm._get_local_certificate(arn) if arn else None
        if arn and before is None:
            return tuple(acm._certificate_not_found(arn))
        try:
            facts = _checked(data, before)
        except _Refused as refused:
            return tuple(error_response_json("ValidationException", str(refused), 400))
        answer: tuple[int, dict[str, str], bytes] = original(data)
        if answer[0] < 400:
            record = acm._certificates[json.loads(answer[2])["CertificateArn"]]
            record.update(facts, ImportedAt=record["IssuedAt"])
        return answer

    return import_certificate


def _checked(data: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """What DescribeCertificate will say of the certificate in the request."""
    pem = {name: acm._decode_pem_field(data.get(name)) for name in ("Certificate", "CertificateChain", "PrivateKey")}
    try:
        leaf = x509.load_pem_x509_certificate(pem["Certificate"].encode())
        chain = x509.load_pem_x509_certificates(pem["CertificateChain"].encode()) if pem["CertificateChain"] else []
    except ValueError:
        raise _Refused("Could not parse the certificate or its chain: PEM expected.") from None
    if not x509_facts.key_matches(leaf, pem["PrivateKey"].encode()):
        raise _Refused("The private key does not match the certificate, is not PEM, or is encrypted.")
    now = datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise _Refused("The certificate is not valid now.")
    _check_chain(leaf, chain)
    facts = x509_facts.describe(leaf)
    if before:
        _check_reimport(data, before, facts)
    return facts


def _check_chain(leaf: x509.Certificate, chain: list[x509.Certificate]) -> None:
    if not chain and leaf.issuer != leaf.subject:
        raise _Refused("A certificate that is not self-signed needs its certificate chain.")
    for issued, issuer in zip((leaf, *chain), chain, strict=False):
        try:
            issued.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise _Refused("Could not validate the certificate with the certificate chain.") from None
    if chain and type(leaf.public_key()) is not type(chain[0].public_key()):
        raise _Refused("The certificate's key algorithm must be that of the CA that signed it.")


def _check_reimport(data: dict[str, Any], before: dict[str, Any], facts: dict[str, Any]) -> None:
    if before.get("Type") != "IMPORTED":
        raise _Refused("Only an imported certificate can be re-imported.")
    if data.get("Tags"):
        raise _Refused("Tags cannot be given when a certificate is re-imported.")
    if facts["KeyAlgorithm"] != before["KeyAlgorithm"]:
        raise _Refused(f"The key type {before['KeyAlgorithm']} cannot be changed to {facts['KeyAlgorithm']}.")
    for name in ("KeyUsages", "ExtendedKeyUsages"):
        lost = [usage["Name"] for usage in before[name] if usage not in facts[name]]
        if lost:
            raise _Refused(f"{name} {', '.join(lost)} cannot be removed by a re-import.")


def _shape(original: Any) -> Any:
    def cert_shape(cert: dict[str, Any]) -> dict[str, Any]:
        shape: dict[str, Any] = original(cert)
        shape["InUseBy"] += _domain_configurations_using(cert["CertificateArn"])
        shape.update({name: cert[name] for name in x509_facts.NAMES if name in cert})
        shape["RenewalEligibility"] = "ELIGIBLE" if shape["Type"] == "AMAZON_ISSUED" else "INELIGIBLE"
        if "ImportedAt" in cert:
            shape["ImportedAt"] = acm._epoch(cert["ImportedAt"])
            del shape["IssuedAt"]
        return shape

    return cert_shape


def _list(_original: Any) -> Any:
    def list_certificates(data: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        wanted = (data.get("Includes") or {}).get("keyTypes") or _LISTED_BY_DEFAULT
        statuses = data.get("CertificateStatuses")
        shapes = [acm._cert_shape(cert) for cert in acm._certificates.values()]
        found = [
            _summary(shape)
            for shape in shapes
            if shape["KeyAlgorithm"] in wanted and (not statuses or shape["Status"] in statuses)
        ]
        start, size = int(data.get("NextToken") or 0), int(data.get("MaxItems") or 1000)
        answer: dict[str, Any] = {"CertificateSummaryList": found[start : start + size]}
        if start + size < len(found):
            answer["NextToken"] = str(start + size)
        return tuple(json_response(answer))

    return list_certificates


def _summary(shape: dict[str, Any]) -> dict[str, Any]:
    names = (
        *("CertificateArn", "DomainName", "Status", "Type", "KeyAlgorithm", "NotBefore", "NotAfter", "CreatedAt"),
        *("IssuedAt", "ImportedAt", "RenewalEligibility"),
    )
    summary = {name: shape[name] for name in names if name in shape}
    return summary | {
        "SubjectAlternativeNameSummaries": shape["SubjectAlternativeNames"],
        "InUse": bool(shape["InUseBy"]),
        "KeyUsages": [usage["Name"] for usage in shape.get("KeyUsages", [])],
        "ExtendedKeyUsages": [usage["Name"] for usage in shape.get("ExtendedKeyUsages", [])],
    }


def _delete(original: Any) -> Any:
    def delete_certificate(data: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        arn = data.get("CertificateArn", "")
        if acm._get_local_certificate(arn) and _domain_configurations_using(arn):
            message = f"Certificate {arn} in account {get_account_id()} is in use."
            return tuple(error_response_json("ResourceInUseException", message, 400))
        return tuple(original(data))

    return delete_certificate


def _domain_configurations_using(arn: str) -> list[str]:
    """ARNs of the region's AWS IoT domain configurations that serve or are validated by this certificate."""
    return [
        str(configuration["domainConfigurationArn"])
        for configuration in iot._domain_configurations.values()
        if arn == configuration.get("validationCertificateArn")
        or arn in [served["serverCertificateArn"] for served in configuration.get("serverCertificates") or []]
    ]


def _state(_original: Any) -> Any:
    def get_state() -> dict[str, Any]:
        """With the private keys, without which a restart would lose every server certificate (files are 0600)."""
        return {"_certificates": copy.deepcopy(acm._certificates)}

    return get_state


def install() -> None:
    """Replace the import, the listing, the deletion, the shape and the saved state."""
    replace(acm, "_import_certificate", "data", _import)
    replace(acm, "_list_certificates", "data", _list)
    replace(acm, "_delete_certificate", "data", _delete)
    replace(acm, "_cert_shape", "cert", _shape)
    replace(acm, "get_state", "", _state)
