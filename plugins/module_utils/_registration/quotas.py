# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of AWS IoT that a new device costs each region, and how many AWS takes. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, error_code

# Calls that converge-device makes of a row that is new, in every region; a retry is one more.
CALLS = {"CreateThing": 1, "RegisterCertificate": 1, "AttachThingPrincipal": 1, "AttachPolicy": 1}

SERVICE_CODE = "iotcore"
CODES = {
    "CreateThing": "L-64CBACAC",
    "RegisterCertificate": "L-8C0011A3",
    "AttachThingPrincipal": "L-F64D1AA6",
    "AttachPolicy": "L-CA7D4E3E",
}
# Calls a second in each region. "AWS IoT Core endpoints and quotas" of the AWS General Reference, 2023-07-27.
DEFAULTS_OF = "2023-07-27"
DEFAULTS = {"CreateThing": 100.0, "RegisterCertificate": 10.0, "AttachThingPrincipal": 100.0, "AttachPolicy": 15.0}
SMALLER = {"CreateThing": 50.0, "AttachThingPrincipal": 50.0}
SMALLER_IN = frozenset({
    "ap-east-1", "ca-central-1", "cn-northwest-1", "eu-north-1", "eu-west-3", "me-central-1", "me-south-1",
    "us-gov-east-1", "us-gov-west-1", "us-west-1",
})  # fmt: skip


@dataclass(frozen=True)
class Quotas:
    """Calls a second of a region by operation, and where that is known from."""

    region: str
    per_second: Mapping[str, float]
    source: str


def read_quotas(client: Any, region: str) -> Quotas:
    """Return the quotas of the account as Service Quotas tells them, else AWS's defaults as they are written here.

    ``client`` is boto3's ``service-quotas``. A caller who may not ask, and a region without the service, are no errors.
    """
    known = default_quotas(region)
    try:
        # The applied values first: Service Quotas leaves out those that it only knows the default value of.
        found = {**_read(client, "list_aws_default_service_quotas"), **_read(client, "list_service_quotas")}
    except AnsibleAWSError as error:
        why = error_code(error) or type(error.exception).__name__
        return Quotas(region, known, f"AWS's defaults of {DEFAULTS_OF}; Service Quotas cannot be read: {why}")
    values = {call: found[code] for call, code in CODES.items() if code in found}
    missing = sorted(known.keys() - values.keys())
    source = f"Service Quotas; AWS's defaults of {DEFAULTS_OF}: {', '.join(missing)}" if missing else "Service Quotas"
    return Quotas(region, {**known, **values}, source)


def default_quotas(region: str) -> dict[str, float]:
    """AWS's default values in a region."""
    return {**DEFAULTS, **(SMALLER if region in SMALLER_IN else {})}


@api_call("read the quotas of AWS IoT")
def _read(client: Any, operation: str) -> dict[str, float]:
    pages = client.get_paginator(operation).paginate(ServiceCode=SERVICE_CODE)
    return {quota["QuotaCode"]: quota["Value"] for page in pages for quota in page["Quotas"] if quota.get("Value")}


__all__ = ["CALLS", "Quotas", "default_quotas", "read_quotas"]
