# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that says in plain words what is wrong with the rules by which devices are sent to regions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.iotops.fleet.plugins.module_utils._geography.choosing import Rules, problems

DOCUMENTATION = r"""
name: region_choice_problems
short_description: What is wrong with the rules by which devices are sent to regions, one line each
version_added: 0.2.0
description:
  - Judges the rules of the provisioning API before anything is changed, each line with the member, its value and the
    remedy.
options:
  _input:
    description:
      - C(regions), a list of names; C(default_region), one of them.
      - By choice C(weights), a number for each region; C(continents), a list of preferred regions for each continent
        code; C(countries), a list of the only regions allowed for each country code.
    type: dict
    required: true
author: The iotops.fleet maintainers (@iotops)
"""

EXAMPLES = r"""
- name: Refuse rules that cannot work
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: >-
      {{ {'regions': ['eu-west-1', 'us-west-2'], 'default_region': 'eu-west-1', 'countries': {'DE': ['eu-west-1']}}
         | iotops.fleet.region_choice_problems }}
"""

RETURN = r"""
_value:
  description: One line for each problem; empty when there is none.
  type: list
  elements: str
"""


def region_choice_problems(rules: Mapping[str, Any]) -> list[str]:
    """The problems of ``rules``, one line each."""
    if not isinstance(rules, Mapping):
        raise AnsibleFilterError(f"region_choice_problems: {rules!r} is no dictionary")
    try:
        return problems(Rules.from_json(json.dumps(rules)))
    except (ValueError, TypeError) as error:
        return [str(error)]


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by name."""
        return {"region_choice_problems": region_choice_problems}
