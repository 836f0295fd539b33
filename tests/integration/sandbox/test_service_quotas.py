# SPDX-License-Identifier: GPL-3.0-or-later
"""What Service Quotas tells of AWS IoT, and what calls are held to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import default_quotas, read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.operations import OPERATIONS
from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.test_iam_requests import role_client

REGION, SMALL = "eu-west-1", "eu-west-3"
KNOWN = [quota for quota in OPERATIONS.values() if quota.code]


def listed(client: Any, operation: str, service: str = "iotcore", **paging: Any) -> list[dict[str, Any]]:
    pages = client.get_paginator(operation).paginate(ServiceCode=service, PaginationConfig=paging)
    return [quota for page in pages for quota in page["Quotas"]]


@pytest.mark.parametrize("region", [REGION, SMALL])
def test_quotas_have_aws_s_names_codes_and_values(sandbox: Sandbox, region: str) -> None:
    client = sandbox.client("service-quotas", region)
    applied, default = (
        {quota["QuotaCode"]: quota for service in ("iotcore", "iot") for quota in listed(client, operation, service)}
        for operation in ("list_service_quotas", "list_aws_default_service_quotas")
    )
    for quota in KNOWN:
        found = applied[quota.code]
        assert (found["Value"], found["Adjustable"]) == (quota.in_region(region), quota.adjustable)
        arn = f"arn:aws:servicequotas:{region}:{sandbox.account_id}:{quota.service}/{quota.code}"
        assert found["QuotaArn"] == arn
        assert default[quota.code]["Value"] == found["Value"]
        assert quota.name in found["QuotaName"] or "Shadow" in quota.name
    assert read_quotas(client, region, [quota.name for quota in KNOWN]).source == "Service Quotas"


def test_pages_are_as_long_as_asked_for_and_lose_nothing(sandbox: Sandbox) -> None:
    client = sandbox.client("service-quotas", REGION)
    whole = listed(client, "list_service_quotas")
    assert client.list_service_quotas(ServiceCode="iotcore", MaxResults=2)["Quotas"] == whole[:2]
    assert listed(client, "list_service_quotas", PageSize=2) == whole


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"ServiceCode": "no-such-service"}, "NoSuchResourceException"),
        ({"ServiceCode": "iotcore", "NextToken": "torn"}, "InvalidPaginationTokenException"),
    ],
)
def test_a_wrong_question_is_an_error(sandbox: Sandbox, arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(ClientError, match=error):
        sandbox.client("service-quotas", REGION).list_service_quotas(**arguments)


def test_who_may_not_ask_is_told_so_and_the_reader_says_it(sandbox: Sandbox) -> None:
    statement = {"Action": "servicequotas:ListServiceQuotas", "Resource": "*"}
    limited = role_client(sandbox, "asks-half", "service-quotas", statement)
    assert listed(limited, "list_service_quotas")
    found = read_quotas(limited, REGION, ["CreateThing"])
    assert found.per_second == default_quotas(REGION, ["CreateThing"])
    assert found.source.rpartition(": ")[2] == "AccessDeniedException"


@pytest.fixture
def enforced(sandbox: Sandbox) -> Iterator[Sandbox]:
    sandbox.enforce_quotas()
    yield sandbox
    sandbox.lift_quotas()


def throttled(sandbox: Sandbox, region: str, calls: int) -> int:
    """How many of so many calls at once are."""
    iot = boto3.session.Session().client(
        "iot",
        region_name=region,
        endpoint_url=sandbox.gateway,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    count = 0
    for _ in range(calls):
        try:
            iot.list_things(maxResults=1)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ThrottlingException"
            count += 1
    return count


def test_calls_above_a_quota_are_throttled_in_their_region_alone(enforced: Sandbox) -> None:
    started = time.monotonic()
    struck = throttled(enforced, REGION, 40)
    let_through = 40 - struck
    assert 10 <= let_through <= 10 + 10 * (time.monotonic() - started) + 1
    assert throttled(enforced, SMALL, 5) == 0
    time.sleep(0.5)
    assert throttled(enforced, REGION, 3) == 0


def test_small_regions_have_smaller_quotas(enforced: Sandbox) -> None:
    rates = {rule["id"]: (rule["region"], rule["rate"]) for rule in enforced.faults()}
    assert rates["quota-CreateThing"] == (None, 100)
    assert rates[f"quota-CreateThing-{SMALL}"] == (SMALL, 50)
    assert f"quota-ListThings-{SMALL}" not in rates
    assert rates["quota-Shadow-sa-east-1"] == ("sa-east-1", 400)


def test_quotas_that_were_lifted_hold_nobody(sandbox: Sandbox) -> None:
    other = sandbox.fault(effect="delay", delay=0, service="nobody")
    before = [rule["id"] for rule in sandbox.faults()]
    sandbox.enforce_quotas()
    sandbox.lift_quotas()
    assert other in before
    assert [rule["id"] for rule in sandbox.faults()] == before
    sandbox.clear_faults(other)
    assert throttled(sandbox, REGION, 30) == 0
