# SPDX-License-Identifier: GPL-3.0-or-later
"""What watches when certificates end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment


def deploy(deployment: Deployment, region: str, domain: str = "iot.example.com") -> None:
    """Upload the function and make the stack."""
    from tests.integration.deployment import FILES

    shared = (FILES / "lambda/shared/aws.py", FILES.parent / "plugins/module_utils/_registry/ends.py")
    files = {path.name: path.read_text() for path in shared}
    deployment.stack(
        region,
        "expiry",
        CheckCertificatesPackage=deployment.upload(region, "check-certificates", "check_certificates", files),
        DomainName=domain,
    )
