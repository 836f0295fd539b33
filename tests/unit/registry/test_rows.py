# SPDX-License-Identifier: GPL-3.0-or-later
"""What a row means and how rows follow from each other, as properties."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows

REGIONS = ("eu-west-1", "us-west-2", "ap-southeast-2")
IDS = ("c1", "c2", "c3")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

settings.register_profile("rows", max_examples=60, deadline=None)
quick = settings.get_profile("rows")

# Hours around NOW, so that some are past, some are to come, and one is this very moment.
TIMES = st.integers(-3, 3).map(lambda hours: rows.timestamp(NOW + timedelta(hours=hours)))
CLOCKS = st.dictionaries(st.sampled_from(REGIONS), st.integers(0, 3))


@st.composite
def certificates(draw: st.DrawFn, certificate_id: str) -> rows.Row:
    optional = {name: draw(TIMES) for name in ("RetireAt", "RevokeAt") if draw(st.booleans())}
    return {
        "Pem": f"PEM of {certificate_id}",
        "Status": draw(st.sampled_from(rows.STATUSES)),
        "NotAfter": draw(TIMES),
        "IssuerFingerprint": "f1",
        "Serial": f"5e{certificate_id}",
        "RegisteredAt": draw(TIMES),
        "RegisteredIn": draw(st.sampled_from(REGIONS)),
        **optional,
    }


@st.composite
def some_rows(draw: st.DrawFn) -> rows.Row:
    """A row of the thing ``t``, with or without certificates, the current one among them."""
    held = draw(st.sets(st.sampled_from(IDS)))
    row = {
        "ThingName": "t",
        "State": draw(st.sampled_from(rows.STATES)),
        "Version": draw(st.integers(1, 9)),
        "WriteId": str(draw(st.uuids())),
        "Clock": draw(CLOCKS),
        "UpdatedRegion": draw(st.sampled_from(REGIONS)),
        "Certificates": {each: draw(certificates(each)) for each in sorted(held)},
        "Attributes": draw(st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))),
    }
    if held:
        current = draw(st.sampled_from(sorted(held)))
        row |= {"CertificateId": current, "CertificateArn": f"arn of {current}", "NotAfter": "of " + current}
        if draw(st.booleans()):  # one that AWS IoT signed has no CA
            row["CaCertificateId"] = f"CA of {current}"
    return row


ROWS = some_rows()


def what_must_not_be_lost(row: rows.Row) -> dict[str, object]:
    return {
        "State": row["State"],
        "Clock": {region: count for region, count in row["Clock"].items() if count},
        "Statuses": {key: certificate["Status"] for key, certificate in row["Certificates"].items()},
        "retirements": {
            key: sorted(name for name in ("RetireAt", "RevokeAt") if name in certificate)
            for key, certificate in row["Certificates"].items()
        },
    }


def severity(order: tuple[str, ...], value: str) -> int:
    return order.index(value)


@settings(quick)
@given(ROWS, ROWS)
def test_merging_keeps_the_same_whoever_won(one: rows.Row, other: rows.Row) -> None:
    assert what_must_not_be_lost(rows.merge(one, other)) == what_must_not_be_lost(rows.merge(other, one))


@settings(quick)
@given(ROWS, ROWS, ROWS)
def test_merging_keeps_the_same_in_whatever_order(one: rows.Row, two: rows.Row, three: rows.Row) -> None:
    left, right = rows.merge(rows.merge(one, two), three), rows.merge(one, rows.merge(two, three))
    assert what_must_not_be_lost(left) == what_must_not_be_lost(right)


@settings(quick)
@given(ROWS, ROWS)
def test_merging_again_changes_nothing(winner: rows.Row, loser: rows.Row) -> None:
    merged = rows.merge(winner, loser)
    assert rows.merge(winner, winner) == {**winner, "Clock": dict(sorted(winner["Clock"].items()))}
    assert rows.merge(merged, loser) == merged
    assert rows.merge(merged, merged) == merged


@settings(quick)
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


@settings(quick)
@given(ROWS, ROWS)
def test_what_belongs_to_the_current_certificate_is_of_one_certificate(winner: rows.Row, loser: rows.Row) -> None:
    merged = rows.merge(winner, loser)
    currents = [{name: row[name] for name in rows.CURRENT if name in row} for row in (winner, loser)]
    assert {name: merged[name] for name in rows.CURRENT if name in merged} in currents


@settings(quick)
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
            "CertificateId": certificate_id,
            "Certificates": {certificate_id: certificate},
        }

    whole, later = row("c1", "2026-06-01T12:00:00Z"), row("c2", "2026-06-01T12:00:00.250Z")
    assert rows.merge(whole, later)["CertificateId"] == rows.merge(later, whole)["CertificateId"] == "c2"


def clocked(clock: dict[str, int]) -> rows.Row:
    return {"Clock": clock}


@settings(quick)
@given(CLOCKS, CLOCKS, CLOCKS)
def test_descent_is_a_partial_order(one: dict[str, int], two: dict[str, int], three: dict[str, int]) -> None:
    a, b, c = clocked(one), clocked(two), clocked(three)
    assert rows.descends(a, a)
    if rows.descends(a, b) and rows.descends(b, c):
        assert rows.descends(a, c)
    if rows.descends(a, b) and rows.descends(b, a):
        assert all(one.get(region, 0) == two.get(region, 0) for region in REGIONS)


def test_a_row_without_a_clock_is_everybodys_ancestor() -> None:
    assert rows.descends({}, {})
    assert rows.descends(clocked({"eu-west-1": 1}), {})
    assert not rows.descends({}, clocked({"eu-west-1": 1}))


@settings(quick)
@given(ROWS, st.sampled_from(REGIONS), st.sampled_from(REGIONS))
def test_what_follows_a_row_descends_from_it_and_never_the_other_way(row: rows.Row, replica: str, other: str) -> None:
    new = rows.following(row, {"State": "SUSPENDED", "Attributes": None}, replica=replica, writer="controller", now=NOW)
    assert rows.descends(new, row)
    assert not rows.descends(row, new)
    assert new["Version"] == row["Version"] + 1
    assert new["WriteId"] != row["WriteId"]
    assert (new["UpdatedRegion"], new["UpdatedAt"]) == ("controller", "2026-06-01T12:00:00Z")
    assert new["State"] == "SUSPENDED"
    assert "Attributes" not in new
    assert new["Certificates"] == row["Certificates"]
    if replica != other:
        at_once = rows.following(row, {}, replica=other, writer="controller", now=NOW)
        assert not rows.descends(new, at_once)
        assert not rows.descends(at_once, new)
        assert rows.descends(rows.merge(new, at_once), new)
        assert rows.descends(rows.merge(new, at_once), at_once)


def test_the_first_row_of_a_device() -> None:
    first = rows.following({}, {"ThingName": "t"}, replica="eu-west-1", writer="eu-west-1", now=NOW)
    assert (first["Version"], first["Clock"]) == (1, {"eu-west-1": 1})


# --- what it means ---------------------------------------------------------------------------------------------------


@settings(quick)
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
        later = NOW + timedelta(hours=data.draw(st.integers(0, 4)))
        of_later = rows.effective_status(row, key, revoked, later)
        assert severity(rows.STATUSES, of_later) >= severity(rows.STATUSES, status), "time alone only takes away"


@settings(quick)
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


@settings(quick)
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


@settings(quick)
@given(ROWS)
def test_every_revocation_key_of_a_row_revokes(row: rows.Row) -> None:
    keys = rows.revocation_keys(row)
    assert len(keys) == len(set(keys)) == 1 + 2 * len(row["Certificates"])
    for key in row["Certificates"]:
        for revocation in ("thing:t", f"id:{key}", f"serial:f1:5e{key}"):
            assert revocation in keys
            assert rows.effective_status(row, key, [revocation], NOW) == "REVOKED"


@settings(quick)
@given(ROWS)
def test_the_last_not_after(row: rows.Row) -> None:
    last = rows.last_not_after(row)
    times = sorted(rows.moment(certificate["NotAfter"]) for certificate in row["Certificates"].values())
    assert last == (times[-1] if times else None)


# --- digest ----------------------------------------------------------------------------------------------------------

NAMES = st.text("abc-_:", min_size=1, max_size=3)
ATTRIBUTES = st.dictionaries(NAMES, st.text("xyz=.", max_size=3), max_size=4)


@settings(quick)
@given(ATTRIBUTES, NAMES, st.randoms())
def test_the_digest_knows_no_order_and_not_itself(attributes: dict[str, str], kind: str, shuffle) -> None:
    names = list(attributes)
    shuffle.shuffle(names)
    shuffled = {name: attributes[name] for name in names}
    assert rows.digest(shuffled, kind) == rows.digest(attributes, kind)
    assert rows.digest({**attributes, "fleetDigest": rows.digest(attributes, kind)}, kind) == rows.digest(
        attributes, kind
    )


@settings(quick)
@given(ATTRIBUTES, NAMES, ATTRIBUTES, NAMES)
def test_other_attributes_have_another_digest(one: dict[str, str], kind: str, two: dict[str, str], other: str) -> None:
    assert (rows.digest(one, kind) == rows.digest(two, other)) == ((one, kind) == (two, other))


def test_the_digest_stays_what_it_is() -> None:
    text = b"certificateId=c1\nroom=7\ntype=fleet-device"
    expected = hashlib.sha256(text).hexdigest()
    assert rows.digest({"room": "7", "certificateId": "c1"}, "fleet-device") == expected


# --- writers ---------------------------------------------------------------------------------------------------------


class Replica:
    """A row that others write too: after each of our reads as often as ``others`` says."""

    def __init__(self, others: list[bool]) -> None:
        self.row: rows.Row = {"ThingName": "t", "WriteId": "0", "Attributes": {}}
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
        return rows.following(row, changes, replica="eu-west-1", writer="eu-west-1", now=NOW)


@settings(quick)
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


@settings(quick)
@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))
def test_a_timestamp_is_read_as_it_was_written_to_the_second(time: datetime) -> None:
    assert rows.moment(rows.timestamp(time)) == time.replace(microsecond=0)
