#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_digest_info
version_added: 0.2.0
short_description: Add up the digests that the things of one region carry
description:
  - Convergence writes C(fleetNumber) into each thing, a number of 28 bits that stands for its attributes and its type.
    Regions whose things are the same have the same count, sum and sum of squares of it.
  - Trusts that attribute, which nobody but convergence should write. Certificates and policies are not in it.
    M(iotops.fleet.fleet_replication_info) is what proves something.
  - Needs fleet indexing with the custom field C(attributes.fleetNumber) of type Number, and makes one call of
    C(GetStatistics) for each of O(ranges).
author:
  - The iotops.fleet maintainers (@iotops)
options:
  ranges:
    description: Pairs of numbers, both included, whose things are added up apart; default are all things at once.
    type: list
    elements: list
    default: [[0, 268435455]]
  named:
    description: Tell the things of each range and their numbers, too, which C(SearchIndex) lists a hundred at a time.
    type: bool
    default: false
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
seealso:
  - name: Aggregating thing data
    description: GetStatistics in the developer guide.
    link: https://docs.aws.amazon.com/iot/latest/developerguide/index-aggregate.html
"""

EXAMPLES = r"""
- name: Add up
  iotops.fleet.fleet_digest_info:
    region: us-west-2
    application: multi-region-iot
  register: digest
"""

RETURN = r"""
digests:
  description: One for each of O(ranges), in their order.
  returned: always
  type: list
  elements: dict
  contains:
    range: {description: As given., type: list, sample: [0, 268435455]}
    count: {description: Things., type: int, sample: 100000}
    sum: {description: The sum of their numbers., type: float, sample: 13421772750000}
    sum_of_squares: {description: The sum of the squares of their numbers., type: float, sample: 2.4e21}
    things:
      description: Number by name of the things.
      returned: with O(named)
      type: dict
      sample: {dev-7: 41239821}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.pace import Pace
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import default_quotas
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, run_module

LARGEST = 2**28 - 1
FIELD = "attributes.fleetNumber"
PAGE = 100  # the largest that SearchIndex gives
CALLS = ("GetStatistics", "SearchIndex")
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "ranges": {"type": "list", "elements": "list", "default": [[0, LARGEST]]},
    "named": {"type": "bool", "default": False},
}


@api_call("get the configuration of fleet indexing")
def indexed_fields(iot: Any) -> dict[str, str]:
    """Return the type of each custom field of the index of things; none when things are not indexed."""
    configuration = iot.get_indexing_configuration().get("thingIndexingConfiguration") or {}
    if configuration.get("thingIndexingMode", "OFF") == "OFF":
        return {}
    return {field["name"]: field["type"] for field in configuration.get("customFields") or []}


@api_call("get statistics of the index of things")
def statistics(iot: Any, query: str) -> dict[str, Any]:
    """Return GetStatistics' C(statistics) of the field."""
    return dict(iot.get_statistics(queryString=query, aggregationField=FIELD).get("statistics") or {})


@api_call("search the index of things")
def page(iot: Any, query: str, token: str) -> dict[str, Any]:
    """Return a page of SearchIndex."""
    start = {"nextToken": token} if token else {}
    return dict(iot.search_index(queryString=query, maxResults=PAGE, **start))


def require(iot: Any, region: str, ranges: list[list[Any]]) -> list[tuple[int, int]]:
    """Return the ranges as numbers.

    Raises:
        FleetError: one is no range of numbers, or the field is not in the index.

    """
    found = []
    for each in ranges:
        try:
            low, high = (int(number) for number in each)
        except ValueError:
            raise FleetError(f"ranges={each} is no pair of numbers: give the first and the last number") from None
        if not 0 <= low <= high <= LARGEST:
            raise FleetError(f"ranges={each} is not within 0 and {LARGEST}: give the first and the last number")
        found.append((low, high))
    if indexed_fields(iot).get(FIELD) != "Number":
        raise FleetError(
            f"Fleet indexing in {region} has no custom field {FIELD} of type Number: add it with "
            "aws iot update-indexing-configuration, or check with fleet_replication_info, which needs none"
        )
    return found


def digest(iot: Any, paces: dict[str, Pace], query: str, *, named: bool) -> dict[str, Any]:
    """Return count, sum and sum of squares of the things that the query finds and, with ``named``, their numbers."""
    paces["GetStatistics"].wait()
    seen = statistics(iot, query)
    answer = {
        "count": seen.get("count", 0),
        "sum": seen.get("sum", 0.0),
        "sum_of_squares": seen.get("sumOfSquares", 0.0),
    }
    if not named:
        return answer
    things: dict[str, int] = {}
    token, more = "", True
    while more:
        paces["SearchIndex"].wait()
        found = page(iot, query, token)
        things |= {each["thingName"]: int(each["attributes"]["fleetNumber"]) for each in found.get("things") or []}
        token = found.get("nextToken") or ""
        more = bool(token)
    return {**answer, "things": things}


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    iot, region, named = module.client("iot"), str(module.region), module.params["named"]
    ranges = require(iot, region, module.params["ranges"])
    paces = {operation: Pace(rate) for operation, rate in default_quotas(region, CALLS).items()}
    kind = f"thingTypeName:{module.params['application']}-device"
    digests = [
        {"range": [low, high], **digest(iot, paces, f"{kind} AND {FIELD}:[{low} TO {high}]", named=named)}
        for low, high in ranges
    ]
    return {"changed": False, "digests": digests}


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
