# SPDX-License-Identifier: GPL-3.0-or-later
"""What Locust is run with: the only user of a worker is the generator that it carries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from locust import User, constant, events, task
from locust.runners import MasterRunner, WorkerRunner

from iotops.loadtest.distributed.master import Master
from iotops.loadtest.distributed.worker import Worker


class Generator(User):
    """Stands for the generator of a worker in Locust's figures; the work is done in a process of its own."""

    wait_time = constant(1)

    @task
    def carry(self) -> None:
        """Leave it to the generator."""


@events.init.add_listener
def connect(environment: Any, **_more: Any) -> None:
    """Take part as what this process is."""
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        Master(environment, Path(os.environ["IOTOPS_LOADTEST_PLAN"]), Path(os.environ["IOTOPS_LOADTEST_REPORT"]))
    elif isinstance(runner, WorkerRunner):
        Worker(environment, os.environ.get("IOTOPS_LOADTEST_IDENTITIES", ""))
