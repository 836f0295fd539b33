# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that write many rows have in common. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._registration.following import Follower
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError


def require_sense(params: Mapping[str, Any]) -> None:
    """Check ``quota_share``, ``threads``, ``timeout`` and ``regions``.

    Raises:
        FleetError: the first one that cannot be.

    """
    if not 0 < params["quota_share"] <= 1:
        raise FleetError(f"quota_share={params['quota_share']:g} is not a part: set more than 0 and at most 1")
    for name in ("threads", "timeout"):
        if params[name] < 1:
            raise FleetError(f"{name}={params[name]} is less than 1: set 1 or more")
    if not params["regions"]:
        raise FleetError("regions is empty: name the regions that are to follow")


def followers_of(module: AnsibleAWSModule) -> list[Follower]:
    """Return the regions, each of which has answered once.

    Raises:
        FleetError: one does not.

    """
    params = module.params
    followers = [
        Follower(region, module.client("dynamodb", region=region), params["application"], params["threads"])
        for region in params["regions"]
    ]
    for each in followers:
        each.require()
    return followers


__all__ = ["followers_of", "require_sense"]
