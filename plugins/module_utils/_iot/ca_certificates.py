# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registration of CA certificates in AWS IoT: find, register, update, remove.

https://docs.aws.amazon.com/iot/latest/developerguide/register-CA-cert.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso
from ansible_collections.iotops.fleet.plugins.module_utils._iot.ca_changes import prediction, state, updates
from ansible_collections.iotops.fleet.plugins.module_utils._iot.registration import Registration
from ansible_collections.iotops.fleet.plugins.module_utils._iot.verification import verification_certificate
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import (
    certificates,
    fingerprint,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import (
    FleetError,
    api_call,
    error_code,
    none_if_missing,
    poll,
    snake,
    tags_diff,
    tags_to_dict,
    tags_to_list,
)

__all__ = [
    "INLINE",
    "Registration",
    "describe",
    "ensure_absent",
    "ensure_present",
    "find",
    "list_all",
    "registered_through",
    "summary",
]

PAGE_SIZE = 250
# No template can have this name.
INLINE = "(inline)"


@api_call("list the CA certificates of AWS IoT")
def list_all(iot: Any, *, page_size: int = PAGE_SIZE) -> list[dict[str, Any]]:
    """Every registered CA certificate as ListCACertificates shows it."""
    pages = iot.get_paginator("list_ca_certificates").paginate(PaginationConfig={"PageSize": page_size})
    return [ca for page in pages for ca in page.get("certificates", [])]


@none_if_missing
@api_call("describe a CA certificate of AWS IoT")
def describe(iot: Any, certificate_id: str) -> dict[str, Any]:
    """``certificateDescription`` of DescribeCACertificate with ``provisioningTemplate``; None when there is no such CA.

    That is the name of the template that provisions the CA's devices: ``""`` is none, ``INLINE`` one without a name.
    """
    answer = iot.describe_ca_certificate(certificateId=certificate_id)
    configuration = answer.get("registrationConfig") or {}
    template = configuration.get("templateName") or (INLINE if configuration.get("templateBody") else "")
    return {**answer["certificateDescription"], "provisioningTemplate": template}


@api_call("list the certificates that were registered through a CA of AWS IoT")
def registered_through(iot: Any, certificate_id: str, *, page_size: int = PAGE_SIZE) -> dict[str, str]:
    """Status by certificate id, as ListCertificatesByCA shows it."""
    pages = iot.get_paginator("list_certificates_by_ca").paginate(
        caCertificateId=certificate_id, PaginationConfig={"PageSize": page_size}
    )
    return {each["certificateId"]: each["status"] for page in pages for each in page.get("certificates", [])}


@api_call("list the tags of a CA certificate of AWS IoT")
def _tags(iot: Any, arn: str) -> dict[str, str]:
    pages = iot.get_paginator("list_tags_for_resource").paginate(resourceArn=arn)
    return tags_to_dict([tag for page in pages for tag in page.get("tags", [])])


@api_call("get the registration code of AWS IoT")
def _registration_code(iot: Any) -> str:
    return iot.get_registration_code()["registrationCode"]


@api_call("register the CA certificate in AWS IoT")
def _register(iot: Any, **request: Any) -> str:
    return iot.register_ca_certificate(**request)["certificateId"]


@api_call("update the CA certificate in AWS IoT")
def _update(iot: Any, **request: Any) -> None:
    iot.update_ca_certificate(**request)


@none_if_missing
@api_call("delete the CA certificate from AWS IoT")
def _delete(iot: Any, certificate_id: str) -> None:
    iot.delete_ca_certificate(certificateId=certificate_id)


@api_call("tag the CA certificate in AWS IoT")
def _tag(iot: Any, arn: str, tags: Mapping[str, str]) -> None:
    iot.tag_resource(resourceArn=arn, tags=tags_to_list(tags))


@api_call("remove tags of the CA certificate in AWS IoT")
def _untag(iot: Any, arn: str, keys: list[str]) -> None:
    iot.untag_resource(resourceArn=arn, tagKeys=keys)


def find(iot: Any, wanted: str) -> dict[str, Any] | None:
    """The description of the CA whose certificate has the fingerprint ``wanted``, however it was registered."""
    listed = [ca["certificateId"] for ca in list_all(iot)]
    for certificate_id in sorted(listed, key=lambda item: item != wanted):  # where the id is the fingerprint: one call
        found = describe(iot, certificate_id)
        if found is not None and fingerprint(found["certificatePem"]) == wanted:
            return found
    return None


def summary(iot: Any, description: Mapping[str, Any]) -> dict[str, Any]:
    """What modules return for a CA: the description snake-cased, with tags, ``fingerprint`` and ``not_after``."""
    parsed = certificates(description["certificatePem"], option="certificatePem")[0]
    return {
        **snake(dict(description)),
        "tags": _tags(iot, description["certificateArn"]),
        "fingerprint": fingerprint(description["certificatePem"]),
        "not_after": iso(parsed.not_valid_after_utc),
    }


def ensure_present(
    iot: Any, wanted: Registration, *, check_mode: bool, timeout: float
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Register ``wanted`` or bring what is registered to it.

    Returns the summaries before (None when it was not there) and after; in check mode the second is the prediction.

    Raises:
        FleetError: AWS cannot change what is registered to what is wanted.

    """
    wanted.check()
    found = find(iot, fingerprint(wanted.certificate))
    if found is None:
        if check_mode:
            return None, prediction(wanted, {})
        found = _register_or_find(iot, wanted)
        return None, _converge(iot, wanted, summary(iot, found), timeout=timeout)
    before = summary(iot, found)
    _require_mode(iot, wanted, before)
    _require_no_template(iot, wanted, before)
    if check_mode:
        return before, prediction(wanted, before)
    return before, _converge(iot, wanted, before, timeout=timeout)


def ensure_absent(iot: Any, certificate: str, *, check_mode: bool, timeout: float) -> dict[str, Any] | None:
    """Stop new registrations, deactivate, delete, and wait until the CA is gone. Returns what was there before."""
    found = find(iot, fingerprint(certificate))
    if found is None:
        return None
    before = summary(iot, found)
    if not check_mode:
        certificate_id = found["certificateId"]
        if found["autoRegistrationStatus"] != "DISABLE":
            _update(iot, certificateId=certificate_id, newAutoRegistrationStatus="DISABLE")
        if found["status"] != "INACTIVE":
            _update(iot, certificateId=certificate_id, newStatus="INACTIVE")
        _delete(iot, certificate_id)
        poll(
            lambda: describe(iot, certificate_id),
            lambda seen: seen is None,
            timeout=timeout,
            describe=f"CA certificate {certificate_id} to be deleted in {iot.meta.region_name}",
        )
    return before


def _require_mode(iot: Any, wanted: Registration, before: Mapping[str, Any]) -> None:
    mode = before.get("certificate_mode", "DEFAULT")
    if mode != wanted.mode:
        raise FleetError(
            f"mode: the CA is registered in {iot.meta.region_name} in mode {mode}, and AWS IoT cannot change that"
            f" to {wanted.mode}; give mode {mode}, or remove it first (state: absent) and register it again"
        )


def _require_no_template(iot: Any, wanted: Registration, before: Mapping[str, Any]) -> None:
    template = before["provisioning_template"]
    if template and not wanted.adopts_template:
        raise FleetError(
            f"certificate: the template {template} provisions the devices of this CA in {iot.meta.region_name}, and"
            " register-device must not let them in as well; use a CA of its own for just-in-time provisioning, or take"
            " the template away first (provisioning_template: '')"
        )


def _register_or_find(iot: Any, wanted: Registration) -> dict[str, Any]:
    request: dict[str, Any] = {
        "caCertificate": wanted.certificate,
        "certificateMode": wanted.mode,
        "setAsActive": wanted.status == "ACTIVE",
        "allowAutoRegistration": wanted.auto_registration,
    }
    if wanted.tags:
        request["tags"] = tags_to_list(wanted.tags)
    if wanted.provisioning_template:
        request["registrationConfig"] = {"templateName": wanted.provisioning_template}
    if wanted.mode == "DEFAULT":
        request["verificationCertificate"] = verification_certificate(
            ca_certificate=wanted.certificate,
            ca_key=wanted.private_key or "",
            passphrase=wanted.passphrase,
            registration_code=_registration_code(iot),
        )
    try:
        certificate_id = _register(iot, **request)
    except AnsibleAWSError as error:
        if error_code(error) != "ResourceAlreadyExistsException":
            raise
        # An earlier attempt was carried out although its answer was an error, or someone else was faster.
        found = find(iot, fingerprint(wanted.certificate))
        if found is None:
            raise
        return found
    return poll(
        lambda: describe(iot, certificate_id) or {},
        bool,
        timeout=30,
        describe=f"CA certificate {certificate_id} to appear in {iot.meta.region_name}",
    )


def _converge(iot: Any, wanted: Registration, seen: dict[str, Any], *, timeout: float) -> dict[str, Any]:
    """Change what differs from ``wanted``, and read back until AWS shows it."""
    arn, certificate_id = seen["certificate_arn"], seen["certificate_id"]
    requests = updates(wanted, seen)
    to_set, to_remove = tags_diff(seen["tags"], wanted.tags, purge=wanted.purge_tags)
    for update in requests:
        _update(iot, certificateId=certificate_id, **update)
    if to_set:
        _tag(iot, arn, to_set)
    if to_remove:
        _untag(iot, arn, to_remove)
    if not (requests or to_set or to_remove):
        return seen

    def read() -> dict[str, Any]:
        found = describe(iot, certificate_id)
        if found is None:
            raise FleetError(f"CA certificate {certificate_id} was deleted by someone else meanwhile; run again")
        return summary(iot, found)

    return poll(
        read,
        lambda now: state(now) == state(prediction(wanted, now)),
        timeout=timeout,
        describe=f"the changes of CA certificate {certificate_id} to show in {iot.meta.region_name}",
    )
