# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils.aws import snake, tags_diff, tags_to_dict, tags_to_list


def test_answers_are_snake_cased_with_utc_times_and_tags_as_a_dict():
    moment = datetime.datetime(2026, 1, 31, 13, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    answer = {
        "CertificateArn": "arn",
        "InUseBy": [],
        "NotAfter": moment,
        "Validity": {"notBefore": moment},
        "Tags": [{"Key": "CamelKey", "Value": "v"}],
    }
    assert snake([answer]) == [
        {
            "certificate_arn": "arn",
            "in_use_by": [],
            "not_after": "2026-01-31T12:00:00Z",
            "validity": {"not_before": "2026-01-31T12:00:00Z"},
            "tags": {"CamelKey": "v"},
        }
    ]


def test_snake_leaves_the_answer_as_it_was():
    answer = {"Tags": [{"Key": "a", "Value": "b"}]}
    snake(answer)
    assert answer == {"Tags": [{"Key": "a", "Value": "b"}]}


def test_tags_go_there_and_back():
    assert tags_to_list({"a": 1}) == [{"Key": "a", "Value": "1"}]
    assert tags_to_dict(tags_to_list({"a": "b", "c": ""})) == {"a": "b", "c": ""}
    assert tags_to_list(None) == []


@pytest.mark.parametrize(
    ("wanted", "purge", "expected"),
    [
        (None, True, ({}, [])),
        ({}, True, ({}, ["a", "b"])),
        ({}, False, ({}, [])),
        ({"a": 1}, True, ({}, ["b"])),
        ({"a": 2, "c": "3"}, False, ({"a": "2", "c": "3"}, [])),
    ],
)
def test_tags_that_differ(wanted: dict | None, purge: bool, expected: tuple):
    assert tags_diff({"a": "1", "b": "2", "aws:x": "y"}, wanted, purge=purge) == expected
