# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is documented of every module that reads whole tables."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that say how fast, and who is told how far it is."""

    DOCUMENTATION = r"""
options:
  segments:
    description: Pages of a table that are read at the same time.
    type: int
    default: 4
  progress_path:
    description: File to which a line is added every ten seconds, for those who watch a large registry.
    type: path
"""
