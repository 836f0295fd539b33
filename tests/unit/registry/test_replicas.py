# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows in three replicas that keep the last write and drop the other: a model of what the regions do with rows.py.

A replica takes a write that is newer than what it has. Where the new row does not descend from the old one, the region
hears of it, some time later and perhaps again, and merges what was lost into the row as it is by then.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows

REGIONS = ("A", "B", "C")
PLACES = st.sampled_from(REGIONS)
NUMBERS = st.integers(0, 8)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
FIRST = {"ThingName": "t", "State": "ACTIVE", "Version": 1, "WriteId": "first", "Certificates": {}}
ROUNDS = 10  # of merging everywhere and hearing of it, after which nothing may be left to merge
Write = tuple[int, rows.Row]  # time and row


class Replicas(RuleBasedStateMachine):
    """Writers, deliveries and merges in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.replicas: dict[str, Write] = dict.fromkeys(REGIONS, (0, FIRST))
        self.under_way: list[tuple[str, Write]] = []
        self.heard: list[tuple[str, rows.Row]] = []  # where, and what was lost there
        self.certificates: list[str] = []
        self.revoked: set[str] = set()
        self.ended = False
        self.time = 0

    def write(self, region: str, **changes: object) -> None:
        self.put(region, rows.following(self.replicas[region][1], changes, writer=region, now=NOW))

    def put(self, region: str, row: rows.Row) -> None:
        self.time += 1
        self.replicas[region] = (self.time, row)
        self.under_way += [(other, self.replicas[region]) for other in REGIONS if other != region]

    @rule(region=PLACES)
    def add_certificate(self, region: str) -> None:
        self.certificates.append(f"c{len(self.certificates)}")
        entry = {"Status": "ACTIVE", "RegisteredAt": "2026-06-01T00:00:00Z"}
        known = self.replicas[region][1]["Certificates"]
        self.write(region, Certificates={**known, self.certificates[-1]: entry})

    @rule(region=PLACES, number=NUMBERS)
    def revoke_certificate(self, region: str, number: int) -> None:
        known = self.replicas[region][1]["Certificates"]
        if known:
            key = sorted(known)[number % len(known)]
            self.revoked.add(key)
            self.write(region, Certificates={**known, key: {**known[key], "Status": "REVOKED"}})

    @rule(region=PLACES, number=NUMBERS)
    def change_something_else(self, region: str, number: int) -> None:
        self.write(region, Attributes={"room": str(number)})

    @rule(region=PLACES)
    def delete(self, region: str) -> None:
        self.ended = True
        self.write(region, State="DELETED")

    @precondition(lambda self: self.under_way)
    @rule(number=NUMBERS)
    def deliver(self, number: int) -> None:
        region, (time, row) = self.under_way.pop(number % len(self.under_way))
        old_time, old = self.replicas[region]
        if time > old_time:
            self.replicas[region] = (time, row)
            if not rows.descends(row, old):
                self.heard.append((region, old))

    @precondition(lambda self: self.heard)
    @rule(number=NUMBERS, again=st.booleans())
    def merge(self, number: int, again: bool) -> None:
        position = number % len(self.heard)
        region, old = self.heard[position] if again else self.heard.pop(position)
        row = self.replicas[region][1]
        if not rows.descends(row, old):
            self.put(region, rows.merge(row, old))

    def teardown(self) -> None:
        for _ in range(ROUNDS):
            while self.under_way:
                self.deliver(0)
            while self.heard:  # everywhere, before anybody hears of the others'
                self.merge(0, again=False)
        assert not self.under_way, "merging does not end"
        ends = [row for _, row in self.replicas.values()]
        assert ends[0] == ends[1] == ends[2], "the replicas differ"
        assert ends[0]["Certificates"].keys() == set(self.certificates), "a certificate is lost"
        statuses = {key: each["Status"] for key, each in ends[0]["Certificates"].items()}
        assert {key for key, status in statuses.items() if status == "REVOKED"} == self.revoked
        assert (ends[0]["State"] == "DELETED") == self.ended, "a deletion is lost"


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, derandomize=True)
