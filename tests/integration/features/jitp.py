# SPDX-License-Identifier: GPL-3.0-or-later
"""A second CA, whose devices AWS IoT lets in by the fleet's template."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment
    from tests.integration.sandbox.mqtt import Issued

# Attribute of the things -> part of the subject.
ATTRIBUTES = {"owner": "Organization"}


def deploy(deployment: Deployment, region: str) -> None:
    """Have register-device know the CA, make the template, and register the CA with it, as the role does."""
    from ansible_collections.iotops.fleet.plugins.module_utils._iot.jitp import template

    authority = authority_of(deployment)
    files = {"ca-bundle.pem": deployment.ca.pem, "jitp-ca.pem": authority.pem}
    package = deployment.upload(region, "certificate-identity-jitp", "certificate_identity", files)
    deployment.change_stack(
        region,
        "onboarding",
        RegisterDeviceDefinition="register-device",
        CertificateIdentityPackage=package,
        StateMachineType=deployment.machine_type,
    )
    body = template(deployment.application, ATTRIBUTES)
    deployment.stack(region, "jitp", TemplateBody=json.dumps(body))
    deployment.sandbox.client("iot", region).register_ca_certificate(
        caCertificate=authority.pem,
        certificateMode="SNI_ONLY",
        setAsActive=True,
        allowAutoRegistration=True,
        registrationConfig={"templateName": f"{deployment.application}-jitp"},
    )


def authority_of(deployment: Deployment) -> Issued:
    """The CA, the same for each region."""
    from tests.integration.sandbox.mqtt import issue

    if not hasattr(deployment, "jitp_ca"):
        deployment.jitp_ca = issue("Test JITP CA", deployment.root, authority=True)  # type: ignore[attr-defined]
    made: Issued = deployment.jitp_ca  # type: ignore[attr-defined]
    return made
