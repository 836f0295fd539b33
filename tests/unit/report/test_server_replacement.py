# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.filter.server_replacement import server_replacement_rows

HOME, AWAY = "eu-west-1", "us-west-2"
OUT = "out of DNS, serve it, prove it, into DNS"
FINISH = "prove it, into DNS"


def certificate(arn: str) -> dict[str, Any]:
    return {"certificate_arn": arn, "certificate": f"-- {arn}\n--\n", "serial": arn.upper(), "not_after": "2027"}


def domain(arn: str, name: str = "iot.example.com") -> dict[str, Any]:
    served = [{"server_certificate_arn": arn, "server_certificate_status": "VALID"}]
    return {"domain_configuration_name": "demo-primary", "domain_name": name, "server_certificates": served}


def seen(serves: str = "old", *, has: str = "old", dns: str = f"{HOME} {AWAY}", **other: Any) -> dict[str, Any]:
    return {
        "certificates": [certificate(arn) for arn in has.split()],
        "domains": [domain(serves)] if serves else [],
        "served": [{"distrust": None}],
        "records": dns.split(),
        **other,
    }


def rows(away: dict[str, Any], home: dict[str, Any] | None = None, chosen: tuple[str, ...] = (AWAY, HOME)) -> Any:
    regions = {AWAY: away, HOME: home or seen(dns=" ".join(away["records"]))}
    return server_replacement_rows(regions, "-- new --", "iot.example.com", chosen)


@pytest.mark.parametrize(
    ("away", "step", "arn", "former"),
    [
        (seen(), OUT, "", "old"),
        (seen(has="old new"), OUT, "new", "old"),
        (seen("", has="old new", dns=HOME), OUT, "new", "old"),
        (seen("new", has="old new", dns=HOME), FINISH, "new", "old"),
        (seen("new", has="old new"), FINISH, "new", "old"),
        (seen("new", has="new", dns=HOME), FINISH, "new", ""),
        (seen("new", has="new"), "done", "new", ""),
    ],
    ids=["untouched", "imported", "closed", "served", "in DNS", "hidden", "done"],
)
def test_where_a_region_stands_and_what_comes_next(away: dict[str, Any], step: str, arn: str, former: str) -> None:
    found = next(row for row in rows(away) if row["region"] == AWAY)
    assert (found["step"], found["arn"], found["former"], found["problem"]) == (step, arn, former, None)


def test_what_is_out_of_dns_comes_first_so_that_the_next_one_can_be_spared() -> None:
    away, home = rows(seen(), seen("old", dns=AWAY))[::-1]
    assert (home["region"], away["region"]) == (HOME, AWAY)
    assert (home["problem"], away["problem"]) == (None, None)


@pytest.mark.parametrize(
    ("away", "home", "chosen"),
    [
        (seen(dns=AWAY), seen(dns=AWAY), (AWAY,)),
        (seen(), seen(served=[{"distrust": "expired"}]), (AWAY,)),
        (seen(), seen(served=[{"distrust": "expired"}]), (AWAY, HOME)),
    ],
    ids=["alone", "beside one that nobody trusts", "which comes later"],
)
def test_the_last_region_that_works_is_not_taken_out_of_dns(
    away: dict[str, Any], home: dict[str, Any], chosen: tuple[str, ...]
) -> None:
    problem = next(row["problem"] for row in rows(away, home, chosen) if row["region"] == AWAY)
    assert problem.startswith(f"{AWAY}: no other region is in DNS and trusted")


def test_what_another_fleet_of_the_name_serves_is_taken_for_good() -> None:
    found = server_replacement_rows({AWAY: seen(dns=f"{AWAY} {HOME}")}, "-- new --", "iot.example.com", [AWAY])
    assert found[0]["problem"] is None


def test_a_region_that_is_not_chosen_is_left_alone() -> None:
    rest = next(row for row in rows(seen(has=""), chosen=(HOME,)) if row["region"] == AWAY)
    assert (rest["step"], rest["problem"]) == ("not in this run", None)


@pytest.mark.parametrize(
    ("away", "why"),
    [
        (seen("", has=""), "ACM has no server certificate of this fleet: build the region first"),
        (seen("old", domains=[domain("old", "x.example.com")]), "demo-primary is for x.example.com, not for iot"),
        (seen("strange"), "serves strange, which has not the tag Name"),
    ],
)
def test_a_region_that_is_not_as_it_was_built_is_refused(away: dict[str, Any], why: str) -> None:
    problem = next(row["problem"] for row in rows(away) if row["region"] == AWAY)
    assert problem.startswith(f"{AWAY}: {why}")
    assert "playbooks/site.yml --limit us-west-2" in problem


def test_nothing_is_wanted_yet_that_a_region_could_have() -> None:
    found = server_replacement_rows({AWAY: seen(), HOME: seen()}, "", "iot.example.com", [AWAY, HOME])
    assert [(row["step"], row["arn"], row["serves"], row["until"]) for row in found] == [(OUT, "", "OLD", "2027")] * 2
