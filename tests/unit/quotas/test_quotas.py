# SPDX-License-Identifier: GPL-3.0-or-later
"""How many calls AWS takes: what it publishes, and what Service Quotas tells of an account."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import default_quotas, read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.limits import LIMITS
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.operations import OPERATIONS

PUBLISHED = {  # AWS General Reference of 2023-07-27: in most regions, in the select ones
    "CreateThing": (100, 50),
    "UpdateThing": (100, 50),
    "DeleteThing": (100, 50),
    "DescribeThing": (350, 350),
    "AttachThingPrincipal": (100, 50),
    "DetachThingPrincipal": (100, 50),
    "AddThingToThingGroup": (100, 60),
    "RemoveThingFromThingGroup": (100, 50),
    "ListThingGroupsForThing": (100, 50),
    "AttachPolicy": (15, 15),
    "RegisterCertificate": (10, 10),
    "DescribeCertificate": (10, 10),
    "ListThings": (10, 10),
    "ListThingPrincipals": (20, 20),
    "ListTargetsForPolicy": (10, 10),
    "GetEffectivePolicies": (5, 5),
    "DeleteTopicRule": (20, 5),
    "SearchIndex": (15, 15),
    "UpdateThingShadow": (4000, 400),
}


@pytest.mark.parametrize("operation", PUBLISHED)
def test_the_defaults_are_those_that_aws_publishes(operation: str) -> None:
    most, select = PUBLISHED[operation]
    assert default_quotas("eu-west-1", [operation]) == {operation: most}
    assert default_quotas("eu-north-1", [operation]) == {operation: select}


def test_the_select_regions_of_shadows_have_one_more() -> None:
    assert default_quotas("sa-east-1", ["CreateThing", "GetThingShadow"]) == {"CreateThing": 100, "GetThingShadow": 400}


def test_each_operation_is_one_of_aws() -> None:
    models = [boto3.client(service, "eu-west-1").meta.service_model for service in ("iot", "iot-data")]
    assert set(OPERATIONS) <= {name for model in models for name in model.operation_names}


def test_each_quota_says_where_it_is_from_and_no_code_stands_twice() -> None:
    assert all(quota.source and re.fullmatch(r"20\d\d-\d\d(-\d\d)?", quota.date) for quota in OPERATIONS.values())
    codes = {quota.code for quota in OPERATIONS.values() if quota.code and "Shadow" not in quota.name}
    assert all(re.fullmatch("L-[0-9A-F]{8}", code) for code in codes)
    assert len(codes) == sum(bool(quota.code) and "Shadow" not in quota.name for quota in OPERATIONS.values())


def test_what_aws_does_not_publish_has_no_number() -> None:
    assert default_quotas("eu-west-1", ["DeleteConnection", "ListThings"]) == {"ListThings": 10}


def test_an_unknown_operation_is_an_error_that_names_it() -> None:
    with pytest.raises(KeyError, match="InventNewCall"):
        default_quotas("eu-west-1", ["InventNewCall"])


class Service:
    """boto3's client of Service Quotas: values by service and code, one to a page; others are unknown services."""

    def __init__(self, values: Mapping[str, Mapping[str, float]]) -> None:
        self.values, self.asked = values, []  # type: ignore[var-annotated]

    def get_paginator(self, operation: str) -> Any:
        assert operation in ("list_aws_default_service_quotas", "list_service_quotas")
        return self

    def paginate(self, ServiceCode: str) -> Iterator[dict[str, Any]]:  # AWS's name
        self.asked.append(ServiceCode)
        if ServiceCode not in self.values:
            raise ClientError({"Error": {"Code": "NoSuchResourceException"}}, "ListServiceQuotas")
        for code, value in self.values[ServiceCode].items():
            yield {"Quotas": [{"QuotaCode": code, "Value": value}]}


def test_each_service_is_asked_for_its_own_and_no_other() -> None:
    client = Service({"iotcore": {"L-57AAC135": 40}, "iot": {"L-908D0FBE": 60}})
    found = read_quotas(client, "eu-west-1", ["ListThings", "SearchIndex"])
    assert (found.per_second, found.source) == ({"ListThings": 40, "SearchIndex": 60}, "Service Quotas")
    assert set(client.asked) == {"iot", "iotcore"}
    client = Service({"iotcore": {"L-57AAC135": 40}})
    read_quotas(client, "eu-west-1", ["ListThings"])
    assert set(client.asked) == {"iotcore"}


def test_a_service_that_is_not_known_leaves_the_defaults_of_its_own_only() -> None:
    found = read_quotas(Service({"iotcore": {"L-57AAC135": 40}}), "eu-west-1", ["ListThings", "GetStatistics"])
    assert found.per_second == {"ListThings": 40, "GetStatistics": 15}
    assert found.sources == {"ListThings": "Service Quotas"}
    assert found.source == (
        "Service Quotas; AWS's defaults of 2023-07-27: GetStatistics; "
        "Service Quotas cannot be read: NoSuchResourceException"
    )


def test_what_has_no_published_quota_is_not_called_missing() -> None:
    found = read_quotas(Service({"iotcore": {"L-57AAC135": 40}}), "eu-west-1", ["ListThings", "DeleteConnection"])
    assert (found.per_second, found.source) == ({"ListThings": 40}, "Service Quotas")


OTHERS = {  # in eu-west-1, eu-central-1, eu-north-1
    "Connect": (3000, 3000, 100),
    "ConcurrentConnections": (500_000, 500_000, 100_000),
    "InboundPublish": (20_000, 20_000, 2000),
    "RuleEvaluations": (20_000, 20_000, 2000),
    "JustInTimeRegistration": (15, 15, 15),
    "StartExecutionStandard": (300, 150, 150),
    "StartExecutionExpress": (6000, 6000, 6000),
    "StateTransition": (1500, 500, 500),
    "TableWrites": (40_000, 40_000, 40_000),
    "PutEvents": (10_000, 2400, 600),
    "EventInvocations": (18_750, 4500, 1100),
    "ConcurrentPipeExecutions": (3000, 1000, 1000),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_quotas_of_broker_machines_tables_and_events_are_those_that_aws_publishes(name: str) -> None:
    assert [LIMITS[name].in_region(region) for region in ("eu-west-1", "eu-central-1", "eu-north-1")] == [*OTHERS[name]]


def test_what_can_never_be_raised_is_known() -> None:
    assert {name for name, quota in LIMITS.items() if not quota.adjustable} == {
        "ConnectOfClient",
        "PublishOfConnection",
        "MessageSize",
        "Route53Requests",
    }


def test_a_request_names_what_aws_calls_the_quota() -> None:
    assert OPERATIONS["AttachPolicy"].asked_for == "AttachPolicy API TPS (L-CA7D4E3E)"
    assert OPERATIONS["GetStatistics"].asked_for == "GetStatistics rate (L-090EA78D)"
    assert LIMITS["Connect"].asked_for == "Connect requests per second per account (L-AEA1E176)"
    assert LIMITS["StartExecutionExpress"].asked_for == "StartExecution of EXPRESS, refill rate per second"
