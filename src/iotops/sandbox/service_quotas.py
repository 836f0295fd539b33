# SPDX-License-Identifier: GPL-3.0-or-later
"""Service Quotas, which the base lacks: AWS's default quotas of calls to AWS IoT (iot_quotas.py).

Nobody has raised one here, so that the applied values are the default ones.
Source: ListServiceQuotas and ListAWSDefaultServiceQuotas of the Service Quotas API reference.
"""

from __future__ import annotations

import json
from typing import Any

from ministack import app
from ministack.core import iam_actions
from ministack.core.responses import error_response_json, get_account_id, get_region, json_response

from iotops.sandbox.iot_quotas import QUOTAS, Quota
from iotops.sandbox.patching import BaseChangedError

__all__ = ["install"]

_SERVICE = "servicequotas"
_NAMES = {"iotcore": "AWS IoT Core", "iot": "AWS IoT Device Management"}
_LONGEST_PAGE = 100

Answer = tuple[int, dict[str, str], bytes]


def _quota(quota: Quota, *, applied: bool) -> dict[str, Any]:
    owner = get_account_id() if applied else ""
    return {
        "ServiceCode": quota.service,
        "ServiceName": _NAMES[quota.service],
        "QuotaArn": f"arn:aws:servicequotas:{get_region()}:{owner}:{quota.service}/{quota.code}",
        "QuotaCode": quota.code,
        "QuotaName": quota.label,
        "Value": float(quota.in_region(get_region())),
        "Unit": "None",
        "Adjustable": quota.adjustable,
        "GlobalQuota": False,
    }


def _list(asked: dict[str, Any], *, applied: bool) -> Answer:
    if asked.get("ServiceCode") not in _NAMES:
        return tuple(error_response_json("NoSuchResourceException", "The service is not known to Service Quotas", 400))
    token, size = asked.get("NextToken") or "0", asked.get("MaxResults") or _LONGEST_PAGE
    if not str(token).isdecimal():
        return tuple(error_response_json("InvalidPaginationTokenException", "The pagination token is invalid", 400))
    if not 1 <= size <= _LONGEST_PAGE:
        return tuple(error_response_json("IllegalArgumentException", "MaxResults has to be between 1 and 100", 400))
    start = int(token)
    told = [quota for quota in QUOTAS if quota.service == asked["ServiceCode"] and quota.code]
    answer: dict[str, Any] = {"Quotas": [_quota(quota, applied=applied) for quota in told[start : start + size]]}
    if start + size < len(told):
        answer["NextToken"] = str(start + size)
    return tuple(json_response(answer, content_type="application/x-amz-json-1.1"))


async def _handle(
    _method: str, _path: str, headers: dict[str, str], body: bytes, _query_params: dict[str, Any]
) -> Answer:
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    if operation not in ("ListServiceQuotas", "ListAWSDefaultServiceQuotas"):
        return tuple(error_response_json("UnknownOperationException", f"{operation} is not served here", 400))
    return _list(json.loads(body or b"{}"), applied=operation == "ListServiceQuotas")


def install() -> None:
    """Serve it, and have IAM asked.

    Raises:
        BaseChangedError: the base serves it by now.

    """
    if _SERVICE in app.SERVICE_HANDLERS or _SERVICE in iam_actions.SERVICE_TO_IAM_NAMESPACE:
        raise BaseChangedError(f"the base serves {_SERVICE} itself: remove this extension")
    app.SERVICE_HANDLERS[_SERVICE] = _handle
    iam_actions.SERVICE_TO_IAM_NAMESPACE[_SERVICE] = _SERVICE
