# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item, plain_value, typed_item

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=3), VALUES, max_size=3))
def test_what_boto3_writes_is_read_as_it_was(item):
    assert plain_item({key: TypeSerializer().serialize(value) for key, value in item.items()}) == item


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=3), VALUES, max_size=3))
def test_what_is_written_is_what_boto3_writes(item):
    assert typed_item(item) == {key: TypeSerializer().serialize(value) for key, value in item.items()}


def test_sets_become_sorted_lists_and_fractions_floats():
    item = {"s": {"SS": ["b", "a"]}, "n": {"NS": ["10", "9"]}, "f": {"N": "1.5"}}
    assert plain_item(item) == {"s": ["a", "b"], "n": [9, 10], "f": 1.5}


@pytest.mark.parametrize("value", [{}, {"S": "a", "N": "1"}])
def test_a_value_without_exactly_one_type_is_refused(value):
    with pytest.raises(ValueError, match="exactly one type"):
        plain_value(value)
