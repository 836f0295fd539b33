# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that puts the regions of a fleet into the template of its global tables."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: replica_steps
short_description: Templates that take a stack of global tables to the regions it should have, one after the other
version_added: 0.1.0
description:
  - AWS takes any number of replicas when a table is made, and one added or removed replica in each update after that.
  - So the answer has one template for a stack that has no replicas yet or that lacks none, and otherwise one for each
    region to add. Replicas are never removed.
  - The template lists the home region's replica, as C(Region) C(Ref) C(AWS::Region); the others are made like it.
positional: present, wanted, home, tags
options:
  _input:
    description: The template as YAML without short forms of intrinsic functions, or as JSON.
    type: str
    required: true
  present:
    description: Regions that have a replica; empty when there are no tables yet.
    type: list
    elements: str
    required: true
  wanted:
    description: Regions that should have one.
    type: list
    elements: str
    required: true
  home:
    description: The region of the stack.
    type: str
    required: true
  tags:
    description: Tags of each replica; CloudFormation hands a stack's tags on to the home region's only.
    type: dict
    default: {}
author: The iotops.fleet maintainers (@iotops)
"""

EXAMPLES = r"""
- name: Bring the tables to all regions of this run
  iotops.fleet.cloudformation_stack:
    stack_name: multi-region-iot-global
    template_body: "{{ item }}"
  loop: "{{ lookup('ansible.builtin.file', 'global.yaml') | iotops.fleet.replica_steps(present, wanted, 'eu-west-1') }}"
"""

RETURN = r"""
_value:
  description: Templates, to be applied in this order.
  type: list
  elements: dict
"""

TABLE = "AWS::DynamoDB::GlobalTable"


def _with_replicas(template: str, regions: Sequence[str], home: str, tags: Mapping[str, Any]) -> dict[str, Any]:
    """The template with a replica in the home region and in each of ``regions``."""
    try:
        content = yaml.safe_load(template)
        tables = [item["Properties"] for item in content["Resources"].values() if item["Type"] == TABLE]
        for table in tables:
            like = next(item for item in table["Replicas"] if item["Region"] == {"Ref": "AWS::Region"})
            if tags:
                like["Tags"] = [{"Key": key, "Value": str(value)} for key, value in sorted(tags.items())]
            others = sorted(set(regions) - {home})
            table["Replicas"] = [like, *({**copy.deepcopy(like), "Region": region} for region in others)]
    except (yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise AnsibleFilterError(
            f"replica_steps: not a template of global tables with a replica at home: {error!r}"
        ) from error
    return dict(content)


def replica_steps(
    template: str, present: Sequence[str], wanted: Sequence[str], home: str, tags: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Templates that add what is missing, one replica at a time where AWS asks for it.

    Raises:
        AnsibleFilterError: not a template of global tables that have a replica in the home region.

    """
    if not present:
        return [_with_replicas(template, wanted, home, tags or {})]
    missing = sorted(set(wanted) - set(present))
    steps = [[*present, *missing[: count + 1]] for count in range(len(missing))]
    return [_with_replicas(template, regions, home, tags or {}) for regions in steps or [list(present)]]


def replica_removal_steps(
    template: str,
    present: Sequence[str],
    region: str,
    home: str,
    tags: Mapping[str, Any] | None = None,
    protected: bool = False,
) -> list[dict[str, Any]]:
    """Templates that take one region's replica away, none where it has none.

    A replica that is ``protected`` loses its protection first, which an update that removes it cannot do.

    Raises:
        AnsibleFilterError: not a template of global tables that have a replica in the home region, or it is that one.

    """
    if region == home:
        raise AnsibleFilterError(f"replica_removal_steps: {region} has the stack itself: delete that")
    if region not in present:
        return []
    steps = [_with_replicas(template, [each for each in present if each != region], home, tags or {})]
    if protected:
        steps.insert(0, _with_replicas(template, present, home, tags or {}))
        tables = [item["Properties"] for item in steps[0]["Resources"].values() if item["Type"] == TABLE]
        for replica in (replica for table in tables for replica in table["Replicas"] if replica["Region"] == region):
            replica["DeletionProtectionEnabled"] = False
    return steps


class FilterModule:
    """Names the filters for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"replica_removal_steps": replica_removal_steps, "replica_steps": replica_steps}
