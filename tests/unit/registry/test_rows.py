# SPDX-License-Identifier: GPL-3.0-or-later
"""What a row means and how rows follow from each other, as properties."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows
from tests.unit.registry.generated import NOW, QUICK, ROWS


def what_must_not_be_lost(row: rows.Row) -> dict[str, object]:
    return {
        "State": row["State"],
        "Statuses": {key: certificate["Status"] for key, certificate in row["Certificates"].items()},
        "retirements": {
            key: sorted(name for name in ("RetireAt", "RevokeAt") if name in certificate)
            for key, certificate in row["Certificates"].items()
        },
    }


def severity(order: tuple[str, ...], value: str) -> int:
    return order.index(value)


@settings(QUICK)
@given(ROWS, ROWS)
def test_merging_keeps_the_same_whoever_won(one: rows.Row, other: rows.Row) -> None:
    assert what_must_not_be_lost(rows.merge(one, other)) == what_must_not_be_lost(rows.merge(other, one))


@settings(QUICK)
@given(ROWS, ROWS, ROWS)
def test_merging_keeps_the_same_in_whatever_order(one: rows.Row, two: rows.Row, three: rows.Row) -> None:
    left, right = rows.merge(rows.merge(one, two), three), rows.merge(one, rows.merge(two, three))
    assert what_must_not_be_lost(left) == what_must_not_be_lost(right)


@settings(QUICK)
@given(ROWS, ROWS)
def test_merging_again_changes_nothing(winner: rows.Row, loser: rows.Row) -> None:
    merged = rows.merge(winner, loser)
    assert rows.merge(winner, winner) == winner
    assert rows.merge(merged, loser) == merged
    assert rows.merge(merged, merged) == merged


@settings(QUICK)
@given(ROWS, ROWS)
def test_merging_loses_no_certificate_no_revocation_and_no_write(winner: rows.Row, loser: rows.Row) -> None:
    merged = rows.merge(winner, loser)
    for row in (winner, loser):
        assert rows.descends(merged, row)
        assert severity(rows.STATES, merged["State"]) >= severity(rows.STATES, row["State"])
        for key, certificate in row["Certificates"].items():
            kept = merged["Certificates"][key]
            assert severity(rows.STATUSES, kept["Status"]) >= severity(rows.STATUSES, certificate["Status"])
            assert kept["Pem"] == certificate["Pem"]
            assert {"RetireAt", "RevokeAt"} & set(certificate) <= set(kept)
    assert merged["State"] in (winner["State"], loser["State"]), "and nobody becomes what nobody asked for"
    assert set(merged["Certificates"]) == set(winner["Certificates"]) | set(loser["Certificates"])
    assert merged["Attributes"] == winner["Attributes"], "all else is the last writer's"


@settings(QUICK)
@given(ROWS, ROWS)
def test_what_belongs_to_the_current_certificate_is_of_one_certificate(winner: rows.Row, loser: rows.Row) -> None:
    merged = rows.merge(winner, loser)
    currents = [{name: row[name] for name in rows.CURRENT if name in row} for row in (winner, loser)]
    assert {name: merged[name] for name in rows.CURRENT if name in merged} in currents


@settings(QUICK)
@given(ROWS, ROWS)
def test_the_newer_current_certificate_holds(winner: rows.Row, loser: rows.Row) -> None:
    registered = [
        row["Certificates"][row["CertificateId"]]["RegisteredAt"] for row in (winner, loser) if "CertificateId" in row
    ]
    merged = rows.merge(winner, loser)
    if registered:
        newer = {
            row["CertificateId"]
            for row in (winner, loser)
            if "CertificateId" in row and row["Certificates"][row["CertificateId"]]["RegisteredAt"] == max(registered)
        }
        assert merged["CertificateId"] in newer
    else:
        assert "CertificateId" not in merged


def test_of_two_certificates_of_one_second_the_one_with_the_later_fraction_is_newer() -> None:
    def row(certificate_id: str, registered_at: str) -> rows.Row:
        certificate = {"Status": "ACTIVE", "RegisteredAt": registered_at}
        return {
            "ThingName": "t",
            "State": "ACTIVE",
            "Version": 1,
            "WriteId": certificate_id,
            "CertificateId": certificate_id,
            "Certificates": {certificate_id: certificate},
        }

    whole, later = row("c1", "2026-06-01T12:00:00Z"), row("c2", "2026-06-01T12:00:00.250Z")
    assert rows.merge(whole, later)["CertificateId"] == rows.merge(later, whole)["CertificateId"] == "c2"


def test_a_row_that_is_not_there_is_everybodys_ancestor() -> None:
    assert rows.descends({}, {})
    assert rows.descends({"WriteId": "w", "Version": 1}, {})
    assert not rows.descends({}, {"WriteId": "w", "Version": 1})


def test_a_row_knows_twenty_generations_and_what_is_older_counts_as_known() -> None:
    line = [rows.following({}, {"ThingName": "t", "State": "ACTIVE", "Certificates": {}}, writer="a", now=NOW)]
    for _ in range(60):
        line.append(rows.following(line[-1], {}, writer="a", now=NOW))
    assert all(rows.descends(line[-1], each) for each in line)
    assert len(line[-1]["Ancestors"]) == rows.MAX_ANCESTORS
    for behind, known in ((1, False), (19, False), (20, True)):
        assert rows.descends(line[-1], {**line[-1 - behind], "WriteId": "another"}) is known


def test_a_merge_knows_the_generations_of_both_lines() -> None:
    first = rows.following({}, {"ThingName": "t", "State": "ACTIVE", "Certificates": {}}, writer="a", now=NOW)
    lines = [[first], [first]]
    for line in lines:
        for _ in range(25):
            line.append(rows.following(line[-1], {}, writer="a", now=NOW))
    merged = rows.merge(lines[0][-1], lines[1][-1])
    assert all(rows.descends(merged, each) for line in lines for each in line)


@settings(QUICK)
@given(ROWS, ROWS)
def test_whoever_merges_two_rows_makes_the_same_row(winner: rows.Row, loser: rows.Row) -> None:
    elsewhere = rows.merge({**winner, "UpdatedRegion": "elsewhere"}, {**loser, "UpdatedRegion": "elsewhere"})
    assert {**elsewhere, "UpdatedRegion": winner["UpdatedRegion"]} == rows.merge(winner, loser)


@settings(QUICK)
@given(ROWS)
def test_what_follows_a_row_descends_from_it_and_never_the_other_way(row: rows.Row) -> None:
    new = rows.following(row, {"State": "SUSPENDED", "Attributes": None}, writer="controller", now=NOW)
    assert rows.descends(new, row)
    assert not rows.descends(row, new)
    assert new["Version"] == row["Version"] + 1
    assert new["WriteId"] != row["WriteId"]
    assert (new["UpdatedRegion"], new["UpdatedAt"]) == ("controller", rows.timestamp(NOW))
    assert new["State"] == "SUSPENDED"
    assert "Attributes" not in new
    assert new["Certificates"] == row["Certificates"]
    at_once = rows.following(row, {}, writer="controller", now=NOW)
    assert not rows.descends(new, at_once)
    assert not rows.descends(at_once, new)
    assert rows.descends(rows.merge(new, at_once), new)
    assert rows.descends(rows.merge(new, at_once), at_once)


def test_the_first_row_of_a_device() -> None:
    first = rows.following({}, {"ThingName": "t"}, writer="eu-west-1", now=NOW)
    assert (first["Version"], first["Ancestors"]) == (1, [])


# --- what it means ---------------------------------------------------------------------------------------------------


@settings(QUICK)
@given(ROWS, st.sets(st.sampled_from(["thing:t", "id:c1", "serial:f1:5ec2", "id:other", "thing:other"])), st.data())
def test_effective_status(row: rows.Row, revoked: set[str], data: st.DataObject) -> None:
    for key, certificate in row["Certificates"].items():
        status = rows.effective_status(row, key, revoked, NOW)
        gone = (
            row["State"] in ("REVOKED", "DELETED")
            or certificate["Status"] == "REVOKED"
            or bool({"thing:t", f"id:{key}", f"serial:f1:5e{key}"} & revoked)
            or rows.moment(certificate.get("RevokeAt", "9999-01-01T00:00:00Z")) <= NOW
        )
        assert (status == "REVOKED") == gone
        if status == "ACTIVE":
            assert row["State"] == certificate["Status"] == "ACTIVE"
            assert rows.moment(certificate["NotAfter"]) > NOW
            assert rows.moment(certificate.get("RetireAt", "9999-01-01T00:00:00Z")) > NOW
            assert "PresentedAt" in certificate or certificate.get("PresentBy", "9999") > rows.timestamp(NOW)
        later = NOW + timedelta(hours=data.draw(st.integers(0, 4)))
        of_later = rows.effective_status(row, key, revoked, later)
        assert severity(rows.STATUSES, of_later) >= severity(rows.STATUSES, status), "time alone only takes away"


@settings(QUICK)
@given(ROWS, ROWS)
def test_a_merged_row_makes_no_certificate_more_alive_than_the_rows_that_knew_it(
    winner: rows.Row, loser: rows.Row
) -> None:
    merged = rows.merge(winner, loser)
    for row in (winner, loser):
        for key in row["Certificates"]:
            if rows.effective_status(row, key, (), NOW) == "REVOKED" and (
                row["State"] in ("REVOKED", "DELETED") or row["Certificates"][key]["Status"] == "REVOKED"
            ):
                assert rows.effective_status(merged, key, (), NOW) == "REVOKED"


@settings(QUICK)
@given(ROWS, st.data())
def test_nothing_changes_by_the_clock_before_it_is_due(row: rows.Row, data: st.DataObject) -> None:
    """What NotAfter does is no convergence: AWS IoT refuses an expired certificate by itself."""
    row = {
        **row,
        "Certificates": {k: {**c, "NotAfter": "9999-01-01T00:00:00Z"} for k, c in row["Certificates"].items()},
    }
    due = rows.due_at(row, NOW)
    assert due is None or due > NOW
    moment = NOW + timedelta(minutes=data.draw(st.integers(0, 300)))
    for key in row["Certificates"]:
        if due is None or moment < due:
            assert rows.effective_status(row, key, (), moment) == rows.effective_status(row, key, (), NOW)


@settings(QUICK)
@given(ROWS)
def test_every_revocation_key_of_a_row_revokes(row: rows.Row) -> None:
    keys = rows.revocation_keys(row)
    assert len(keys) == len(set(keys)) == 1 + 2 * len(row["Certificates"])
    for key in row["Certificates"]:
        for revocation in ("thing:t", f"id:{key}", f"serial:f1:5e{key}"):
            assert revocation in keys
            assert rows.effective_status(row, key, [revocation], NOW) == "REVOKED"


@settings(QUICK)
@given(ROWS)
def test_the_last_not_after(row: rows.Row) -> None:
    last = rows.last_not_after(row)
    times = sorted(rows.moment(certificate["NotAfter"]) for certificate in row["Certificates"].values())
    assert last == (times[-1] if times else None)


# --- digest ----------------------------------------------------------------------------------------------------------

NAMES = st.text("abc-_:", min_size=1, max_size=3)
ATTRIBUTES = st.dictionaries(NAMES, st.text("xyz=.", max_size=3), max_size=4)


@settings(QUICK)
@given(ATTRIBUTES, NAMES, st.randoms())
def test_the_digest_knows_no_order_and_not_itself(attributes: dict[str, str], kind: str, shuffle) -> None:
    names = list(attributes)
    shuffle.shuffle(names)
    shuffled = {name: attributes[name] for name in names}
    assert rows.digest(shuffled, kind) == rows.digest(attributes, kind)
    digest = rows.digest(attributes, kind)
    derived = {"fleetDigest": digest, "fleetNumber": rows.fleet_number(digest)}
    assert rows.digest({**attributes, **derived}, kind) == digest


@settings(QUICK)
@given(ATTRIBUTES, NAMES, ATTRIBUTES, NAMES)
def test_other_attributes_have_another_digest(one: dict[str, str], kind: str, two: dict[str, str], other: str) -> None:
    assert (rows.digest(one, kind) == rows.digest(two, other)) == ((one, kind) == (two, other))


def test_the_digest_stays_what_it_is() -> None:
    text = b"certificateId=c1\nroom=7\ntype=fleet-device"
    expected = hashlib.sha256(text).hexdigest()
    assert rows.digest({"room": "7", "certificateId": "c1"}, "fleet-device") == expected


@pytest.mark.parametrize(("digest", "number"), [("0" * 64, "0"), ("00000ffa", "255"), ("f" * 64, "268435455")])
def test_the_number_of_a_digest(digest: str, number: str) -> None:
    assert rows.fleet_number(digest) == number


def test_a_thing_without_number_is_as_an_older_release_wrote_it_and_a_wrong_one_is_not() -> None:
    digest = rows.digest({"room": "7"}, "lamp")
    written = {"room": "7", "fleetDigest": digest}
    assert rows.is_as_written(written, "lamp")
    assert rows.is_as_written({**written, "fleetNumber": rows.fleet_number(digest)}, "lamp")
    assert not rows.is_as_written({**written, "fleetNumber": "1"}, "lamp")
    assert not rows.is_as_written({"room": "7"}, "lamp")


# --- writers ---------------------------------------------------------------------------------------------------------


class Replica:
    """A row that others write too: after each of our reads as often as ``others`` says."""

    def __init__(self, others: list[bool]) -> None:
        self.row: rows.Row = {"ThingName": "t", "WriteId": "0", "Version": 1, "Attributes": {}}
        self.others, self.reads = others, 0

    def read(self) -> rows.Row:
        seen = self.row
        if self.reads < len(self.others) and self.others[self.reads]:
            self.row = self.changed(seen, f"other{self.reads}")
        self.reads += 1
        return seen

    def write(self, new: rows.Row, old: rows.Row) -> bool:
        if self.row["WriteId"] != old["WriteId"]:
            return False
        self.row = new
        return True

    @staticmethod
    def changed(row: rows.Row, name: str) -> rows.Row:
        changes = {"Attributes": {**row["Attributes"], name: "yes"}}
        return rows.following(row, changes, writer="eu-west-1", now=NOW)


@settings(QUICK)
@given(st.lists(st.booleans(), max_size=7))
@example([True] * 5)
@example([True] * 4)
def test_a_writer_is_heard_or_told_and_drops_nobody(others: list[bool]) -> None:
    replica = Replica(others)

    def decide(row: rows.Row) -> rows.Row | None:
        return None if "ours" in row["Attributes"] else Replica.changed(row, "ours")

    if all(others[:5]) and len(others) >= 5:
        with pytest.raises(rows.RowKeepsChangingError, match="try again"):
            rows.until_written(replica.read, replica.write, decide)
    else:
        assert rows.until_written(replica.read, replica.write, decide) == replica.row
        assert "ours" in replica.row["Attributes"]
    heard = {f"other{number}" for number in range(replica.reads) if number < len(others) and others[number]}
    assert heard == set(replica.row["Attributes"]) - {"ours"}


def test_a_row_that_is_right_is_not_written() -> None:
    replica = Replica([])
    assert rows.until_written(replica.read, replica.write, lambda _row: None) == replica.row
    assert (replica.row["WriteId"], replica.reads) == ("0", 1)


# --- times -----------------------------------------------------------------------------------------------------------


@settings(QUICK)
@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))
def test_a_timestamp_is_read_as_it_was_written_to_the_second(time: datetime) -> None:
    assert rows.moment(rows.timestamp(time)) == time.replace(microsecond=0)
