# SPDX-License-Identifier: GPL-3.0-or-later
"""A region is lost, and all of its devices go to the other one."""

from __future__ import annotations

import asyncio

from iotops.loadtest.device import microseconds
from iotops.loadtest.scenarios.telemetry import Telemetry


class Reconnect(Telemetry):
    """Telemetry; after ``lose_after`` seconds the first target counts as lost, or whenever it really is."""

    async def run(self, start: int) -> None:  # noqa: D102
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(super().run(start))
            if self.plan.lose_after:
                losing = tasks.create_task(self._lose(start))
                await sending
                losing.cancel()

    async def _lose(self, start: int) -> None:
        await asyncio.sleep(self.plan.lose_after - (microseconds() - start) / 1e6)
        self.stage.network.lost_targets = 1
        for device in (*self.stage.publishers, *self.stage.subscribers):
            device.drop()
