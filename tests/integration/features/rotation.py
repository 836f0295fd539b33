# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that rotate their certificates; the function signs with the key of the deployment's CA."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment

SHARED = (
    "files/lambda/shared/aws.py",
    "files/lambda/shared/rows_table.py",
    "files/lambda/shared/csr.py",
    "files/lambda/shared/signing.py",
    "plugins/module_utils/_registry/rows.py",
    "plugins/module_utils/_registry/rotation.py",
)


def deploy(deployment: Deployment, region: str, signer: str = "function") -> None:
    """Upload the function, keep the CA's key and make the stack; where it is, only the signer changes."""
    from tests.integration.deployment import FILES

    paths = [FILES.parent / name for name in SHARED]
    package = deployment.upload(
        region, "rotate-certificate", "rotate_certificate", {path.name: path.read_text() for path in paths}
    )
    parameters = {"RotateCertificatePackage": package, "Signer": signer}
    keep_key(deployment, region)
    stacks = deployment.sandbox.client("cloudformation", region).describe_stacks()["Stacks"]
    is_there = f"{deployment.application}-rotation" in [stack["StackName"] for stack in stacks]
    (deployment.change_stack if is_there else deployment.stack)(region, "rotation", **parameters)


def keep_key(deployment: Deployment, region: str) -> None:
    """Keep the CA's key where functions read it."""
    secrets = deployment.sandbox.client("secretsmanager", region)
    with suppress(secrets.exceptions.ResourceExistsException):
        secrets.create_secret(
            Name=f"{deployment.application}-issuing-ca", SecretString=deployment.ca.key_pem + deployment.ca.pem
        )
