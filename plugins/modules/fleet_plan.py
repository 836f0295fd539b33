#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_plan
version_added: 0.2.0
short_description: Capacity and cost of a fleet, on paper
description:
  - Says how long AWS's quotas let it take that all devices join, that a new region gets them, that regions are checked
    and that devices connect again after a region was lost; which quota decides, and what to ask AWS for; and the costs.
  - Calls nothing of AWS, unless O(read_quotas). Prices are list prices of us-east-1.
author: The iotops.fleet maintainers (@iotops)
options:
  devices:
    description: Devices, at most 100 million.
    type: int
    required: true
  regions:
    description: The fleet's regions.
    type: list
    elements: str
    required: true
  region_shares:
    description: Part of the devices that each region has, by region; together 1. Default is the same in each.
    type: dict
    default: {}
  revoked:
    description: Devices besides, that are revoked or deleted and have certificates that have not expired.
    type: int
    default: 0
  messages_per_day:
    description: Messages of a device on a day.
    type: float
    default: 24
  message_bytes:
    description: Octets of a message.
    type: int
    default: 512
  connects_per_day:
    description: How often a device connects on a day.
    type: float
    default: 1
  peak:
    description: How many times the average the busiest second has.
    type: float
    default: 1
  design:
    description:
      - How devices are let in. V(rows) is what this collection does; V(group) is the same with the policy on a thing
        group; V(lookup) is what earlier systems do, where each region asks the region of entry for the certificate.
    type: str
    choices: [rows, group, lookup]
    default: rows
  machine_type:
    description: Type of the state machines.
    type: str
    choices: [EXPRESS, STANDARD]
    default: EXPRESS
  store:
    description: What stores a message. V(TABLE) is the topic rule, the others are a state machine of that type.
    type: str
    choices: [TABLE, EXPRESS, STANDARD]
    default: TABLE
  indexing:
    description: Whether fleet indexing is on.
    type: bool
    default: false
  quotas:
    description: Quotas that differ from AWS's defaults, a value by name for each region.
    type: dict
    default: {}
  read_quotas:
    description: Ask Service Quotas of each region what the account has. O(quotas) still goes first.
    type: bool
    default: false
  quota_share:
    description: Part of each quota that the work may use.
    type: float
    default: 1
  hours:
    description: Hours that onboarding, backfill and checks may take; what is asked of AWS follows from it.
    type: float
    default: 24
  reconnect_minutes:
    description: Minutes that reconnecting may take.
    type: float
    default: 10
  months:
    description: Months to sum up; all messages are kept.
    type: int
    default: 1
  chart_path:
    description: A file that gets a chart of the times, as SVG. Needs pygal.
    type: path
requirements:
  - pygal >= 3.1 (for O(chart_path))
attributes:
  check_mode:
    support: full
    description: Writes no chart.
  diff_mode:
    support: none
    description: A chart is no text to compare.
  idempotent:
    support: full
    description: The same inputs give the same plan and the same chart.
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Plan a fleet of a million devices
  iotops.fleet.fleet_plan:
    devices: 1000000
    regions: [eu-west-1, us-west-2]
    messages_per_day: 33
    hours: 8
  register: planned

- name: With quotas that AWS has promised
  iotops.fleet.fleet_plan:
    devices: 1000000
    regions: [eu-west-1, us-west-2]
    region_shares: {eu-west-1: 0.7, us-west-2: 0.3}
    quotas: {eu-west-1: {AttachPolicy: 150}, us-west-2: {AttachPolicy: 150}}
    chart_path: /tmp/plan.svg
"""

RETURN = r"""
plan:
  description: Times in seconds, prices in USD.
  returned: always
  type: dict
  contains:
    devices: {description: As given., type: int, sample: 1000000}
    regions: {description: Part of the devices by region., type: dict, sample: {eu-west-1: 0.5, us-west-2: 0.5}}
    quotas: {description: Where those of each region are known from., type: dict}
    work:
      description: What takes time, with the region and quota that decide how much.
      type: list
      elements: dict
      contains:
        name: {description: What., type: str, sample: onboard}
        devices: {description: How many., type: int}
        seconds: {description: How long., type: float, sample: 66666.7}
        devices_per_second: {description: How fast., type: float, sample: 15.0}
        region: {description: Where it takes longest., type: str, sample: eu-west-1}
        quota: {description: Which decides., type: str, sample: AttachPolicy}
        value: {description: Its value., type: float, sample: 15.0}
        unit: {description: Of the value., type: str, sample: a second}
        adjustable: {description: Whether AWS raises it., type: bool}
        from: {description: "Where the value is known from; a default with its date.", type: str}
        hours: {description: The time that is wished., type: float, sample: 24.0}
        wanted: {description: The value with which it would take no longer., type: int, sample: 12}
        calls: {description: What uses up quotas by region., type: dict}
    requests:
      description: Quotas to have raised, in the order of the regions.
      type: list
      elements: dict
      contains:
        region: {description: Where., type: str}
        quota: {description: Name of it here., type: str, sample: AttachPolicy}
        ask_for: {description: AWS's name of it and its code., type: str, sample: AttachPolicy API TPS (L-CA7D4E3E)}
        service: {description: The service's code in Service Quotas., type: str, sample: iotcore}
        code: {description: The quota's code; empty when it is not known., type: str, sample: L-CA7D4E3E}
        adjustable: {description: Whether AWS raises it., type: bool}
        unit: {description: Of both values., type: str, sample: a second}
        value: {description: What it is., type: float, sample: 15.0}
        wanted: {description: What it would have to be., type: int, sample: 35}
        for: {description: What needs it., type: list, elements: str, sample: [onboard]}
    loads:
      description: What is used of each region's quotas all the time, in the busiest second.
      type: list
      elements: dict
      contains:
        region: {description: Where., type: str}
        quota: {description: Name of it here., type: str, sample: ConcurrentConnections}
        unit: {description: Of the values., type: str, sample: at a time}
        now: {description: While all regions are there., type: float}
        without_another: {description: After the largest other one was lost., type: float}
        value: {description: The quota., type: float}
        enough: {description: Whether it is large enough., type: bool}
    fixed: {description: What AWS raises for nobody and what is used of it., type: list, elements: dict}
    designs: {description: "Rate, time and price of each way to let devices in.", type: list, elements: dict}
    ways: {description: Price of each way to take and keep a month's messages., type: list, elements: dict}
    onboarding:
      description: What it costs once that all devices join.
      type: dict
      contains:
        usd: {description: In all., type: float, sample: 28.03}
        services: {description: By service., type: dict}
        lines: {description: "What, units, unit, usd and source of the price.", type: list, elements: dict}
    backfill: {description: "The same, of a new region that gets all devices.", type: dict}
    monthly: {description: "The same, of the first month.", type: dict}
    months: {description: What each month costs., type: list, elements: float}
    usd: {description: Onboarding and all months., type: float}
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._plan.chart import chart, pygal, save
from ansible_collections.iotops.fleet.plugins.module_utils._plan.designs import DESIGNS
from ansible_collections.iotops.fleet.plugins.module_utils._plan.fleet import (
    ALL_QUOTAS,
    MACHINE_TYPES,
    STORES,
    fleet_of,
    known_regions,
    require_sense,
)
from ansible_collections.iotops.fleet.plugins.module_utils._plan.report import plan
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas, defaults_of, values_of
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

if TYPE_CHECKING:
    from typing import NoReturn


def quotas_of(module: AnsibleAWSModule) -> Iterator[Quotas]:
    """The quotas of each region, and where they are known from."""
    every = list(ALL_QUOTAS.values())
    for region in module.params["regions"]:
        if module.params["read_quotas"]:
            found = values_of(module.client("service-quotas", region=region), region, every)
        else:
            found = Quotas(region, defaults_of(region, every), "AWS's defaults")
        given = {name: float(value) for name, value in module.params["quotas"].get(region, {}).items()}
        source = f"{found.source}; as given: {', '.join(sorted(given))}" if given else found.source
        sources = {**found.sources, **dict.fromkeys(given, "as given")}
        yield Quotas(region, {**found.per_second, **given}, source, sources)


def make(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's answer.

    Raises:
        FleetError: inputs that make no sense.

    """
    require_sense(module.params, known_regions())
    found = plan(fleet_of(module.params, {quotas.region: quotas for quotas in quotas_of(module)}))
    path = module.params["chart_path"]
    changed = save(Path(path), chart(found), check_mode=module.check_mode) if path else False
    return {"changed": changed, "plan": found}


def main() -> NoReturn:
    """Run the module."""
    spec: dict[str, Any] = {
        "devices": {"type": "int", "required": True},
        "regions": {"type": "list", "elements": "str", "required": True},
        "region_shares": {"type": "dict", "default": {}},
        "revoked": {"type": "int", "default": 0},
        "messages_per_day": {"type": "float", "default": 24},
        "message_bytes": {"type": "int", "default": 512},
        "connects_per_day": {"type": "float", "default": 1},
        "peak": {"type": "float", "default": 1},
        "design": {"type": "str", "choices": list(DESIGNS), "default": "rows"},
        "machine_type": {"type": "str", "choices": list(MACHINE_TYPES), "default": "EXPRESS"},
        "store": {"type": "str", "choices": list(STORES), "default": "TABLE"},
        "indexing": {"type": "bool", "default": False},
        "quotas": {"type": "dict", "default": {}},
        "read_quotas": {"type": "bool", "default": False},
        "quota_share": {"type": "float", "default": 1},
        "hours": {"type": "float", "default": 24},
        "reconnect_minutes": {"type": "float", "default": 10},
        "months": {"type": "int", "default": 1},
        "chart_path": {"type": "path"},
    }
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True)
    if module.params["chart_path"] and pygal is None:
        module.fail_json(msg=missing_required_lib("pygal", reason="for chart_path"))
    run_module(module, make)


if __name__ == "__main__":
    main()
