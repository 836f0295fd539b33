# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client certificates in AWS IoT: have one signed, register, update, remove. Private to this collection.

https://docs.aws.amazon.com/iot/latest/developerguide/x509-client-certs.html
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso
from ansible_collections.iotops.fleet.plugins.module_utils._devices.calls import (
    delete_certificate,
    detach,
    things_of_certificate,
)
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import certificates, fingerprint
from ansible_collections.iotops.fleet.plugins.module_utils.aws import (
    FleetError,
    api_call,
    error_code,
    none_if_missing,
    poll,
    snake,
)

__all__ = ["Wanted", "create_from_request", "describe", "ensure_absent", "ensure_present", "predicted", "summary"]

# The issuer is unknown here, not active, or one of several of its name.
WITHOUT_ISSUER = frozenset(
    {"CertificateStateException", "CertificateValidationException", "CertificateConflictException"}
)
DETACHING_CODES = frozenset({"DeleteConflictException", "InvalidRequestException"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a certificate is wanted in one region; ``policies`` and ``things`` None leave them as they are."""

    status: str = "ACTIVE"
    policies: Sequence[str] | None = None
    purge_policies: bool = True
    things: Sequence[str] | None = None
    purge_things: bool = True


@none_if_missing
@api_call("describe a certificate of AWS IoT")
def describe(iot: Any, certificate_id: str) -> dict[str, Any]:
    """``certificateDescription`` of DescribeCertificate; None when it is not registered."""
    return dict(iot.describe_certificate(certificateId=certificate_id)["certificateDescription"])


@api_call("have AWS IoT sign a certificate signing request", repeatable=False)
def create_from_request(iot: Any, request: str) -> str:
    """The certificate (PEM) that AWS IoT makes of a request (PEM), registered here as INACTIVE; a new one each time."""
    answer = iot.create_certificate_from_csr(certificateSigningRequest=request, setAsActive=False)
    return str(answer["certificatePem"])


@api_call("register the certificate in AWS IoT")
def _register(iot: Any, pem: str, status: str) -> None:
    iot.register_certificate(certificatePem=pem, status=status)


@api_call("register the certificate in AWS IoT without its CA")
def _register_without_ca(iot: Any, pem: str, status: str) -> None:
    iot.register_certificate_without_ca(certificatePem=pem, status=status)


@api_call("change the status of the certificate in AWS IoT")
def _set_status(iot: Any, certificate_id: str, status: str) -> None:
    iot.update_certificate(certificateId=certificate_id, newStatus=status)


@none_if_missing
@api_call("list the policies of the certificate")
def _policies(iot: Any, arn: str) -> list[str]:
    pages = iot.get_paginator("list_attached_policies").paginate(target=arn, recursive=False)
    return [policy["policyName"] for page in pages for policy in page["policies"]]


@api_call("attach a policy to the certificate")
def _attach_policy(iot: Any, name: str, arn: str) -> None:
    iot.attach_policy(policyName=name, target=arn)


@none_if_missing
@api_call("detach a policy from the certificate")
def _detach_policy(iot: Any, name: str, arn: str) -> None:
    iot.detach_policy(policyName=name, target=arn)


@api_call("attach the certificate to a thing")
def _attach_thing(iot: Any, name: str, arn: str) -> None:
    iot.attach_thing_principal(thingName=name, principal=arn)


def summary(iot: Any, description: Mapping[str, Any]) -> dict[str, Any]:
    """What modules return for a certificate: the description snake-cased, with what it is attached to."""
    arn = description["certificateArn"]
    return {
        **snake(dict(description)),
        "not_after": _not_after(description["certificatePem"]),
        "policies": sorted(_policies(iot, arn) or []),
        "things": sorted(things_of_certificate(iot, arn) or []),
    }


def _not_after(pem: str) -> str:
    return iso(certificates(pem, option="certificate")[0].not_valid_after_utc)


def ensure_present(
    iot: Any, pem: str, wanted: Wanted, *, check_mode: bool, timeout: float
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Register the certificate, or bring what is registered to what is wanted.

    Returns the summaries before (None when it was not registered) and after; in check mode the second is predicted.

    Raises:
        FleetError: it is revoked and wanted otherwise, or AWS does not show the change after ``timeout`` seconds.

    """
    certificate_id = fingerprint(pem)
    found = describe(iot, certificate_id)
    before = summary(iot, found) if found else None
    if before and before["status"] == "REVOKED" != wanted.status:
        raise FleetError(
            f"status: certificate {certificate_id} is REVOKED in {iot.meta.region_name}, which AWS IoT cannot undo to"
            f" {wanted.status}; give the device another certificate"
        )
    if check_mode:
        return before, predicted(pem, wanted, before)
    if before is None:
        _register_anyhow(iot, pem, "INACTIVE" if wanted.status == "ACTIVE" else wanted.status)
    return before, _converge(iot, pem, wanted, timeout=timeout)


def _register_anyhow(iot: Any, pem: str, status: str) -> None:
    """Register with the CA, or without it where the CA is not to be had; be content when it is registered."""
    for register in (_register, _register_without_ca):
        try:
            register(iot, pem, status)
        except AnsibleAWSError as error:
            if error_code(error) == "ResourceAlreadyExistsException":  # an answer was lost, or a device was faster
                return
            if register is _register_without_ca or error_code(error) not in WITHOUT_ISSUER:
                raise
        else:
            return


def _converge(iot: Any, pem: str, wanted: Wanted, *, timeout: float) -> dict[str, Any]:
    """Change what differs and read back. A certificate is shut out first of all, and let in last of all."""
    certificate_id = fingerprint(pem)

    def read() -> dict[str, Any]:
        found = describe(iot, certificate_id)
        return summary(iot, found) if found else {}

    seen = poll(read, bool, timeout=timeout, describe=f"certificate {certificate_id} to appear")
    arn, shut = seen["certificate_arn"], wanted.status != "ACTIVE"
    if shut and seen["status"] != wanted.status:
        _set_status(iot, certificate_id, wanted.status)
    goal = predicted(pem, wanted, seen)
    for name in _missing(goal["policies"], seen["policies"]):
        _attach_policy(iot, name, arn)
    for name in _missing(seen["policies"], goal["policies"]):
        _detach_policy(iot, name, arn)
    for name in _missing(goal["things"], seen["things"]):
        _attach_thing(iot, name, arn)
    for name in _missing(seen["things"], goal["things"]):
        detach(iot, name, arn)
    if not shut and seen["status"] != wanted.status:
        _set_status(iot, certificate_id, wanted.status)
    if _state(seen) == _state(goal):
        return seen
    return poll(
        read,
        lambda now: _state(now) == _state(goal),
        timeout=timeout,
        describe=f"the changes of certificate {certificate_id} to show in {iot.meta.region_name}",
    )


def _missing(names: Collection[str], among: Collection[str]) -> list[str]:
    return sorted(set(names) - set(among))


def _state(certificate: Mapping[str, Any]) -> dict[str, Any]:
    return {key: certificate.get(key) for key in ("status", "policies", "things")}


def predicted(pem: str | None, wanted: Wanted, seen: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the summary is to become; without a ``pem``, of a certificate that AWS IoT has yet to make."""
    now = seen or {}
    made = {"certificate_id": fingerprint(pem), "certificate_pem": pem, "not_after": _not_after(pem)} if pem else {}
    return {
        **made,
        **now,
        "status": wanted.status,
        "policies": _names(now.get("policies", []), wanted.policies, purge=wanted.purge_policies),
        "things": _names(now.get("things", []), wanted.things, purge=wanted.purge_things),
    }


def _names(now: Sequence[str], wanted: Sequence[str] | None, *, purge: bool) -> list[str]:
    if wanted is None:
        return sorted(now)
    return sorted(set(wanted) | (set() if purge else set(now)))


def ensure_absent(iot: Any, certificate_id: str, *, check_mode: bool, timeout: float) -> dict[str, Any] | None:
    """Shut out, detach from things and policies, delete, and wait until it is gone. Returns what was there before.

    https://docs.aws.amazon.com/iot/latest/apireference/API_DeleteCertificate.html

    Raises:
        FleetError: AWS has not deleted it after ``timeout`` seconds.

    """
    found = describe(iot, certificate_id)
    if found is None:
        return None
    before, arn = summary(iot, found), found["certificateArn"]
    if check_mode:
        return before
    if found["status"] not in ("INACTIVE", "REVOKED"):
        _set_status(iot, certificate_id, "INACTIVE")

    def refusal() -> str:
        """Why AWS does not delete it yet: it answers a detachment seconds before it is done."""
        for name in things_of_certificate(iot, arn) or []:
            detach(iot, name, arn)
        for name in _policies(iot, arn) or []:
            _detach_policy(iot, name, arn)
        try:
            delete_certificate(iot, certificate_id)
        except AnsibleAWSError as error:
            if error_code(error) not in DETACHING_CODES:
                raise
            return str(error)
        return "" if describe(iot, certificate_id) is None else "it is still there"

    poll(
        refusal,
        lambda why: not why,
        timeout=timeout,
        describe=lambda why: f"certificate {certificate_id} to be deleted in {iot.meta.region_name}: {why}",
    )
    return before
