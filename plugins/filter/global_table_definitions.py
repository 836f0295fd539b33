# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that reads from a template which global tables it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: global_table_definitions
short_description: What the global tables of a template look like
version_added: 0.1.0
description:
  - The template is the one place that defines the tables; tables that exist already are compared with it.
  - Keys, indexes and stream have the form of M(iotops.fleet.dynamodb_table_info).
positional: application
options:
  _input:
    description: The template as YAML without short forms of intrinsic functions, or as JSON.
    type: str
    required: true
  application:
    description: Value of the template's parameter C(Application), the prefix of the names.
    type: str
    required: true
author: The iotops.fleet maintainers (@iotops)
"""

EXAMPLES = r"""
- name: Names of the tables
  ansible.builtin.debug:
    msg: "{{ template | iotops.fleet.global_table_definitions('fleet') | map(attribute='name') }}"
  vars:
    template: "{{ lookup('ansible.builtin.file', 'files/cloudformation/global.yaml') }}"
"""

RETURN = r"""
_value:
  description: One entry for each table.
  type: list
  elements: dict
  sample:
    - name: fleet-device-inventory
      condition: CreateInventory
      key_schema: {HASH: ThingName}
      global_secondary_indexes: {CertificateId: {HASH: CertificateId}}
      stream_view_type: NEW_AND_OLD_IMAGES
"""

TABLE = "AWS::DynamoDB::GlobalTable"


def global_table_definitions(template: str, application: str) -> list[dict[str, Any]]:
    """The tables of ``template``, by their names in the fleet ``application``.

    Raises:
        AnsibleFilterError: not such a template.

    """
    try:
        resources = yaml.safe_load(template)["Resources"].values()
        return [_definition(item, application) for item in resources if item["Type"] == TABLE]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"global_table_definitions: not a template of global tables: {error!r}") from error


def _definition(resource: Mapping[str, Any], application: str) -> dict[str, Any]:
    properties = resource["Properties"]
    return {
        "name": properties["TableName"]["Fn::Sub"].replace("${Application}", application),
        "condition": resource["Condition"],
        "key_schema": _keys(properties["KeySchema"]),
        "global_secondary_indexes": {
            index["IndexName"]: _keys(index["KeySchema"]) for index in properties.get("GlobalSecondaryIndexes", [])
        },
        "stream_view_type": properties["StreamSpecification"]["StreamViewType"],
    }


def _keys(schema: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {key["KeyType"]: key["AttributeName"] for key in schema}


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by name."""
        return {"global_table_definitions": global_table_definitions}
