# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is documented of every module that works on one fleet."""

from __future__ import annotations


class ModuleDocFragment:
    """The option that says which fleet."""

    DOCUMENTATION = r"""
options:
  application:
    description: C(fleet_application), the prefix of the fleet's names.
    type: str
    required: true
"""
