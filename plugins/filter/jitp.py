# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of just-in-time provisioning: its template, and what cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError


def jitp_template(attributes: Mapping[str, str], application: str) -> dict[str, Any]:
    """The body of the provisioning template whose things have these attributes."""
    # Every task's process loads every filter: what takes long is imported where it is of use.
    from ansible_collections.iotops.fleet.plugins.module_utils._iot.jitp import template

    return template(application, attributes)


def jitp_problems(choices: Mapping[str, Any], registered: Sequence[Mapping[str, Any]], region: str) -> list[str]:
    """Why the CA of the choices cannot have a template in the region, one line each.

    Raises:
        AnsibleFilterError: a certificate cannot be read.

    """
    from ansible_collections.iotops.fleet.plugins.module_utils._iot.jitp import Choices, problems
    from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

    try:
        return problems(Choices(**choices), registered, region)
    except FleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"jitp_problems": jitp_problems, "jitp_template": jitp_template}
