# SPDX-License-Identifier: GPL-3.0-or-later
"""What a random sample says of the whole fleet. Expected values: tables of the exact (Clopper-Pearson) limits."""

from __future__ import annotations

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._replication.sample import mark, most_faulty


@pytest.mark.parametrize(
    ("faulty", "sampled", "limit"),
    [
        (0, 10, 0.2589),
        (0, 100, 0.0295),
        (0, 3000, 0.000998),  # the rule of three: 3 / n
        (1, 10, 0.3942),
        (1, 100, 0.0466),
        (5, 10, 0.7776),
        (10, 10, 1.0),
    ],
)
def test_the_share_that_is_not_exceeded_with_95_percent_confidence(faulty: int, sampled: int, limit: float) -> None:
    assert most_faulty(faulty, sampled) == pytest.approx(limit, abs=5e-4 if sampled < 1000 else 1e-6)


def test_a_sample_is_the_same_for_the_same_check_and_another_one_for_another() -> None:
    names = [f"dev-{number}" for number in range(1000)]
    first, again, other = (sorted(names, key=mark(seed))[:100] for seed in ("one", "one", "two"))
    assert first == again
    assert len(set(first) & set(other)) < 40
