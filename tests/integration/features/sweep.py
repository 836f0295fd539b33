# SPDX-License-Identifier: GPL-3.0-or-later
"""What looks after devices that no event woke."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment


def deploy(deployment: Deployment, region: str) -> None:
    """Upload the function and make the stack; ingest-thing looks at what differs when it is among the features too."""
    from tests.integration.deployment import FILES

    shared = (FILES / "lambda/shared/aws.py", FILES.parent / "plugins/module_utils/_registry/rows.py")
    files = {path.name: path.read_text() for path in shared}
    deployment.stack(
        region,
        "sweep",
        SweepDevicesPackage=deployment.upload(region, "sweep-devices", "sweep_devices", files),
        IngestQueue=f"{deployment.application}-ingest-thing" if "ingestion" in deployment.features else "",
    )
