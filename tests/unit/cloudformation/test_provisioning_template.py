# SPDX-License-Identifier: GPL-3.0-or-later
"""The one function that strangers can call keeps to its part of the concurrency, and tells when it is short."""

from __future__ import annotations

from tests.unit.templates import of_type, template

TEMPLATE = template("provisioning")
RESOURCES = TEMPLATE["Resources"]
FUNCTION = RESOURCES["ProvisionDevice"]["Properties"]


def test_a_crowd_takes_no_concurrency_from_other_functions_unless_the_operator_says_so() -> None:
    chosen, bound, none = FUNCTION["ReservedConcurrentExecutions"]["If"]
    assert (bound, none) == ({"Ref": "ReservedConcurrency"}, {"Ref": "AWS::NoValue"})
    assert TEMPLATE["Conditions"][chosen] == {"Not": [{"Equals": [{"Ref": "ReservedConcurrency"}, "0"]}]}
    assert TEMPLATE["Parameters"]["ReservedConcurrency"]["Default"] == 100


def test_who_finds_no_concurrency_is_told_of() -> None:
    [alarm] = [each for _, each in of_type(RESOURCES, "AWS::CloudWatch::Alarm") if each["MetricName"] == "Throttles"]
    assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": "ProvisionDevice"}}]
    assert alarm["AlarmActions"]


def test_a_region_that_does_not_answer_leaves_time_for_another_one() -> None:
    """Connecting and reading, each attempt anew, and a pause of up to a second between two."""
    variables = FUNCTION["Environment"]["Variables"]
    attempts = int(variables["AWS_MAX_ATTEMPTS"])
    once = int(variables["AWS_CONNECT_TIMEOUT"]) + int(variables["AWS_READ_TIMEOUT"])
    assert attempts * once + (attempts - 1) < FUNCTION["Timeout"] / 2
