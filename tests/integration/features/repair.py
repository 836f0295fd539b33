# SPDX-License-Identifier: GPL-3.0-or-later
"""What brings many devices in order at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment


def deploy(deployment: Deployment, region: str) -> None:
    """Upload the definition and make the stack."""
    from tests.integration.deployment import FILES

    definition = deployment.definitions(yaml.safe_load((FILES / "asl/repair-devices.asl.yaml").read_text()))
    deployment.sandbox.client("s3", region).put_object(
        Bucket=f"{deployment.application}-{deployment.sandbox.account_id}-{region}-artifacts",
        Key="repair-devices",
        Body=json.dumps(definition).encode(),
    )
    deployment.stack(
        region, "repair", RepairDevicesDefinition="repair-devices", StateMachineType=deployment.machine_type
    )
