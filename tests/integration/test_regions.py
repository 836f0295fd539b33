# SPDX-License-Identifier: GPL-3.0-or-later
"""A region is added to a fleet that runs, is brought up to date after it was away, and is removed again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._plan.calls import backfill_calls
from tests.integration.deployment import eventually
from tests.integration.growing import APPLICATION, AWAY, HOME, IN_NEW, NEW, GrowingFleet
from tests.processes import kill

ONE_LOOK = ("-e", "region_backfill_looks=1", "-e", "region_backfill_delay=1")
CONFIRMED = (*IN_NEW, "-e", f"fleet_remove_confirm={NEW}", "-e", "region_removal_drain=2")
KEEP = ("-e", "fleet_remove_devices=false")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrowingFleet]:
    """30 devices, 3 of them revoked, in two regions."""
    grown = GrowingFleet(tmp_path_factory.mktemp("regions"), devices=30, revoked=3)
    yield grown
    grown.sandbox.stop()


@pytest.fixture
def grown(fleet: GrowingFleet) -> GrowingFleet:
    """The same in three regions, whatever ran before."""
    if NEW not in fleet.in_dns():
        fleet.inventory(HOME, AWAY, NEW)
        fleet.run("playbooks/add_region.yml", *IN_NEW).ok()
    return fleet


def said(output: str) -> str:
    """In one line."""
    return " ".join(output.split())


def estimated(output: str) -> int:
    """The calls of AWS IoT that the backfill was reckoned to take."""
    found = re.search(r"(\d+) calls of AWS IoT, [\d.]+ hours at the quota of RegisterCertificate", said(output))
    assert found, output[-3000:]
    return int(found[1])


def require_proof_before_dns(fleet: GrowingFleet, since: datetime) -> None:
    """The stack with the record was made after the last device and after what AWS IoT has was listed."""
    calls = [(call["operation"], *call["resources"]) for call in fleet.calls(since, NEW)]
    stack = max(number for number, call in enumerate(calls) if call[0] == "CreateStack")
    for operation in ("RegisterCertificate", "AttachPolicy", "ListThings", "ListCertificates", "ListTargetsForPolicy"):
        assert max(number for number, call in enumerate(calls) if call[0] == operation) < stack, operation


def require_everyone(fleet: GrowingFleet, region: str = NEW) -> None:
    """Each device has one attempt: all come in but those that are revoked."""
    assert fleet.admitted([*fleet.live, *fleet.ended], region) == set(fleet.live)


@pytest.mark.long
def test_a_region_that_is_not_in_the_inventory_is_refused(fleet: GrowingFleet) -> None:
    for playbook in ("add_region", "backfill_region", "remove_region"):
        refused = fleet.run(f"playbooks/{playbook}.yml", *IN_NEW)
        assert refused.code != 0
        assert f"fleet_region={NEW} is no host of the group regions: name one of {HOME}, {AWAY}" in said(refused.output)


@pytest.mark.long
def test_a_region_gets_all_devices_before_its_record(fleet: GrowingFleet) -> None:
    before = {region: (fleet.registry(region), fleet.standing(region)) for region in (HOME, AWAY)}
    since = fleet.sandbox.now()
    fleet.inventory(HOME, AWAY, NEW)
    added = fleet.run("playbooks/add_region.yml", *IN_NEW, *ONE_LOOK).ok()
    assert fleet.in_dns() == [NEW, HOME, AWAY]
    require_proof_before_dns(fleet, since)
    require_everyone(fleet)
    assert fleet.statuses(NEW) == {"ACTIVE": len(fleet.live), "REVOKED": len(fleet.ended)}

    planned = sum(backfill_calls(len(fleet.live), len(fleet.ended)).values())
    assert estimated(added.output) == planned
    assert fleet.device_calls(since).total() == pytest.approx(planned, rel=0.1)
    assert fleet.writes_elsewhere(since) == [f"{HOME} cloudformation UpdateStack"]
    assert {region: (fleet.registry(region), fleet.standing(region)) for region in (HOME, AWAY)} == before


@pytest.mark.long
def test_a_region_is_not_put_into_dns_when_one_device_fails(tmp_path: Path) -> None:
    fleet = GrowingFleet(tmp_path, devices=12, revoked=2)
    try:
        fleet.inventory(HOME, AWAY, NEW)
        limit = {"operation": "AttachPolicy", "effect": "error", "error": "LimitExceededException", "status": 410}
        fleet.sandbox.fault(region=NEW, service="iot", times=1, **limit)
        failed = fleet.run("playbooks/add_region.yml", *IN_NEW, *ONE_LOOK)
        assert failed.code != 0
        assert f"{NEW}: 1 failed" in said(failed.output)
        assert "is not put into DNS" in said(failed.output)
        assert "LimitExceededException" in failed.output
        assert fleet.in_dns() == [HOME, AWAY]

        # The same by another command; it goes on, and repairs the one.
        fleet.run("site.yml", "--limit", NEW, *ONE_LOOK).ok()
        assert fleet.in_dns() == [NEW, HOME, AWAY]
        require_everyone(fleet)
    finally:
        fleet.sandbox.stop()


@pytest.mark.long
def test_a_region_that_is_in_dns_costs_two_reads(grown: GrowingFleet) -> None:
    since = grown.sandbox.now()
    again = grown.run("playbooks/add_region.yml", *IN_NEW).ok()
    assert again.changed == {NEW: 0}
    calls = [(call["service"], call["operation"]) for call in grown.calls(since, NEW)]
    assert calls.count(("dynamodb", "Scan")) == calls.count(("cloudformation", "DescribeStackResource")) == 1
    assert not {("iot", "ListThings"), ("iot", "ListCertificates"), ("stepfunctions", "StartExecution")} & set(calls)


@pytest.mark.long
def test_a_region_that_left_dns_is_proven_before_it_comes_back(grown: GrowingFleet) -> None:
    grown.reach(NEW, "hidden")
    assert grown.in_dns() == [HOME, AWAY]
    since = grown.sandbox.now()
    back = grown.run("playbooks/add_region.yml", *IN_NEW, *ONE_LOOK).ok()
    assert f"{NEW}: {grown.devices} devices agree with their rows" in said(back.output)
    assert grown.in_dns() == [NEW, HOME, AWAY]
    assert not grown.device_calls(since), "there was nothing to apply"


@pytest.mark.long
def test_a_region_that_was_away_is_brought_up_to_date(grown: GrowingFleet) -> None:
    lost, gone, *_rest = grown.live
    pipes = grown.client("pipes", NEW)
    names = [each["Name"] for each in pipes.list_pipes(NamePrefix=f"{APPLICATION}-replication")["Pipes"]]
    for name in names:
        pipes.stop_pipe(Name=name)
    try:
        grown.write(lost, State="SUSPENDED")
        grown.write(gone, State="REVOKED")
        eventually(lambda: grown.status_of(lost, AWAY) == "INACTIVE" and grown.status_of(gone, AWAY) == "REVOKED")
        assert grown.status_of(lost, NEW) == grown.status_of(gone, NEW) == "ACTIVE"

        foreseen = grown.run("playbooks/backfill_region.yml", *IN_NEW, "--check").ok()
        assert "1 devices and 1 that are revoked or deleted are to be applied" in said(foreseen.output)
        assert grown.status_of(lost, NEW) == "ACTIVE"

        grown.run("playbooks/backfill_region.yml", *IN_NEW, *ONE_LOOK).ok()
        assert (grown.status_of(lost, NEW), grown.status_of(gone, NEW)) == ("INACTIVE", "REVOKED")
        again = grown.run("playbooks/backfill_region.yml", *IN_NEW, *ONE_LOOK).ok()
        assert again.changed == {NEW: 0}
    finally:
        for name in names:
            pipes.start_pipe(Name=name)


@pytest.mark.long
def test_a_region_is_removed_when_told_twice_and_nothing_elsewhere(grown: GrowingFleet) -> None:
    home = grown.run("playbooks/remove_region.yml", "-e", f"fleet_region={HOME}")
    assert home.code != 0
    assert f"{HOME} is the home region, whose stack owns the global tables" in said(home.output)

    before = {region: (grown.registry(region), grown.standing(region)) for region in (HOME, AWAY)}
    there, since = grown.standing(NEW), grown.sandbox.now()
    preview = grown.run("playbooks/remove_region.yml", *IN_NEW)
    assert preview.code != 0
    assert f"-e fleet_region={NEW} -e fleet_remove_confirm={NEW}" in said(preview.output)
    assert re.search(r"\d+ things and 30 certificates: \d+ calls of AWS IoT", said(preview.output))
    assert grown.standing(NEW) == there

    killed = grown.playbooks.start("playbooks/remove_region.yml", *CONFIRMED, *KEEP)
    eventually(lambda: NEW not in grown.in_dns(), seconds=120)
    kill(killed)
    things = len(grown.registry(NEW)["things"])
    grown.run("playbooks/remove_region.yml", *CONFIRMED, *KEEP).ok()
    assert grown.in_dns() == [HOME, AWAY]
    assert len(grown.registry(NEW)["things"]) == things, "told to leave them"
    assert things
    [authority] = grown.client("iot", NEW).list_ca_certificates()["certificates"]
    assert authority["status"] == "INACTIVE"

    grown.run("playbooks/remove_region.yml", *CONFIRMED).ok()
    assert grown.standing(NEW) == grown.nothing
    assert grown.registry(NEW) == {"things": [], "certificates": {}}
    assert {region: (grown.registry(region), grown.standing(region)) for region in (HOME, AWAY)} == before
    assert grown.writes_elsewhere(since) == [f"{HOME} cloudformation UpdateStack"]
    assert set(grown.run("playbooks/remove_region.yml", *CONFIRMED).ok().changed.values()) == {0}
    assert grown.row(grown.ended[0])["State"] == "REVOKED"


@pytest.mark.long
def test_a_region_whose_devices_were_left_takes_them_up_again(tmp_path: Path) -> None:
    fleet = GrowingFleet(tmp_path, devices=12, revoked=2)
    try:
        fleet.inventory(HOME, AWAY, NEW)
        fleet.run("playbooks/add_region.yml", *IN_NEW).ok()
        fleet.run("playbooks/remove_region.yml", *CONFIRMED, *KEEP).ok()
        fleet.write(fleet.live[0], State="REVOKED")
        fleet.run("playbooks/add_region.yml", *IN_NEW).ok()
        assert fleet.admitted([*fleet.live, *fleet.ended], NEW) == set(fleet.live[1:])
    finally:
        fleet.sandbox.stop()


@pytest.mark.long  # in short: above
def test_two_thousand_devices_find_a_new_region_ready_at_their_first_try(tmp_path: Path) -> None:
    fleet = GrowingFleet(tmp_path, devices=2000, revoked=50)
    try:
        before = {region: (fleet.registry(region), fleet.standing(region)) for region in (HOME, AWAY)}
        fleet.inventory(HOME, AWAY, NEW)
        since = fleet.sandbox.now()
        added = fleet.run("playbooks/add_region.yml", *IN_NEW).ok()
        took = fleet.sandbox.now() - since
        require_proof_before_dns(fleet, since)
        require_everyone(fleet)

        planned, made = backfill_calls(1950, 50), fleet.device_calls(since)
        print(f"{took} for {planned}, made {dict(made)}")
        assert estimated(added.output) == sum(planned.values())
        assert made.total() == pytest.approx(sum(planned.values()), rel=0.1)
        for operation, count in planned.items():
            assert made[operation] == pytest.approx(count, rel=0.1), operation
        assert fleet.writes_elsewhere(since) == [f"{HOME} cloudformation UpdateStack"]
        assert {region: (fleet.registry(region), fleet.standing(region)) for region in (HOME, AWAY)} == before
    finally:
        fleet.sandbox.stop()
