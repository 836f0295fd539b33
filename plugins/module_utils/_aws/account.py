# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose AWS account it is. Private to this collection."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call

__all__ = ["partition_and_account"]


@api_call("read the account")
def partition_and_account(sts: Any) -> tuple[str, str]:
    """Return what ARNs begin with and hold, for example ``("aws", "123456789012")``."""
    arn = str(sts.get_caller_identity()["Arn"]).split(":")
    return arn[1], arn[4]
