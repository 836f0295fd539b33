# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking one region out of a fleet leaves the others, and what all of them share."""

from __future__ import annotations

from pathlib import Path

import pytest

from iotops.sandbox.client import Sandbox
from tests.e2e.fleet import Fleet
from tests.e2e.listing import resources

HOME, AWAY = "eu-west-1", "us-west-2"
CONFIRMED = ("-e", "fleet_teardown_confirm=multi-region-iot")


def of_region(listing: dict[str, list[str]], region: str) -> dict[str, list[str]]:
    return {name: entries for name, entries in listing.items() if name.startswith(region)}


@pytest.mark.long
def test_a_region_alone_is_removed_and_can_be_built_again(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "sandbox").start()
    try:
        fleet = Fleet(sandbox)
        empty = of_region(resources(sandbox, [HOME, AWAY]), AWAY)
        fleet.run("site.yml").ok()
        fleet.run("playbooks/verify.yml").ok()
        built = resources(sandbox, [HOME, AWAY])

        preview = fleet.run("playbooks/teardown.yml", "--limit", AWAY)
        assert preview.code != 0
        assert f"--limit {AWAY}" in " ".join(preview.output.split())
        assert resources(sandbox, [HOME, AWAY]) == built

        fleet.run("playbooks/teardown.yml", "--limit", AWAY, *CONFIRMED).ok()
        left = resources(sandbox, [HOME, AWAY])
        assert of_region(left, HOME) == of_region(built, HOME)
        regional = ("-device-status", "-certificate-requests")
        tables = [name for name in built[f"{AWAY} dynamodb TableNames"] if not name.endswith(regional)]
        kept = {f"{AWAY} dynamodb TableNames": tables, f"{AWAY} iot events": built[f"{AWAY} iot events"]}
        assert of_region(left, AWAY) == empty | kept
        assert not any(AWAY in str(record) for record in left["route53 records"])
        again = fleet.run("playbooks/teardown.yml", "--limit", AWAY, *CONFIRMED).ok()
        assert set(again.changed.values()) == {0}

        fleet.run("site.yml").ok()
        fleet.run("playbooks/verify.yml", "-e", "verify_device=dev-after").ok()
    finally:
        sandbox.stop()
