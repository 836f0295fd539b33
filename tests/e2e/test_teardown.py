"""Teardown says what it would do, does it only when confirmed, and leaves nothing."""

from __future__ import annotations

from tests.e2e.fleet import Fleet
from tests.e2e.listing import resources

REGIONS = ["eu-west-1", "us-west-2"]


def test_teardown_leaves_nothing_of_ours(empty_fleet: Fleet) -> None:
    before = resources(empty_fleet.sandbox, REGIONS)
    empty_fleet.run("site.yml").ok()
    empty_fleet.run("playbooks/verify.yml").ok()
    built = resources(empty_fleet.sandbox, REGIONS)
    assert built != before

    preview = empty_fleet.run("playbooks/teardown.yml")
    assert preview.code != 0
    assert "fleet_teardown_confirm=multi-region-iot" in preview.output
    assert "multi-region-iot-onboarding" in preview.output
    assert resources(empty_fleet.sandbox, REGIONS) == built

    confirmed = ["-e", "fleet_teardown_confirm=multi-region-iot"]
    empty_fleet.run("playbooks/teardown.yml", *confirmed).ok()
    after = resources(empty_fleet.sandbox, REGIONS)
    for region in REGIONS:  # settings of the account, not resources of the fleet
        before.pop(f"{region} iot events"), after.pop(f"{region} iot events")
    assert after == before
    assert (empty_fleet.pki / "rootCA/certs/root.cert.pem").is_file()

    again = empty_fleet.run("playbooks/teardown.yml", *confirmed).ok()
    assert set(again.changed.values()) == {0}
