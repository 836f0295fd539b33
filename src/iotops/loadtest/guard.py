# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody puts load on AWS by mistake, or on an account of somebody else."""

from __future__ import annotations

from iotops.loadtest.cost import load_of
from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.plan import Plan

FREE_MESSAGES = 100  # a second
FREE_CONNECTS = 50  # a second


def require_permission(plan: Plan, *, owned: bool) -> None:
    """Refuse more than a little load on anything but this machine and private networks, unless it is ``owned``.

    Raises:
        LoadTestError: it is refused, or a target has no address.

    """
    strangers = [target for target in plan.targets if target.is_aws()]
    load = load_of(plan)
    if owned or not strangers:
        return
    if load.messages_per_second > FREE_MESSAGES or load.connects_per_second > FREE_CONNECTS:
        raise LoadTestError(
            f"target {strangers[0]} is AWS, or not this machine's: {load.messages_per_second:,.0f} messages and "
            f"{load.connects_per_second:,.0f} connects a second are more than {FREE_MESSAGES} and {FREE_CONNECTS}: "
            "say --i-own-this-account if you do, or ask for less"
        )
