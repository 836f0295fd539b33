# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator decides what a device is to be, and every region follows."""

from __future__ import annotations

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import moment
from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import AWAY, BOTH, HOME, at, four_times
from tests.integration.sandbox.mqtt import Issued


def joined(deployment: Deployment, name: str) -> Issued:
    device = deployment.issue(name)
    deployment.admit(device, HOME)
    for region in BOTH:
        eventually(lambda region=region: deployment.settled(region, name))
    return device


@pytest.fixture(scope="module")
def device(deployment: Deployment) -> Issued:
    return joined(deployment, "decided")


def decide(deployment: Deployment, name: str = "decided", *, region: str = HOME, check: bool = False, **wanted):
    common = {"application": deployment.application, "thing_name": name, "wait": True, "regions": BOTH}
    return at(deployment, region).run("fleet_device", check=check, **common, **wanted)


def refused(deployment: Deployment, name: str, **wanted) -> str:
    return at(deployment).refusal("fleet_device", application=deployment.application, thing_name=name, **wanted)


def info(deployment: Deployment, name: str, region: str = HOME):
    found = at(deployment, region).run("fleet_device_info", application=deployment.application, thing_names=[name])
    return found["devices"][0]


@pytest.mark.parametrize(
    "wanted",
    [
        {"attributes": {"site": "harbour-3"}},
        {"attributes": {"floor": "2"}, "purge_attributes": False},
        {"attributes": {}},
        {"state": "SUSPENDED", "reason": "reported lost"},
        {"state": "ACTIVE"},
    ],
    ids=["create", "modify", "delete", "suspend", "resume"],
)
def test_a_decision_is_predicted_made_and_not_made_again(deployment: Deployment, device: Issued, wanted) -> None:
    real = four_times(
        lambda check: decide(deployment, check=check, **wanted), lambda: deployment.row(HOME, "decided")["WriteId"]
    )
    assert real["device"]["updated_region"] == "controller"
    for region in BOTH:
        found = info(deployment, "decided", region)
        assert found["in_sync"], found["lag"]
        assert found["row"]["write_id"] == real["device"]["write_id"]
        state = found["row"]["state"]
        assert found["certificates"][device.id]["status"] == ("ACTIVE" if state == "ACTIVE" else "INACTIVE")
        given = {
            key: value for key, value in found["thing"]["attributes"].items() if not key.startswith(("fleet", "cert"))
        }
        assert given == real["device"]["attributes"]
    assert real["device"].get("reason") == wanted.get("reason")


def test_attributes_that_are_not_named_stay_where_that_is_wanted(deployment: Deployment, device: Issued) -> None:
    decide(deployment, attributes={"a": "1", "b": "1"})
    after = decide(deployment, attributes={"b": "2"}, purge_attributes=False)["device"]["attributes"]
    assert after == {"a": "1", "b": "2"}
    assert decide(deployment, attributes={"b": "2"})["device"]["attributes"] == {"b": "2"}


def test_a_device_is_revoked_for_good(deployment: Deployment) -> None:
    device = joined(deployment, "cast-out")
    keys = {"thing:cast-out", f"id:{device.id}"}

    def look():
        scanned = at(deployment).client("dynamodb").scan(TableName=f"{deployment.application}-revocations")["Items"]
        return deployment.row(HOME, "cast-out")["WriteId"], sorted(item["Key"]["S"] for item in scanned)

    real = four_times(lambda check: decide(deployment, "cast-out", check=check, state="REVOKED"), look)
    assert keys < set(real["revoked_keys"])
    assert [key for key in real["revoked_keys"] if key.startswith("serial:")]
    for region in BOTH:
        assert deployment.certificate(region, device) == "REVOKED"
        assert not deployment.knock(device, region)
    message = refused(deployment, "cast-out", state="ACTIVE")
    assert message == "state=ACTIVE: cast-out is REVOKED, which is final; issue a device with another name"


def test_one_certificate_is_revoked_and_the_other_works_on(deployment: Deployment) -> None:
    first = joined(deployment, "two-keys")
    second = deployment.issue("two-keys")
    deployment.admit(second, HOME)
    for region in BOTH:
        eventually(lambda region=region: second.id in deployment.row(region, "two-keys")["Certificates"])
        eventually(lambda region=region: deployment.settled(region, "two-keys"))
    real = decide(deployment, "two-keys", certificate_id=first.id, certificate_state="REVOKED")
    assert f"id:{first.id}" in real["revoked_keys"]
    assert "thing:two-keys" not in real["revoked_keys"]
    for region in BOTH:
        assert deployment.certificate(region, first) == "REVOKED"
        deployment.connected(second, region).close()
    message = refused(deployment, "two-keys", certificate_id=first.id, certificate_state="ACTIVE")
    assert "is REVOKED, which is final" in message


def test_a_deleted_device_is_gone_everywhere_and_its_row_outlives_its_certificates(deployment: Deployment) -> None:
    device = joined(deployment, "removed")
    real = four_times(
        lambda check: decide(deployment, "removed", check=check, state="DELETED"),
        lambda: deployment.row(HOME, "removed")["WriteId"],
    )
    row = deployment.row(HOME, "removed")
    assert row["ExpiresAt"] == real["device"]["expires_at"] > moment(row["NotAfter"]).timestamp()
    for region in BOTH:
        assert info(deployment, "removed", region)["thing"] is None
        assert deployment.certificate(region, device) == "REVOKED"
    assert "release_device.yml" in refused(deployment, "removed", state="ACTIVE")


def test_the_home_region_is_not_needed(deployment: Deployment) -> None:
    device = joined(deployment, "homeless")
    deployment.sandbox.cut(HOME)
    try:
        common = {"application": deployment.application, "thing_name": "homeless", "state": "SUSPENDED", "wait": True}
        at(deployment, AWAY).run("fleet_device", **common)
        assert deployment.certificate(AWAY, device) == "INACTIVE"
    finally:
        deployment.sandbox.restore(HOME)
    decide(deployment, "homeless", state="SUSPENDED")
    assert deployment.certificate(HOME, device) == "INACTIVE"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"attributes": {"fleetDigest": "x"}}, "attributes: fleetDigest is written by convergence; leave it out"),
        ({"attributes": {"a b": "x"}}, "attributes: AWS refuses the name 'a b'"),
        ({"attributes": {"a": "x y"}}, "attributes: AWS refuses the value 'x y' of a"),
        ({"attributes": {f"a{n}": "x" for n in range(48)}}, "attributes: 48 are more than the 47"),
        ({"thing_groups": [f"g{n}" for n in range(11)]}, "thing_groups: 11 are more than the 10"),
        ({"policy_names": ["a/b"]}, "policy_names: AWS refuses the name 'a/b'"),
        ({"thing_type": ""}, "thing_type: AWS refuses the name ''"),
        ({"certificate_id": "abc", "certificate_state": "REVOKED"}, "certificate_id=abc: decided has "),
        ({"certificate_id": "abc"}, "parameters are required together: certificate_id, certificate_state"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(deployment: Deployment, device: Issued, wanted, message: str) -> None:
    before = deployment.row(HOME, "decided")
    assert refused(deployment, "decided", **wanted).startswith(message)
    assert deployment.row(HOME, "decided") == before


def test_an_unknown_device_is_refused_and_reported_as_unknown(deployment: Deployment) -> None:
    assert refused(deployment, "nobody", state="ACTIVE").startswith("thing_name=nobody has no row in ")
    found = info(deployment, "nobody")
    assert (found["row"], found["thing"], found["in_sync"], found["lag"]) == (None, None, False, "there is no row")


def test_who_waits_is_told_what_for(deployment: Deployment, device: Issued) -> None:
    with deployment.apart():
        message = refused(deployment, "decided", reason="slow", wait=True, wait_timeout=1, regions=BOTH)
    assert "decided in us-west-2: version" in message
    assert message.endswith("of the row has not arrived")
