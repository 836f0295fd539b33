# SPDX-License-Identifier: GPL-3.0-or-later
"""How the benchmark of onboarding turns counts into charges and rates."""

from __future__ import annotations

import pytest

from benchmarks.joining.bill import Line, item_bytes, matches, rates, total
from benchmarks.joining.prices import QUOTAS


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"a": {"S": "bc"}}, 3),
        ({"a": {"S": "é"}}, 3),
        ({"a": {"N": "12345"}}, 5),  # one byte for two digits, and one
        ({"a": {"BOOL": True}}, 2),
        ({"a": {"M": {"b": {"S": "c"}}}}, 1 + 3 + 2 + 1),
        ({"a": {"L": [{"S": "b"}, {"S": "c"}]}}, 1 + 3 + 2 * 2),
        ({"a": {"SS": ["bc", "d"]}}, 4),
    ],
)
def test_an_item_is_as_large_as_dynamodb_says(item: dict, size: int) -> None:
    assert item_bytes(item) == size


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/#", "a/b/c", True),
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a/b/c/d", "a/b/c", False),
        ("b/#", "a/b", False),
    ],
)
def test_topic_filters_match_as_in_mqtt(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected


def test_a_line_is_priced_for_a_million_devices() -> None:
    assert total([Line("x", 2, "registry operation"), Line("y", 1, "express request")]) == pytest.approx(3.5)


def test_the_scarcest_quota_binds() -> None:
    entry = {"DescribeCertificate": 1.0, "AttachPolicy": 1.0}
    one, two = rates(entry, {"AttachPolicy": 1.0, "RegisterCertificate": 1.0})
    assert (one.devices, one.quota) == (QUOTAS["DescribeCertificate"], "DescribeCertificate, RegisterCertificate")
    assert (two.devices, two.quota) == (QUOTAS["AttachPolicy"], "AttachPolicy")


def test_calls_made_twice_halve_the_rate() -> None:
    one, _two = rates({"DescribeCertificate": 2.0}, {})
    assert one.devices == QUOTAS["DescribeCertificate"] / 2


def test_what_has_no_known_quota_is_an_error() -> None:
    with pytest.raises(KeyError, match="InventNewCall"):
        rates({"InventNewCall": 1.0}, {})
