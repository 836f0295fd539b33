# SPDX-License-Identifier: GPL-3.0-or-later
"""Just-in-time provisioning: a CA's template makes thing and attachments of a device that connects for the first time.

The base stores ``registrationConfig`` and runs nothing. As on AWS the certificate is registered PENDING_ACTIVATION, and
the connection closed; then the template is applied, with what the certificate's subject says for its parameters.
A failure leaves the certificate as it is, and the device's next connection tries again.
https://docs.aws.amazon.com/iot/latest/developerguide/jit-provisioning.html
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID
from ministack.services import cloudwatch, iot

from iotops.sandbox.patching import replace

__all__ = ["ProvisioningError", "install", "parameters"]

Answer = tuple[int, dict[str, str], bytes]

_PREFIX = "AWS::IoT::Certificate::"
_SUBJECT = {
    "Country": NameOID.COUNTRY_NAME,
    "Organization": NameOID.ORGANIZATION_NAME,
    "OrganizationalUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "DistinguishedNameQualifier": NameOID.DN_QUALIFIER,
    "StateName": NameOID.STATE_OR_PROVINCE_NAME,
    "CommonName": NameOID.COMMON_NAME,
    "SerialNumber": NameOID.SERIAL_NUMBER,
}
_REGISTERED = "account_id, region, record, source_ip, registration_timestamp"
_running: set[asyncio.Task[None]] = set()


class ProvisioningError(Exception):
    """The template cannot be applied to the certificate."""


def install() -> None:
    """Provision what was registered, and let removeAutoRegistration take the template away."""
    replace(iot, "_publish_certificate_registered", _REGISTERED, _registered)
    replace(iot, "_handle_ca_certificate", "method, path, body, qp", _updated)


def parameters(body: dict[str, Any], pem: str) -> dict[str, str]:
    """The values of the template's parameters that the certificate's subject gives.

    Raises:
        ProvisioningError: a parameter is declared that the subject has no value for; a default does not count.

    """
    subject = x509.load_pem_x509_certificate(pem.encode()).subject
    found = {
        f"{_PREFIX}{name}": str(parts[-1].value)
        for name, oid in _SUBJECT.items()
        if (parts := subject.get_attributes_for_oid(oid))
    }
    missing = sorted(set(body.get("Parameters") or ()) - set(found) - {f"{_PREFIX}Id"})
    if missing:
        raise ProvisioningError(f"the certificate's subject has no value for {', '.join(missing)}")
    return found


def _registered(original: Any) -> Any:
    async def publish_certificate_registered(
        account_id: str, region: str, record: dict[str, Any], source_ip: str | None, registration_timestamp: str | None
    ) -> None:
        await original(account_id, region, record, source_ip, registration_timestamp)
        ca = iot._ca_certificates.get_scoped(account_id, region, record["caCertificateId"]) or {}
        if ca.get("registrationConfig"):
            task = asyncio.create_task(_provision(account_id, region, record, ca["registrationConfig"]))
            _running.add(task)
            task.add_done_callback(_running.discard)

    return publish_certificate_registered


async def _provision(account_id: str, region: str, record: dict[str, Any], configuration: dict[str, Any]) -> None:
    with iot.request_scope(account_id, region):
        try:
            async with iot.publishing_events():
                await _apply(record, configuration)
            outcome = "Success"
        except (ProvisioningError, iot._ProvisioningRejected) as error:
            iot._mtls_logger.warning("IoT JITP: %s was not provisioned: %s", record["certificateId"], error)
            outcome = "ClientError"
        except Exception:
            iot._mtls_logger.exception("IoT JITP: %s was not provisioned", record["certificateId"])
            outcome = "ServerError"
        cloudwatch.record_metric("AWS/IoT", f"ProvisionThing.{outcome}", 1, "Count")


async def _apply(record: dict[str, Any], configuration: dict[str, Any]) -> None:
    name = configuration.get("templateName") or ""
    template = iot._provisioning_templates.get(name) if name else _inline(configuration)
    if template is None:
        raise ProvisioningError(f"there is no template {name}")
    body = iot._provisioning_template_body(template)
    values = parameters(json.loads(body) if isinstance(body, str) else body, record["certificatePem"])
    certificate = iot._certificates.get(record["certificateId"])
    if certificate is None or certificate["status"] != "PENDING_ACTIVATION":
        return  # somebody else was faster
    plan = iot._provisioning_plan(template, values, record["certificateId"])
    await iot._apply_provisioning_plan(plan, certificate, template["provisioningRoleArn"])


def _inline(configuration: dict[str, Any]) -> dict[str, Any]:
    """What registrationConfig holds in the form of a template."""
    return {
        "templateName": "of the CA",
        "defaultVersionId": 1,
        "versions": {"1": {"templateBody": configuration.get("templateBody") or "{}"}},
        "provisioningRoleArn": configuration.get("roleArn") or "",
    }


def _updated(original: Any) -> Any:
    def handle_ca_certificate(method: str, path: str, body: bytes, qp: dict[str, str]) -> Answer:
        answer: Answer = original(method, path, body, qp)
        ca = iot._ca_certificates.get(path.rpartition("/")[2])
        if method == "PUT" and answer[0] == 200 and iot._parse_body(body).get("removeAutoRegistration"):
            ca.pop("registrationConfig", None)
        return answer

    return handle_ca_certificate
