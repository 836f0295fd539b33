# SPDX-License-Identifier: GPL-3.0-or-later
"""Shadows that are the same in every region."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment

SHARED = ("aws.py", "shadows.py")


def deploy(deployment: Deployment, region: str) -> None:
    """Upload the functions and make the stack, in a region that publishes what becomes of its things."""
    from tests.integration.deployment import FILES

    files = {name: (FILES / "lambda/shared" / name).read_text() for name in SHARED}
    deployment.sandbox.client("iot", region).update_event_configurations(
        eventConfigurations={"THING": {"Enabled": True}}
    )
    deployment.stack(
        region,
        "shadows",
        StreamArn=deployment.stream(region, "shadows"),
        RecordShadowPackage=deployment.upload(region, "record-shadow", "record_shadow", files),
        ApplyShadowPackage=deployment.upload(region, "apply-shadow", "apply_shadow", files),
    )
