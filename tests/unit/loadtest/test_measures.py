# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages are counted by their numbers, latencies by their histogram, and results add up."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotops.loadtest.measures import Latencies, Receiver, Sequence, disorder, new_histogram, received_from
from iotops.loadtest.payload import Message, Writer, read, stamped
from iotops.loadtest.result import Interval, Result, merge

HOST = b"0123abcd"


@given(st.lists(st.integers(0, 30), max_size=80))
def test_each_number_counts_once_whatever_the_order(numbers: list[int]) -> None:
    sequence = Sequence()
    first = [sequence.got(number) for number in numbers]
    assert sum(first) == sequence.received == len(set(numbers))
    assert sequence.duplicates == len(numbers) - len(set(numbers))


@pytest.mark.parametrize(
    ("numbers", "received", "duplicates", "reordered"),
    [
        ([0, 1, 2], 3, 0, 0),
        ([0, 2], 2, 0, 0),
        ([0, 2, 1], 3, 0, 1),
        ([0, 1, 1], 2, 1, 0),
        ([3, 2, 1, 0, 0], 4, 1, 3),
    ],
    ids=["in order", "one lost", "one late", "one twice", "backwards"],
)
def test_what_was_lost_repeated_or_late(numbers: list[int], received: int, duplicates: int, reordered: int) -> None:
    receiver = Receiver()
    for number in numbers:
        receiver[b"dev-1"].got(number)
    assert received_from([receiver]) == {"dev-1": received}
    assert disorder([receiver]) == (duplicates, reordered)


@pytest.mark.parametrize("size", [0, 110, 130, 4096])
def test_a_message_is_json_of_its_size_and_read_as_it_was_written(size: int) -> None:
    payload = Writer("dev:1", HOST, size).write(7, 1234, 1240)
    content = json.loads(payload)
    assert (content["sequence"], content["due"], content["sent"], content["from"]) == (7, 1234, 1240, "dev:1")
    assert read(payload) == Message(7, 1234, 1240, b"dev:1", HOST)
    assert size <= len(payload) <= max(size, 110) + 10
    forwarded = json.loads(stamped(payload, "sub-1", 5))
    assert (forwarded["sequence"], forwarded["by"], forwarded["took"]) == (7, "sub-1", 5)


@given(st.binary(max_size=120))
def test_what_is_nobodys_message_is_none(payload: bytes) -> None:
    assert read(payload) is None
    cut = Writer("dev-1", HOST).write(1, 2, 3)[: len(payload)]
    assert read(cut) is None or read(cut).sequence == 1


def test_percentiles_are_those_of_what_was_recorded() -> None:
    latencies = Latencies()
    record = latencies.recorder("publish")
    values = list(range(1, 1001))
    random.Random(1).shuffle(values)
    for value in values[:500]:
        record(value)
    first = latencies.fold()["publish"]
    for value in values[500:]:
        record(value)
    latencies.fold()
    assert latencies.fold() == {}
    assert first.get_total_count() == 500
    total = latencies.total["publish"]
    assert [total.get_value_at_percentile(p) for p in (50, 99, 100)] == [500, 990, 1000]


def result(share: int, **more: int) -> Result:
    histogram = new_histogram()
    histogram.record_value(100 * (share + 1))
    line = Interval(1.0, Counter(sent=5), 2, [0.5], 0.001, {"publish": histogram})
    return Result(
        seconds=10 + share,
        started=100.0 - share,
        counts=Counter({"sent": 10, "due": 10, **more}),
        receivers=1,
        sent_by=Counter({f"dev-{share}": 10}),
        received_from=Counter({"dev-0": 10, "dev-1": 9}) if share else Counter({"dev-0": 10, "dev-1": 10}),
        latencies={"publish": histogram},
        intervals=[line],
        processes=[{"share": share, "ended": True}],
    )


def test_results_of_processes_add_up_in_any_order() -> None:
    one, other = result(0, duplicates=1), result(1)
    both, turned = merge([one, other]), merge([other, one])
    assert (both.expected, both.received, both.lost, both.lost_by) == (40, 39, 1, {"dev-1": 1})
    assert (both.seconds, both.started, both.receivers, both.counts["duplicates"]) == (11, 99.0, 2, 1)
    assert both.latencies["publish"].get_total_count() == 2
    [line] = both.intervals
    assert (line.counts["sent"], line.connected, line.cpu) == (10, 4, [0.5, 0.5])
    assert both.lost_by == turned.lost_by


def test_senders_of_a_process_that_died_hide_no_loss() -> None:
    left = result(1)  # it heard 10 of dev-0, whose process is gone, and 9 of its own 10
    assert (left.expected, left.received, left.lost) == (10, 9, 1)


def test_a_result_is_the_same_after_its_way_through_json() -> None:
    before = merge([result(0), result(1)])
    after = Result.from_json(json.loads(json.dumps(before.to_json())))
    assert after.to_json() == before.to_json()
    assert after.lost == before.lost


@pytest.mark.parametrize(("cpu", "limited"), [(0.5, False), (0.95, True)])
def test_a_generator_that_has_no_more_to_give_says_so(cpu: float, limited: bool) -> None:
    found = result(0)
    found.intervals[0].cpu = [0.1, cpu]
    assert bool(found.limits) is limited
