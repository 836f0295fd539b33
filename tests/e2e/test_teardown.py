"""Teardown says what it would do, does it only when confirmed, and leaves nothing."""

from __future__ import annotations

from tests.e2e.fleet import REGIONS, Overheard
from tests.e2e.listing import resources


def test_teardown_leaves_nothing_of_ours(overheard: Overheard) -> None:
    fleet, before = overheard.fleet, dict(overheard.before)
    built = resources(fleet.sandbox, REGIONS)
    assert built != before

    preview = fleet.run("playbooks/teardown.yml")
    assert preview.code != 0
    assert "fleet_teardown_confirm=multi-region-iot" in preview.output
    assert "multi-region-iot-onboarding" in preview.output
    assert resources(fleet.sandbox, REGIONS) == built

    confirmed = ["-e", "fleet_teardown_confirm=multi-region-iot"]
    fleet.run("playbooks/teardown.yml", *confirmed).ok()
    after = resources(fleet.sandbox, REGIONS)
    for region in REGIONS:  # settings of the account, not resources of the fleet
        before.pop(f"{region} iot events"), after.pop(f"{region} iot events")
    assert after == before
    assert (fleet.pki / "rootCA/certs/root.cert.pem").is_file()

    again = fleet.run("playbooks/teardown.yml", *confirmed).ok()
    assert set(again.changed.values()) == {0}
