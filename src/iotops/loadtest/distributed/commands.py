# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops loadtest master`` and ``worker``: Locust with our locustfile."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.options import add_plan, ready_plan


def add_commands(sub: Any) -> None:
    """Add ``master`` and ``worker``."""
    text = "run a scenario from the machines whose workers report here; Locust steers them"
    master = sub.add_parser("master", help=text, description=text, allow_abbrev=False)
    master.set_defaults(run=_master)
    add_plan(master)
    master.add_argument(
        "--workers", type=int, required=True, help="how many are waited for; one a core of each machine"
    )
    master.add_argument("--bind", default="*", metavar="ADDRESS", help="where workers report to; default: anywhere")
    master.add_argument("--port", type=int, default=5557, help="default: %(default)s")
    text = "show it there, on this machine's loopback, and start it from there"
    master.add_argument("--web", type=int, default=0, metavar="PORT", help=text)
    master.add_argument("--autostart", action="store_true", help="with --web: start as soon as all workers are there")
    master.add_argument(
        "--report", type=Path, default=Path("loadtest-report"), metavar="DIR", help="default: %(default)s"
    )
    text = "carry a share of the devices of a master"
    worker = sub.add_parser("worker", help=text, description=text, allow_abbrev=False)
    worker.add_argument("--master", required=True, metavar="HOST")
    worker.add_argument("--port", type=int, default=5557, help="default: %(default)s")
    worker.add_argument(
        "--identities", default="", metavar="PATH", help="where they are here; default: as at the master"
    )
    worker.set_defaults(run=_worker)


def _master(arguments: argparse.Namespace) -> int:
    if not 0 < arguments.workers <= arguments.publishers:
        raise LoadTestError(
            f"--workers={arguments.workers}: give 1 or more, and no more than --publishers={arguments.publishers}"
        )
    plan = ready_plan(arguments)
    arguments.report.mkdir(parents=True, exist_ok=True)
    kept = arguments.report / "plan.json"
    kept.write_text(json.dumps(plan.to_json()))
    count = str(arguments.workers)
    shown = ["--web-host", "127.0.0.1", "--web-port", str(arguments.web)] if arguments.web else ["--headless"]
    if arguments.web and arguments.autostart:
        shown.append("--autostart")
    words = ["--master", "--master-bind-host", arguments.bind, "--master-bind-port", str(arguments.port)]
    return _locust(
        [*words, "--expect-workers", count, "--users", count, "--spawn-rate", count, *shown],
        IOTOPS_LOADTEST_PLAN=str(kept),
        IOTOPS_LOADTEST_REPORT=str(arguments.report),
    )


def _worker(arguments: argparse.Namespace) -> int:
    words = ["--worker", "--master-host", arguments.master, "--master-port", str(arguments.port)]
    return _locust(words, IOTOPS_LOADTEST_IDENTITIES=arguments.identities)


def _locust(words: list[str], **environment: str) -> int:
    if importlib.util.find_spec("locust") is None:
        raise LoadTestError("locust is not installed: pip install 'iotops[loadtest-distributed]'")
    os.environ.update(environment)
    locustfile = Path(__file__).with_name("locustfile.py")
    os.execv(sys.executable, [sys.executable, "-m", "locust", "--locustfile", str(locustfile), *words])  # noqa: S606
