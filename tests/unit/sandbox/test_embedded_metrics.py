# SPDX-License-Identifier: GPL-3.0-or-later
"""Which metrics a log event brings along."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iotops.sandbox.embedded_metrics import metrics


def event(*dimensions: list[str], metrics: list[dict[str, str]], **values: Any) -> str:
    directive = {"Namespace": "fleet", "Dimensions": list(dimensions), "Metrics": metrics}
    return json.dumps({"_aws": {"Timestamp": 1, "CloudWatchMetrics": [directive]}, **values})


def test_each_metric_is_told_with_each_set_of_dimensions() -> None:
    message = event(
        ["Function"], [], metrics=[{"Name": "A", "Unit": "Count"}, {"Name": "B"}], Function="f", A=1, B=[2, 3]
    )
    assert list(metrics(message)) == [
        ("fleet", "A", 1, "Count", {"Function": "f"}),
        ("fleet", "B", 2, "None", {"Function": "f"}),
        ("fleet", "B", 3, "None", {"Function": "f"}),
        ("fleet", "A", 1, "Count", {}),
        ("fleet", "B", 2, "None", {}),
        ("fleet", "B", 3, "None", {}),
    ]


@pytest.mark.parametrize(
    "message",
    [
        "START RequestId: 1",
        "[1, 2]",
        '{"A": 1}',
        '{"_aws": {}}',
        event(["Function"], metrics=[{"Name": "A"}], Function="f", A="text"),
        event(["Function"], metrics=[{"Name": "A"}], Function="f"),
        event(["Function"], metrics=[{"Name": "A"}], A=1),
    ],
)
def test_what_is_none_brings_none(message: str) -> None:
    assert list(metrics(message)) == []
