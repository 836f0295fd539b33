# SPDX-License-Identifier: GPL-3.0-or-later
"""Out-of-band changes of a registry come into the registry table, and definitions go to every region."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment

EVENTS = ("THING", "THING_GROUP", "THING_GROUP_MEMBERSHIP", "THING_GROUP_HIERARCHY", "THING_TYPE")
SHARED = ("aws.py", "rows_table.py", "definitions.py")
# Seconds after an event at which a thing is looked at.
LOOKS = "0,1,2,4"


def deploy(deployment: Deployment, region: str) -> None:
    """Upload the functions and make the stack, in a region that publishes the events of its registry."""
    from tests.integration.deployment import FILES

    files = {name: (FILES / "lambda/shared" / name).read_text() for name in SHARED}
    registry = FILES.parent / "plugins/module_utils/_registry"
    files |= {name: (registry / name).read_text() for name in ("rows.py", "policy_documents.py")}
    deployment.sandbox.client("iot", region).update_event_configurations(
        eventConfigurations={kind: {"Enabled": True} for kind in EVENTS}
    )
    deployment.stack(
        region,
        "ingestion",
        StreamArn=deployment.stream(region, "definitions"),
        IngestThingPackage=deployment.upload(region, "ingest-thing", "ingest_thing", files),
        ConvergeDefinitionPackage=deployment.upload(region, "converge-definition", "converge_definition", files),
        IngestionLooks=LOOKS,
        IngestDeleteLimit="3",
    )
