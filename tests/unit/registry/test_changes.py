# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator wants of a device, as changes of its row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import MagicMock

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registry.applied import lag
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import Wanted, changes, keys_to_revoke
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica, change
from ansible_collections.iotops.fleet.plugins.module_utils._registry.shown import compared_row, shown_row
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def row(**more):
    certificate = {
        "Pem": "PEM",
        "Status": "ACTIVE",
        "NotAfter": "2027-01-31T12:00:00Z",
        "IssuerFingerprint": "f0",
        "Serial": "1a",
    }
    plain = {
        "ThingName": "dev",
        "State": "ACTIVE",
        "Version": 3,
        "WriteId": "w3",
        "Ancestors": ["1:w1", "2:w2"],
        "Attributes": {"a": "1"},
        "ThingGroups": ["b", "a"],
        "PolicyNames": ["p"],
        "ThingTypeName": "t",
        "Certificates": {"c1": certificate, "c2": {**certificate, "Serial": "2b"}},
    }
    return {**plain, **more}


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(state="ACTIVE"),
        Wanted(attributes={"a": "1"}),
        Wanted(attributes={}, purge_attributes=False),
        Wanted(thing_groups=["a", "b", "a"]),
        Wanted(policy_names=["p"], thing_type="t"),
        Wanted(certificates={"c1": "ACTIVE"}),
    ],
)
def test_what_is_so_already_changes_nothing(wanted: Wanted) -> None:
    assert changes(row(), wanted, NOW) == {}


@pytest.mark.parametrize(
    ("wanted", "changed"),
    [
        (Wanted(state="SUSPENDED", reason="lost"), {"State": "SUSPENDED", "Reason": "lost"}),
        (Wanted(state="SUSPENDED"), {"State": "SUSPENDED", "Reason": None}),
        (Wanted(reason="why"), {"Reason": "why"}),
        (Wanted(attributes={"b": "2"}), {"Attributes": {"b": "2"}}),
        (Wanted(attributes={"b": "2"}, purge_attributes=False), {"Attributes": {"a": "1", "b": "2"}}),
        (Wanted(thing_groups=["c", "a"]), {"ThingGroups": ["a", "c"]}),
        (Wanted(thing_groups=[]), {"ThingGroups": []}),
        (Wanted(policy_names=[], thing_type="u"), {"PolicyNames": [], "ThingTypeName": "u"}),
    ],
)
def test_only_what_differs_is_changed(wanted: Wanted, changed: dict) -> None:
    assert changes(row(), wanted, NOW) == changed


def test_a_certificate_that_is_set_active_does_not_retire_any_more() -> None:
    leaving = {"RetireAt": "2026-02-01T12:00:00Z", "RevokeAt": "2026-02-08T12:00:00Z"}
    before = row()
    before["Certificates"]["c1"] = {**before["Certificates"]["c1"], **leaving}
    assert changes(before, Wanted(certificates={"c1": "ACTIVE"}), NOW) == {"Certificates": row()["Certificates"]}
    after = changes(before, Wanted(certificates={"c1": "INACTIVE"}), NOW)["Certificates"]["c1"]
    assert after.items() >= leaving.items()
    with pytest.raises(FleetError, match="c1 is REVOKED, which is final"):
        changes(before, Wanted(certificates={"c1": "ACTIVE"}), NOW + timedelta(days=9))


def test_a_deleted_row_outlives_its_certificates_and_a_cut_off_region() -> None:
    wanted = Wanted(state="DELETED")
    assert changes(row(), wanted, NOW)["ExpiresAt"] == datetime(2027, 2, 1, 12, tzinfo=UTC).timestamp()
    in_30_days = (NOW + timedelta(days=30)).timestamp()
    assert changes(row(Certificates={}), wanted, NOW)["ExpiresAt"] == in_30_days
    expired = {"c": {"Status": "ACTIVE", "NotAfter": "2026-01-01T00:00:00Z"}}
    assert changes(row(Certificates=expired), wanted, NOW)["ExpiresAt"] == in_30_days


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ({"State": "REVOKED"}, Wanted(state="ACTIVE")),
        ({"State": "REVOKED"}, Wanted(state="SUSPENDED")),
        ({"State": "DELETED"}, Wanted(state="ACTIVE")),
        ({"State": "DELETED"}, Wanted(state="REVOKED")),
        ({"State": "DELETED"}, Wanted(attributes={})),
    ],
)
def test_what_is_final_stays(before: dict, wanted: Wanted) -> None:
    with pytest.raises(FleetError, match="which is final"):
        changes(row(**before), wanted, NOW)


def test_what_is_final_may_be_said_again_and_a_revoked_device_be_deleted() -> None:
    assert changes(row(State="DELETED"), Wanted(state="DELETED"), NOW) == {}
    assert changes(row(State="REVOKED"), Wanted(state="REVOKED"), NOW) == {}
    assert changes(row(State="REVOKED"), Wanted(state="DELETED"), NOW)["State"] == "DELETED"


def test_a_revocation_has_the_keys_of_what_it_revokes() -> None:
    assert keys_to_revoke(row(State="REVOKED"), []) == ["thing:dev", "id:c1", "serial:f0:1a", "id:c2", "serial:f0:2b"]
    assert keys_to_revoke(row(), ["c2"]) == ["id:c2", "serial:f0:2b"]
    assert keys_to_revoke(row(), []) == []


def test_a_row_is_shown_without_pem_and_with_its_own_names_untouched() -> None:
    shown = shown_row(row(Attributes={"SiteName": "x"}))
    assert shown["attributes"] == {"SiteName": "x"}
    assert shown["certificates"]["c1"]["issuer_fingerprint"] == "f0"
    assert "PEM" not in str(shown)
    assert compared_row(row())["certificates"] == {"c1": "ACTIVE", "c2": "ACTIVE"}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (None, "version 3 is not applied, none is"),
        ({"AppliedWriteId": "w2", "AppliedVersion": 2}, "version 3 is not applied, 2 is"),
        ({"AppliedWriteId": "w3", "AppliedVersion": 3}, ""),
        ({"AppliedWriteId": "w3", "AppliedVersion": 3, "Error": "denied"}, "failed: denied"),
    ],
)
def test_a_region_lags_until_it_has_applied_the_write(status: dict | None, why: str) -> None:
    assert lag(row(), status) == why


class Contested(Replica):
    """A row that somebody else writes just before our first write."""

    def __init__(self) -> None:
        super().__init__(MagicMock(), "app", "eu-west-1")
        self.now, self.writes = row(), 0

    def row(self, thing_name):
        return self.now

    def revoked(self, keys):
        return set(keys)

    def write(self, new, old):
        self.writes += 1
        if self.writes == 1:
            self.now = row(WriteId="theirs", Version=4, Attributes={"theirs": "1"}, Ancestors=["3:w3"])
            return False
        assert old["WriteId"] == "theirs"
        self.now = new
        return True


def test_the_change_of_another_writer_stays() -> None:
    wanted = Wanted(attributes={"ours": "1"}, purge_attributes=False)
    _before, after, _keys = change(Contested(), "dev", wanted, check_mode=False)
    assert after["Attributes"] == {"theirs": "1", "ours": "1"}
    assert (after["Version"], after["Ancestors"], after["UpdatedRegion"]) == (5, ["3:w3", "4:theirs"], "controller")
