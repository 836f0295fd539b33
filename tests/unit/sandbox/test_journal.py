# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from iotops.sandbox import journal

START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(number, **fields):
    return {
        "time": (START + timedelta(seconds=number)).isoformat(),
        "region": "r",
        "service": "s",
        "number": number,
        **fields,
    }


def test_what_is_appended_is_read_in_order(tmp_path):
    book = journal.Journal(tmp_path)
    for number in range(3):
        book.append(entry(number))
    assert [line["number"] for line in journal.read(tmp_path)] == [0, 1, 2]
    assert (tmp_path / journal.NAME).stat().st_mode & 0o077 == 0


def test_reading_selects_by_time_and_field(tmp_path):
    book = journal.Journal(tmp_path)
    for number in range(4):
        book.append(entry(number, service="iot" if number % 2 else "sqs"))
    since = START + timedelta(seconds=2)
    assert [line["number"] for line in journal.read(tmp_path, since)] == [2, 3]
    assert [line["number"] for line in journal.read(tmp_path, since, service="iot", region=None)] == [3]


def test_a_full_journal_is_rotated_and_the_last_one_is_kept(tmp_path):
    book = journal.Journal(tmp_path, limit=400)
    for number in range(12):
        book.append(entry(number))
    numbers = [line["number"] for line in journal.read(tmp_path)]
    assert numbers == list(range(numbers[0], 12))
    sizes = [(tmp_path / name).stat().st_size for name in (journal.NAME, journal.PREVIOUS)]
    assert max(sizes) < 600


def test_a_line_being_written_is_left_alone(tmp_path):
    journal.Journal(tmp_path).append(entry(1))
    with (tmp_path / journal.NAME).open("a") as file:
        file.write(json.dumps(entry(2))[:20])
    assert [line["number"] for line in journal.read(tmp_path)] == [1]


def test_an_appended_journal_of_an_earlier_run_goes_on(tmp_path):
    for number in range(2):
        journal.Journal(tmp_path).append(entry(number))
    assert [line["number"] for line in journal.read(tmp_path)] == [0, 1]


@pytest.mark.parametrize("text", ["1767225600", "2026-01-01T00:00:00Z", "2026-01-01", "2026-01-01T01:00:00+01:00"])
def test_a_moment_is_written_in_many_ways(text):
    assert journal.moment(text) == START


def test_what_is_no_moment_is_refused():
    with pytest.raises(ValueError, match="yesterday"):
        journal.moment("yesterday")
