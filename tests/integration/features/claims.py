# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that come in with a claim certificate, and the certificate in every region."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from tests.certificates import new_key
from tests.integration.sandbox.mqtt import Issued
from tests.provisioning import csr

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment

FUNCTION = "authorize-claim"
SHARED = ("files/lambda/shared/aws.py", "plugins/module_utils/_registry/rows.py")


def deploy(deployment: Deployment, region: str, **parameters: str) -> None:
    """Upload the function and make the stack."""
    from tests.integration.deployment import FILES

    paths = [FILES.parent / name for name in SHARED]
    package = deployment.upload(region, FUNCTION, "authorize_claim", {path.name: path.read_text() for path in paths})
    home = deployment.regions[0]
    deployment.stack(region, "claims", HomeRegion=home, AuthorizeClaimPackage=package, **parameters)


def claim(deployment: Deployment) -> Issued:
    """An active claim certificate, signed in the home region and registered in the others."""
    key, home = new_key(), deployment.regions[0]
    made = deployment.sandbox.client("iot", home).create_certificate_from_csr(
        certificateSigningRequest=csr(key, "claim"), setAsActive=True
    )
    for region in deployment.regions:
        iot = deployment.sandbox.client("iot", region)
        arn = made["certificateArn"].replace(home, region)
        if region != home:
            iot.register_certificate_without_ca(certificatePem=made["certificatePem"], status="ACTIVE")
        iot.attach_policy(policyName=f"{deployment.application}-claim", target=arn)
    return Issued(x509.load_pem_x509_certificate(made["certificatePem"].encode()), key)


def allow(deployment: Deployment, thing: str, **more: str) -> None:
    """Put a name on the allow-list."""
    item = {name: {"S": value} for name, value in {"ThingName": thing, **more}.items()}
    table = f"{deployment.application}-allow-list"
    deployment.sandbox.client("dynamodb", deployment.regions[0]).put_item(TableName=table, Item=item)


def issued(directory: Path, thing: str) -> Issued:
    """What the device program left in its directory."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    certificate = x509.load_pem_x509_certificate((directory / f"{thing}.cert.pem").read_bytes())
    return Issued(certificate, load_pem_private_key((directory / f"{thing}.key.pem").read_bytes(), None))
