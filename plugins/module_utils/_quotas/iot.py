# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many calls a second AWS IoT Core takes of an account in a region. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._quotas.operations import OPERATIONS
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.quota import Quota
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, error_code

SERVICE_QUOTAS = "Service Quotas"


@dataclass(frozen=True)
class Quotas:
    """Calls a second of a region by operation, and where that is known from.

    ``sources`` says it of each that is not AWS's default.
    """

    region: str
    per_second: Mapping[str, float]
    source: str
    sources: Mapping[str, str] = field(default_factory=dict)


def default_quotas(region: str, operations: Iterable[str]) -> dict[str, float]:
    """AWS's default values in a region; an operation that AWS publishes no quota of is not in it.

    Raises:
        KeyError: an operation that is not known here.

    """
    return defaults_of(region, [OPERATIONS[operation] for operation in operations])


def defaults_of(region: str, quotas: Iterable[Quota]) -> dict[str, float]:
    """The same of any quotas, by name."""
    values = {quota.name: quota.in_region(region) for quota in quotas}
    return {name: float(value) for name, value in values.items() if value is not None}


def read_quotas(client: Any, region: str, operations: Iterable[str]) -> Quotas:
    """Return the quotas of the account as Service Quotas tells them, else AWS's defaults as they are written here.

    ``client`` is boto3's ``service-quotas``. A caller who may not ask, and a region without the service, are no errors.

    Raises:
        KeyError: an operation that is not known here.

    """
    return values_of(client, region, [OPERATIONS[operation] for operation in operations])


def values_of(client: Any, region: str, quotas: Iterable[Quota]) -> Quotas:
    """The same of any quotas, by name."""
    wanted = list(quotas)
    known, why = defaults_of(region, wanted), ""
    found: dict[str, float] = {}
    for service in sorted({quota.service for quota in wanted if quota.code}):
        try:
            # The applied values last: Service Quotas leaves out those that it only knows the default value of.
            values = {
                **_read(client, "list_aws_default_service_quotas", service),
                **_read(client, "list_service_quotas", service),
            }
        except AnsibleAWSError as error:
            why = f"; Service Quotas cannot be read: {error_code(error) or type(error.exception).__name__}"
            continue
        found |= {each.name: values[each.code] for each in wanted if each.service == service and each.code in values}
    return Quotas(region, {**known, **found}, _source(wanted, found, why), dict.fromkeys(found, SERVICE_QUOTAS))


def _source(wanted: Iterable[Quota], found: Mapping[str, float], why: str) -> str:
    missing = [quota for quota in wanted if quota.value is not None and quota.name not in found]
    if not missing:
        return SERVICE_QUOTAS
    defaults = f"AWS's defaults of {', '.join(sorted({quota.date for quota in missing}))}"
    if not found:
        return f"{defaults}{why}"
    return f"{SERVICE_QUOTAS}; {defaults}: {', '.join(sorted(quota.name for quota in missing))}{why}"


@api_call("read the quotas of AWS IoT")
def _read(client: Any, operation: str, service: str) -> dict[str, float]:
    pages = client.get_paginator(operation).paginate(ServiceCode=service)
    return {quota["QuotaCode"]: quota["Value"] for page in pages for quota in page["Quotas"] if quota.get("Value")}


__all__ = ["SERVICE_QUOTAS", "Quotas", "default_quotas", "defaults_of", "read_quotas", "values_of"]
