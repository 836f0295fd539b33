# SPDX-License-Identifier: GPL-3.0-or-later
"""What Service Quotas tells of AWS IoT Core."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from ansible_collections.iotops.fleet.plugins.module_utils._quotas.operations import OPERATIONS
from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import default_quotas, read_quotas
from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.test_iam_requests import role_client

REGION = "eu-west-1"


def listed(client: Any, operation: str, **paging: Any) -> list[dict[str, Any]]:
    pages = client.get_paginator(operation).paginate(ServiceCode="iotcore", PaginationConfig=paging)
    return [quota for page in pages for quota in page["Quotas"]]


def test_the_calls_that_make_a_device_have_aws_s_names_codes_and_values(sandbox: Sandbox) -> None:
    client = sandbox.client("service-quotas", REGION)
    applied, default = (
        {quota["QuotaName"]: quota for quota in listed(client, operation)}
        for operation in ("list_service_quotas", "list_aws_default_service_quotas")
    )
    for call, expected in default_quotas(REGION).items():
        found, code = applied[f"{call} API TPS"], OPERATIONS[call].code
        assert (found["QuotaCode"], found["Value"], found["Adjustable"]) == (code, expected, True)
        assert found["QuotaArn"] == f"arn:aws:servicequotas:{REGION}:{sandbox.account_id}:iotcore/{code}"
        assert default[f"{call} API TPS"]["Value"] == found["Value"]
    assert read_quotas(client, REGION).source == "Service Quotas"


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
    found = read_quotas(limited, REGION)
    assert (found.per_second, found.source.rpartition(": ")[2]) == (default_quotas(REGION), "AccessDeniedException")
