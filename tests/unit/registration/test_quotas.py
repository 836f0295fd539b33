# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new device takes of a region, by the definition of converge-device, and what AWS gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from ansible_collections.iotops.fleet.plugins.module_utils._plan.prices import PRICES
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.operations import OPERATIONS
from ansible_collections.iotops.fleet.plugins.module_utils._registration import quotas
from ansible_collections.iotops.fleet.plugins.module_utils._registration.estimate import (
    EVERYWHERE,
    MACHINES,
    TRANSITIONS,
    usd,
)
from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import CALLS, read_quotas
from benchmarks.joining import prices
from tests.unit.asl.definitions import State, definition

# Where a row that is new goes, with one certificate, one policy and no group.
TAKEN = {
    "WasAWriteLost": "TakeLease",
    "IsThereWork": "ReadRevocations",
    "IsDeviceWanted": "CreateThing",
    "AreThereGroups": "EachCertificate",
    "HowToStart": "RegisterCertificate",
    "IsCertificateWanted": "AttachThing",
    "IsPolicyWanted": "AttachPolicy",
    "WhatIsLeft": "CertificateDone",
    "MayItStillBeConnected": "WriteStatus",
    "HasRowChanged": "Converged",
}


def path(machine: dict[str, Any]) -> Iterator[State]:
    """The states that such a row passes, those of a Map's one item included."""
    name = machine["StartAt"]
    while name:
        state = machine["States"][name]
        yield state
        if state["Type"] == "Map":
            yield from path(state["ItemProcessor"])
        if state["Type"] == "Choice":
            choices = [each["Next"] for each in state["Choices"]]
            assert TAKEN[name] in [*choices, state["Default"]], name
            name = TAKEN[name]
        else:
            name = state.get("Next", "")


def test_the_calls_of_a_new_device_are_those_of_the_definition() -> None:
    resources = [state["Resource"] for state in path(definition("converge-device")) if state["Type"] == "Task"]
    calls = Counter(each.rpartition(":")[2] for each in resources if ":aws-sdk:iot:" in each)
    assert {name[:1].upper() + name[1:]: count for name, count in calls.items()} == CALLS


def test_the_price_counts_what_the_definition_does() -> None:
    states = list(path(definition("converge-device")))
    assert len(states) + 1 == TRANSITIONS  # the start is one too
    writes = [state for state in states if state.get("Resource", "").endswith("dynamodb:updateItem")]
    reads = [state for state in states if state.get("Resource", "").endswith(("getItem", "batchGetItem"))]
    assert (len(writes), len(reads)) == (2, 3)  # of which one reads three keys


def test_prices_are_those_of_the_benchmark() -> None:
    units = {*EVERYWHERE, *MACHINES["EXPRESS"], *MACHINES["STANDARD"]}
    assert {unit: PRICES[unit].usd for unit in units} == {unit: prices.PRICES[unit] for unit in units}
    billed = sum(count for call, count in CALLS.items() if call in prices.REGISTRY)
    assert EVERYWHERE["registry operation"] == billed


def test_a_price_grows_with_devices_and_regions_and_standard_is_dear() -> None:
    one = usd(1_000_000, 1, "EXPRESS")
    assert usd(2_000_000, 3, "EXPRESS") == pytest.approx(6 * one)
    assert usd(1_000_000, 1, "STANDARD") > 500 > 20 > one


def test_default_quotas_are_those_of_the_benchmark_and_smaller_in_some_regions() -> None:
    assert quotas.default_quotas("eu-west-1") == {call: prices.QUOTAS[call] for call in CALLS}
    assert quotas.default_quotas("eu-north-1")["CreateThing"] == 50
    assert quotas.default_quotas("eu-north-1")["RegisterCertificate"] == 10


class Service:
    """boto3's client of Service Quotas: values by code in pages of one, or an error."""

    def __init__(self, defaults: dict[str, float], applied: dict[str, float], error: Exception | None = None) -> None:
        self._answers = {"list_aws_default_service_quotas": defaults, "list_service_quotas": applied}
        self._error = error

    def get_paginator(self, operation: str) -> Any:
        self.operation = operation
        return self

    def paginate(self, ServiceCode: str) -> Iterator[dict[str, Any]]:  # AWS's name
        assert ServiceCode == "iotcore"
        if self._error:
            raise self._error
        for code, value in self._answers[self.operation].items():
            yield {"Quotas": [{"QuotaCode": code, "Value": value}]}


def test_the_applied_value_holds_then_aws_s_default_then_ours() -> None:
    codes = {call: OPERATIONS[call].code for call in CALLS}
    defaults = {codes["CreateThing"]: 77.0, codes["RegisterCertificate"]: 11.0, "L-OTHER": 1.0}
    found = read_quotas(Service(defaults, {codes["RegisterCertificate"]: 40.0}), "eu-west-1")
    assert found.per_second == {
        "CreateThing": 77.0,
        "RegisterCertificate": 40.0,
        "AttachThingPrincipal": 100.0,
        "AttachPolicy": 15.0,
    }
    assert found.source == "Service Quotas; AWS's defaults of 2023-07-27: AttachPolicy, AttachThingPrincipal"
    everything = dict.fromkeys(codes.values(), 9.0)
    assert read_quotas(Service(everything, {}), "eu-west-1").source == "Service Quotas"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "ListServiceQuotas"), "AccessDeniedException"),
        (EndpointConnectionError(endpoint_url="https://servicequotas"), "EndpointConnectionError"),
    ],
)
def test_without_permission_or_service_the_defaults_count_and_it_is_said(error: Exception, why: str) -> None:
    found = read_quotas(Service({}, {}, error), "eu-west-1")
    assert found.per_second == quotas.default_quotas("eu-west-1")
    assert found.source == f"AWS's defaults of 2023-07-27; Service Quotas cannot be read: {why}"
