# SPDX-License-Identifier: GPL-3.0-or-later
"""Our load generator beside others, on one mosquitto with mutual TLS, in one run on this machine.

Others are: the architecture of S3's load test (a node process a device, the SDK that S3 uses), Locust's own MQTT user,
mqtt.js in one process, and `openssl s_time` for the rate of connecting. Each generator is a process of its own (S3's:
many); memory is PSS and processor time is of /proc, the broker's apart.

Sections can be named; without any, all are run. The last line is JSON. ``memory_vs_s3``, ``start_vs_s3`` and
``cpu_vs_s3``: ours as a part of S3's architecture, with 94 publishers and 6 subscribers; the processor is that for a
message that arrived. ``vs_locust``: messages for
the same processor time, as many of QoS 0 as of 1. ``kb_per_connection``: memory. ``sustained``: part of the messages of
S3's scenario, with 487 publishers and 20 subscribers, that arrived. ``--quick`` runs smaller forms. What was not
measured is null.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.loading import connecting, fanning, throughput
from benchmarks.loading.bench import Bench, python_with_locust
from tests.mosquitto import mosquitto

SECTIONS = {
    "connections": connecting.connections,
    "rate": connecting.rate,
    "messages": throughput.messages,
    "accounted": throughput.accounted,
    "s3": fanning.against_s3,
    "scenario": fanning.scenario,
    "many": connecting.many,
}
KEYS = ("memory_vs_s3", "start_vs_s3", "cpu_vs_s3", "vs_locust", "kb_per_connection", "sustained")


def main() -> int:
    """Run the sections; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="smaller forms, under a minute")
    parser.add_argument("--locust", metavar="PYTHON", default=python_with_locust(), help="one that has Locust")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}: give some of {', '.join(SECTIONS)}")
    if not arguments.locust:
        print("not measured: Locust (no Python with it: see --locust)")
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the broker's and the generators' too
    with tempfile.TemporaryDirectory() as temporary, mosquitto(Path(temporary)) as broker:
        bench = Bench(broker, Path(temporary), arguments.quick, arguments.locust)
        for name in arguments.sections or SECTIONS:
            SECTIONS[name](bench)
    print(json.dumps({key: bench.figures.get(key) for key in dict.fromkeys((*KEYS, *bench.figures))}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
