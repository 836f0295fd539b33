# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is documented of every module that asks AWS IoT about many things."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that say how fast, and who is told how far it is."""

    DOCUMENTATION = r"""
options:
  quota_share:
    description:
      - Part of each quota of AWS IoT that may be used, more than 0 and at most 1. Live devices keep the rest.
      - A thing costs one ListThingPrincipalsV2, of which AWS takes 20 a second by default.
    type: float
    default: 0.8
  threads:
    description: Calls of AWS IoT at the same time.
    type: int
    default: 8
  progress_path:
    description: File to which a line is added every ten seconds, for those who watch a large region.
    type: path
"""
