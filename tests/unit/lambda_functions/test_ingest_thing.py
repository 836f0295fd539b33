# SPDX-License-Identifier: GPL-3.0-or-later
"""ingest-thing: what of an observed thing becomes part of its row, and what of a message counts."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows
from tests.integration.sandbox.mqtt import issue

ROOT = Path(__file__).parents[3]
PACKAGE = (
    ROOT / "files/lambda/ingest_thing",
    ROOT / "files/lambda/shared",
    ROOT / "plugins/module_utils/_registry",
)
MODULES = (
    "aws", "rows", "rows_table", "definitions", "definitions_here", "x509", "observing", "merging", "looks",
    "deletions", "handler",
)  # fmt: skip
ENVIRONMENT = {
    "APPLICATION": "fleet",
    "AWS_REGION": "eu-west-1",
    "LOOKS": "0,3,10",
    "DELETE_LIMIT": "2",
    "QUEUE_URL": "https://sqs/fleet-ingest-thing",
    "DEAD_LETTERS_URL": "https://sqs/fleet-dead-letters",
    "CONVERGE_MACHINE": "arn:aws:states:eu-west-1:123456789012:stateMachine:fleet-converge-device",
}
NOW = datetime(2026, 6, 1, tzinfo=UTC)
COMMON: dict[str, Any] = {"default_type": "fleet-device", "region": "eu-west-1", "now": NOW}
ARN = "arn:aws:iot:eu-west-1:123456789012:thing/lamp"


@pytest.fixture(scope="module")
def package() -> Iterator[SimpleNamespace]:
    """The function's modules as they lie in its package; other functions have modules of the same names."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setattr(sys, "path", [*map(str, PACKAGE), *sys.path])
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        loaded = {name: importlib.import_module(name) for name in MODULES}
        for name in MODULES:
            del sys.modules[name]
        yield SimpleNamespace(**loaded)


def certificate(status: str = "ACTIVE", **changes: str) -> dict[str, str]:
    return {
        "Pem": "PEM", "Status": status, "NotAfter": "2030-01-01T00:00:00Z", "IssuerFingerprint": "aws", "Serial": "1f",
        "RegisteredAt": "2026-01-01T00:00:00Z", "RegisteredIn": "eu-west-1", **changes,
    }  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    return {
        "ThingName": "lamp", "State": "ACTIVE", "ThingArn": ARN, "WriteId": "w1", "Version": 1,
        "HomeRegion": "us-west-2", "Attributes": {"color": "red"}, "ThingTypeName": "fleet-device",
        "ThingGroups": ["floor"], "PolicyNames": ["fleet-device"], "Certificates": {"c1": certificate()},
        "CertificateId": "c1", **changes,
    }  # fmt: skip


def applied(**changes: Any) -> dict[str, Any]:
    return {
        "State": "ACTIVE", "Attributes": {"color": "red"}, "ThingTypeName": "fleet-device", "ThingGroups": ["floor"],
        "PolicyNames": ["fleet-device"], "Statuses": {"c1": "ACTIVE"}, **changes,
    }  # fmt: skip


def observed(**changes: Any) -> dict[str, Any]:
    return {
        "ThingId": "t1", "Attributes": {"color": "red"}, "ThingTypeName": "fleet-device", "ThingGroups": ["floor"],
        "OwnAttributes": {"certificateId": "c1", "fleetDigest": "d"}, "PolicyNames": ["fleet-device"],
        "Certificates": {"c1": {"Status": "ACTIVE"}}, **changes,
    }  # fmt: skip


def changes(
    package: SimpleNamespace, seen: dict[str, Any], *, before: Any = None, was: Any = None, settled: bool = True
) -> Any:
    was = applied() if was is None else was
    return package.merging.changes(before or row(), was, seen, settled=settled, **COMMON)


def test_what_is_as_it_was_applied_changes_nothing(package: SimpleNamespace) -> None:
    assert changes(package, observed()) == {}


def test_only_what_somebody_changed_comes_into_the_row(package: SimpleNamespace) -> None:
    """The row was changed elsewhere too: in the same attributes of the row, but not in the same things."""
    seen = observed(Attributes={"size": "2"}, ThingGroups=["cellar", "floor"], PolicyNames=["fleet-device", "own"])
    elsewhere = row(Attributes={"color": "red", "room": "7"}, ThingGroups=["floor", "roof"])
    assert changes(package, seen, before=elsewhere) == {
        "Attributes": {"room": "7", "size": "2"},
        "ThingGroups": ["floor", "roof", "cellar"],
        "PolicyNames": ["fleet-device", "own"],
    }


def test_what_the_row_has_newer_than_the_registry_stays(package: SimpleNamespace) -> None:
    newer = row(Attributes={"color": "blue"}, ThingTypeName="lamp", ThingGroups=[])
    assert changes(package, observed(), before=newer) == {}


def test_a_thing_without_a_type_gets_the_fleets(package: SimpleNamespace) -> None:
    assert changes(package, observed(ThingTypeName="lamp")) == {"ThingTypeName": "lamp"}
    was, before = applied(ThingTypeName="lamp"), row(ThingTypeName="lamp")
    assert changes(package, observed(ThingTypeName=""), before=before, was=was) == {"ThingTypeName": "fleet-device"}


def test_in_place_of_another_thing_all_counts_that_is_there_and_nothing_that_is_not(package: SimpleNamespace) -> None:
    seen = observed(
        Attributes={"size": "2"}, ThingGroups=[], PolicyNames=[], ThingTypeName="", Certificates={}, ThingId="t2"
    )
    assert changes(package, seen, was={}) == {"Attributes": {"color": "red", "size": "2"}}


@pytest.mark.parametrize(
    ("status", "was", "seen", "becomes"),
    [
        ("ACTIVE", "ACTIVE", "INACTIVE", "INACTIVE"),
        ("ACTIVE", "ACTIVE", "REVOKED", "REVOKED"),
        ("INACTIVE", "INACTIVE", "ACTIVE", "ACTIVE"),
        ("INACTIVE", "INACTIVE", "REVOKED", "REVOKED"),
        ("REVOKED", "ACTIVE", "ACTIVE", "REVOKED"),
        ("REVOKED", "ACTIVE", "INACTIVE", "REVOKED"),
        ("INACTIVE", "ACTIVE", "ACTIVE", "INACTIVE"),  # the row is newer, nobody touched the certificate
        ("INACTIVE", "", "ACTIVE", "INACTIVE"),  # nobody knows who was first: the more severe one
        ("ACTIVE", "", "INACTIVE", "INACTIVE"),
        ("ACTIVE", "ACTIVE", "PENDING_TRANSFER", "ACTIVE"),
    ],
)
def test_the_status_of_a_certificate(package: SimpleNamespace, status: str, was: str, seen: str, becomes: str) -> None:
    found = changes(
        package,
        observed(Certificates={"c1": {"Status": seen}}),
        before=row(Certificates={"c1": certificate(status)}),
        was=applied(Statuses={"c1": was} if was else {}),
    )
    certificates = found.get("Certificates", {"c1": certificate(status)})
    assert certificates["c1"]["Status"] == becomes


@pytest.mark.parametrize("forbidding", [{"State": "SUSPENDED"}, {"State": "REVOKED"}])
def test_no_registry_decides_against_the_state_of_the_device(
    package: SimpleNamespace, forbidding: dict[str, str]
) -> None:
    before = row(Certificates={"c1": certificate("INACTIVE")}, **forbidding)
    seen = observed(Certificates={"c1": {"Status": "ACTIVE"}})
    assert changes(package, seen, before=before, was=applied(Statuses={"c1": "INACTIVE"})) == {}
    assert package.merging.has_drifted(before, "t1", seen, NOW)


def test_a_retired_certificate_is_not_brought_back(package: SimpleNamespace) -> None:
    before = row(Certificates={"c1": certificate(RetireAt="2026-05-01T00:00:00Z")})
    seen = observed(Certificates={"c1": {"Status": "ACTIVE"}})
    assert changes(package, seen, before=before, was=applied(Statuses={"c1": "INACTIVE"})) == {}
    assert package.merging.has_drifted(before, "t1", seen, NOW)


@pytest.mark.parametrize(
    ("seen", "drifted"),
    [
        ({}, False),
        ({"ThingId": "t2"}, True),
        ({"OwnAttributes": {"fleetDigest": "d"}}, True),
        ({"OwnAttributes": {"certificateId": "c1"}}, True),
        ({"OwnAttributes": {"certificateId": "c1", "fleetDigest": "d", "fleetNumber": "13"}}, False),
        ({"OwnAttributes": {"certificateId": "c1", "fleetDigest": "d", "fleetNumber": "14"}}, True),
        ({"OwnAttributes": {"certificateId": "c1", "fleetDigest": "no digest"}}, True),
        ({"Certificates": {"c1": {"Status": "PENDING_ACTIVATION"}}}, False),
        ({"Certificates": {"c1": {"Status": "INACTIVE"}}}, True),
    ],
)
def test_what_convergence_has_to_put_right(package: SimpleNamespace, seen: dict[str, Any], drifted: bool) -> None:
    assert package.merging.has_drifted(row(), "t1", observed(**seen), NOW) is drifted


def test_what_is_missing_counts_only_when_aws_would_list_it(package: SimpleNamespace) -> None:
    seen = observed(PolicyNames=[], Certificates={"c2": {**certificate(), "Status": "ACTIVE"}})
    certificates = changes(package, seen, settled=False)["Certificates"]
    assert {key: each["Status"] for key, each in certificates.items()} == {"c1": "ACTIVE", "c2": "ACTIVE"}
    found = changes(package, seen)
    assert {key: each["Status"] for key, each in found["Certificates"].items()} == {"c1": "INACTIVE", "c2": "ACTIVE"}
    assert found["PolicyNames"] == []
    assert found["CertificateId"] == "c2"


def test_a_thing_without_certificates_says_nothing_about_policies(package: SimpleNamespace) -> None:
    assert "PolicyNames" not in changes(package, observed(PolicyNames=[], Certificates={}))


@pytest.mark.parametrize(
    ("age", "settled"), [(timedelta(seconds=59), False), (timedelta(seconds=60), True), (timedelta(days=1), True)]
)
def test_how_long_aws_may_take_to_list(package: SimpleNamespace, age: timedelta, settled: bool) -> None:
    assert package.merging.is_settled({"AppliedAt": (NOW - age).isoformat()}, NOW) is settled
    assert not package.merging.is_settled({}, NOW)


def test_the_newest_active_certificate_becomes_the_current_one(package: SimpleNamespace) -> None:
    seen = observed(
        Certificates={
            "c1": {"Status": "REVOKED"},
            "c2": {**certificate("INACTIVE"), "CaCertificateId": "ca"},
            "c3": {**certificate(NotAfter="2031-01-01T00:00:00Z"), "CaCertificateId": "ca"},
        }
    )
    found = changes(package, seen)
    assert {name: found[name] for name in rows.CURRENT} == {
        "CertificateId": "c3",
        "CertificateArn": "arn:aws:iot:eu-west-1:123456789012:cert/c3",
        "CaCertificateId": "ca",
        "NotAfter": "2031-01-01T00:00:00Z",
    }
    assert found["Certificates"]["c3"] == certificate(
        NotAfter="2031-01-01T00:00:00Z", RegisteredAt="2026-06-01T00:00:00Z"
    )
    assert package.merging.revoked_here(row(), found) == ["id:c1", "serial:aws:1f"]


def test_a_row_takes_no_more_certificates_than_it_may_have_and_the_active_ones_first(package: SimpleNamespace) -> None:
    many = {f"n{number:02}": certificate("INACTIVE") for number in range(25)} | {"z": certificate()}
    found = changes(package, observed(Certificates=many), settled=False)["Certificates"]
    assert len(found) == rows.MAX_CERTIFICATES
    assert "z" in found


def test_the_row_of_an_unknown_thing(package: SimpleNamespace) -> None:
    seen = observed(ThingTypeName="", Attributes={}, ThingGroups=[], PolicyNames=["own"], Certificates={})
    fresh = package.merging.new_row(seen, arn=ARN, **COMMON)
    assert fresh == {
        "State": "ACTIVE", "HomeRegion": "eu-west-1", "ThingArn": ARN, "Certificates": {}, "PolicyNames": ["own"],
        "ThingTypeName": "fleet-device", "ThingGroups": [], "Attributes": {},
    }  # fmt: skip


def test_a_device_that_is_made_again_does_not_bring_its_old_certificates_back(package: SimpleNamespace) -> None:
    gone = row(State="DELETED", ExpiresAt=1, Reason="the thing was deleted")
    seen = observed(Certificates={"c2": certificate()}, Attributes={"color": "green"})
    found = package.merging.revived(gone, seen, arn=ARN, **COMMON)
    after = {name: value for name, value in {**gone, **found}.items() if value is not None}
    assert (after["State"], after["HomeRegion"], after["CertificateId"]) == ("ACTIVE", "us-west-2", "c2")
    assert after["Attributes"] == {"color": "green"}
    assert {key: each["Status"] for key, each in after["Certificates"].items()} == {"c1": "REVOKED", "c2": "ACTIVE"}
    assert not {"ExpiresAt", "Reason"} & set(after)


def test_a_tombstone_outlives_the_last_certificate_and_one_day(package: SimpleNamespace) -> None:
    found = package.merging.tombstone(row(), region="eu-west-1", now=NOW)
    assert found["ExpiresAt"] == int(datetime(2030, 1, 2, tzinfo=UTC).timestamp())
    bare = package.merging.tombstone(row(Certificates={}), region="eu-west-1", now=NOW)
    assert bare["ExpiresAt"] == int((NOW + timedelta(days=1)).timestamp())


@pytest.mark.parametrize("days", [30, 12000])
def test_a_certificate_is_read_without_a_library(package: SimpleNamespace, days: int) -> None:
    issued = issue("lamp", days=days)
    assert package.x509.fingerprint(issued.pem) == issued.id
    assert package.x509.serial(issued.pem) == format(issued.certificate.serial_number, "x")
    assert package.x509.not_after(issued.pem) == issued.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        ({"eventType": "THING_EVENT", "operation": "UPDATED", "thingName": "lamp"}, ("", "lamp")),
        (
            {"eventType": "THING_GROUP_MEMBERSHIP_EVENT", "operation": "ADDED", "thingArn": ARN, "groupArn": "g"},
            ("", "lamp"),
        ),
        ({"eventType": "THING_GROUP_EVENT", "thingGroupName": "floor"}, ("group#floor", "")),
        (
            {"eventType": "THING_GROUP_HIERARCHY_EVENT", "thingGroupName": "house", "childGroupName": "floor"},
            ("group#floor", ""),
        ),
        ({"eventType": "THING_TYPE_EVENT", "thingTypeName": "lamp"}, ("type#lamp", "")),
        ({"eventType": "THING_TYPE_EVENT", "thingTypeName": "fleet-device"}, ("", "")),
        ({"thingName": "lamp"}, ("", "lamp")),
        ({"definition": "policy#own"}, ("policy#own", "")),
    ],
)
def test_what_a_message_is_about(package: SimpleNamespace, message: dict[str, Any], subject: tuple[str, str]) -> None:
    assert package.handler.subject(message) == subject


def test_only_what_convergence_wrote_is_an_echo(package: SimpleNamespace) -> None:
    attributes = {"color": "red", "certificateId": "c1"}
    written = {**attributes, "fleetDigest": rows.digest(attributes, "fleet-device")}
    event = {"operation": "UPDATED", "thingTypeName": "fleet-device", "attributes": written}
    number = rows.fleet_number(written["fleetDigest"])
    assert package.handler.is_echo(event), "of a release without fleetNumber"
    assert package.handler.is_echo({**event, "attributes": {**written, "fleetNumber": number}})
    assert not package.handler.is_echo({**event, "attributes": {**written, "fleetNumber": f"{number}0"}})
    assert not package.handler.is_echo({**event, "attributes": {**written, "color": "blue"}})
    assert not package.handler.is_echo({**event, "thingTypeName": None})
    assert not package.handler.is_echo({**event, "operation": "DELETED"})
    assert not package.handler.is_echo({"operation": "ADDED"})


class TestMessages:
    """The looks that follow, and what becomes of a message that fails."""

    @pytest.fixture(autouse=True)
    def _calls(self, package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sqs = MagicMock()
        self.look = MagicMock()
        self.look.return_value.is_complete = False
        monkeypatch.setattr(package.handler, "aws", {"sqs": self.sqs}.__getitem__)
        monkeypatch.setattr(package.handler, "Look", self.look)
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)

    @pytest.mark.parametrize(("look", "delay"), [(0, 3), (1, 7)])
    def test_the_next_look_is_sent_with_its_delay(self, package: SimpleNamespace, look: int, delay: int) -> None:
        self.look.return_value.take.return_value = True
        package.handler.take({"look": look, "thingName": "lamp"})
        [sent] = [call.kwargs for call in self.sqs.send_message.call_args_list]
        assert (json.loads(sent["MessageBody"]), sent["DelaySeconds"]) == (
            {"look": look + 1, "thingName": "lamp"}, delay,
        )  # fmt: skip

    @pytest.mark.parametrize(("look", "again"), [(2, True), (0, False)])
    def test_nothing_follows_the_last_look_or_one_that_saw_all(
        self, package: SimpleNamespace, look: int, again: bool
    ) -> None:
        self.look.return_value.take.return_value = again
        package.handler.take({"look": look, "thingName": "lamp"})
        self.sqs.send_message.assert_not_called()
        assert self.look.call_args.kwargs["is_last"] is (look == 2)

    def test_of_a_thing_that_is_complete_only_the_last_look_is_left(self, package: SimpleNamespace) -> None:
        self.look.return_value.take.return_value = self.look.return_value.is_complete = True
        package.handler.take({"look": 0, "thingName": "lamp"})
        [sent] = [call.kwargs for call in self.sqs.send_message.call_args_list]
        assert (json.loads(sent["MessageBody"])["look"], sent["DelaySeconds"]) == (2, 10)
        package.handler.take({"look": 2, "thingName": "lamp"})
        assert self.sqs.send_message.call_count == 1

    def test_a_message_that_fails_fails_alone(self, package: SimpleNamespace) -> None:
        self.look.return_value.take.side_effect = [RuntimeError("throttled"), False]
        bodies = ['{"look": 0, "thingName": "a"}', '{"look": 0, "thingName": "b"}', "no JSON"]
        records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
        answer = package.handler.handler({"Records": records}, None)
        assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}, {"itemIdentifier": "2"}]}


class TestLooks:
    """What a look makes of a thing, of which AWS IoT and the tables are made up here."""

    @pytest.fixture(autouse=True)
    def _region(self, package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.row, self.seen, self.changed = row(), observed(), None
        self.status = {"AppliedWriteId": "w1", "ThingId": "t1", "Applied": applied()}
        self.converge, self.authority = MagicMock(), MagicMock(return_value={})
        thing = {"thingName": "lamp", "thingArn": ARN, "thingId": "t1"}

        def change(_table: str, decide: Any, **_key: str) -> None:
            self.changed = decide(self.row)

        for name, value in {
            "change": change,
            "read": lambda *_args, **_kwargs: self.status,
            "describe": lambda _name: thing,
            "observe": lambda *_args: self.seen,
            "converge": self.converge,
            "definitions_here": MagicMock(),
            "put": MagicMock(),
        }.items():
            monkeypatch.setattr(package.looks, name, value)
        monkeypatch.setattr(package.observing, "_authority", self.authority)

    def look(self, package: SimpleNamespace, number: int) -> Any:
        look = package.looks.Look("lamp", kind="THING_EVENT", number=number)
        assert look.take()
        return look

    @pytest.mark.parametrize(
        ("number", "seen", "complete"),
        [
            (1, {}, True),
            (0, {}, False),
            (1, {"Certificates": {}}, False),
            (1, {"PolicyNames": []}, False),
            (1, {"Attributes": {"color": "blue"}}, False),
        ],
    )
    def test_a_thing_is_complete_with_certificate_and_policy_and_nothing_that_differs(
        self, package: SimpleNamespace, number: int, seen: dict[str, Any], complete: bool
    ) -> None:
        self.seen = observed(**seen)
        assert self.look(package, number).is_complete is complete

    def of_a_deleted_device(self, **certificate: str) -> None:
        self.row["State"], self.status["ThingId"] = "DELETED", ""
        facts = {"Status": "ACTIVE", "NotAfter": "2100-01-01T00:00:00Z", "IssuerFingerprint": "ff", **certificate}
        self.seen = observed(Certificates={"c2": facts} if certificate else {})

    @pytest.mark.parametrize("configured", [True, False])
    def test_a_deleted_device_comes_back_by_hand_and_not_by_a_template(
        self, package: SimpleNamespace, configured: bool
    ) -> None:
        self.authority.return_value = {"registrationConfig": {"templateName": "fleet-jitp"}} if configured else {}
        self.of_a_deleted_device(CaCertificateId="ca")
        self.look(package, 0)
        assert self.changed is None if configured else self.changed["State"] == "ACTIVE"
        assert self.converge.call_args.kwargs["exact"] is configured

    @pytest.mark.parametrize(
        ("is_last", "thing_id", "state"),
        [(False, "t1", None), (True, "t1", "ACTIVE"), (True, "", "ACTIVE"), (True, "of the thing before it", None)],
    )
    def test_one_without_certificates_waits_for_those_that_aws_iot_may_be_attaching(
        self, package: SimpleNamespace, is_last: bool, thing_id: str, state: str | None
    ) -> None:
        self.of_a_deleted_device()
        package.looks.Look("lamp", thing_id=thing_id, is_last=is_last).take()
        assert (self.changed or {}).get("State") == state
