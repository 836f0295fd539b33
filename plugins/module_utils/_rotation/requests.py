# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate requests that devices have handed in for a rotation: what is in one, and what its row makes of it.

Plain values in, plain values out. Private to the collection.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import encode_certificate
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import device_key_type, public_bytes
from ansible_collections.iotops.fleet.plugins.module_utils._registry import rotation
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import (
    MAX_CERTIFICATES,
    Row,
    effective_status,
)


class Refusal(Exception):  # what the device is told
    """Why a device gets no certificate: a code, and a line for its log."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Request:
    """An item of ``certificate-requests``; ``principal`` is the certificate of the connection that it came over."""

    thing_name: str
    csr: str
    job_id: str
    principal: str
    requested_at: str

    @classmethod
    def of(cls, item: Item) -> Request:
        """Read an item."""
        return cls(
            thing_name=item["ThingName"],
            csr=item["Csr"],
            job_id=item["JobId"],
            principal=item["Principal"],
            requested_at=item["RequestedAt"],
        )


@dataclass(frozen=True, kw_only=True)
class Given:
    """The certificate that a request is answered with."""

    certificate_id: str
    pem: str
    present_by: str

    @classmethod
    def of(cls, certificate_id: str, entry: Row) -> Given:
        """Read an entry of a row's ``Certificates``."""
        return cls(certificate_id=certificate_id, pem=entry["Pem"], present_by=entry["PresentBy"])


def public_key_of(request: Request) -> bytes:
    """The requested key (SubjectPublicKeyInfo, DER), which the request proves to be the device's.

    Raises:
        Refusal: the request cannot be read, proves nothing, is for another name, or its key is of no use.

    """
    try:
        csr = x509.load_pem_x509_csr(request.csr.encode())
        proven, key = csr.is_signature_valid, csr.public_key()
        names = [str(each.value) for each in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except Exception as error:  # of many types, for what a stranger may have written
        raise Refusal("InvalidRequest", "the certificate request cannot be read") from error
    if not proven:
        raise Refusal("InvalidRequest", "the certificate request is not signed with its own key")
    if names != [request.thing_name]:
        raise Refusal("NameDiffers", f"the request is for {', '.join(names) or 'nobody'}, not for {request.thing_name}")
    try:
        device_key_type(key)
    except PkiError as error:
        raise Refusal("KeyUnsuitable", str(error)) from error
    return public_bytes(key)


def decide(
    request: Request, row: Row, *, revoked: Collection[str], under_way: bool, now: datetime
) -> tuple[bytes, Given | None]:
    """The requested key, and the certificate that the device was given for it before, if so.

    ``revoked``: the keys of ``revocations`` that exist. ``under_way``: the device is to work on that very job.

    Raises:
        Refusal: the device gets none.

    """
    if row.get("State") != "ACTIVE":
        raise Refusal("NotActive", f"{request.thing_name} is {row.get('State', 'unknown')}")
    if (
        request.principal not in row["Certificates"]
        or effective_status(row, request.principal, revoked, now) != "ACTIVE"
    ):
        raise Refusal("NotActive", "the certificate of the connection is not in use")
    current = row["Certificates"].get(row.get("CertificateId"), {})
    is_presented = current.get("JobId") == request.job_id and not rotation.is_awaited(current)
    if is_presented and row["CertificateId"] == request.principal:
        raise Refusal("AlreadyRotated", "the current certificate came from this job")
    if not under_way:
        raise Refusal("UnknownJob", f"{request.job_id} is no job that {request.thing_name} is working on")
    key = public_key_of(request)
    if given := given_before(request, row, key, revoked=revoked, now=now):
        return key, given
    if rotation.is_full(row, now, most=MAX_CERTIFICATES):
        raise Refusal("TooManyCertificates", f"the device has {MAX_CERTIFICATES} certificates that are valid")
    return key, None


def given_before(request: Request, row: Row, key: bytes, *, revoked: Collection[str], now: datetime) -> Given | None:
    """The live certificate of this job for this key, if there is one.

    Raises:
        Refusal: the device has or had another certificate for this key.

    """
    found = {each: entry for each, entry in row["Certificates"].items() if _key_of(entry["Pem"]) == key}
    for certificate_id, entry in found.items():
        of_job = entry.get("JobId") == request.job_id
        if of_job and effective_status(row, certificate_id, revoked, now) == "ACTIVE":
            return Given.of(certificate_id, entry)
    if found:
        raise Refusal("KeyUnsuitable", "the device has a certificate for this key already: make another key")
    return None


@lru_cache(maxsize=4096)
def _key_of(pem: str) -> bytes:
    return public_bytes(x509.load_pem_x509_certificate(pem.encode()).public_key())


def certificate_id_of(certificate: x509.Certificate) -> str:
    """What AWS IoT calls it: the SHA-256 of its DER."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def with_certificate(
    row: Row,
    request: Request,
    certificate: x509.Certificate,
    *,
    issuer: str,
    region: str,
    present_within: timedelta,
    now: datetime,
) -> Row:
    """What changes in the row of the device that is given this certificate."""
    entry = rotation.entry(
        pem=encode_certificate(certificate).decode("ascii"),
        not_after=certificate.not_valid_after_utc,
        issuer=issuer,
        serial=certificate.serial_number,
        region=region,
        job=request.job_id,
        now=now,
        within=present_within,
    )
    return rotation.given(row, certificate_id_of(certificate), entry, principal=request.principal, now=now)


__all__ = [
    "Given", "Refusal", "Request", "certificate_id_of", "decide", "given_before", "public_key_of", "with_certificate",
]  # fmt: skip
