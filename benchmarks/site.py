# SPDX-License-Identifier: GPL-3.0-or-later
"""Time ``site.yml`` against the same work done by hand with shell, openssl and the AWS CLI.

Both work against a fresh sandbox in which each API call of the home region takes 30 ms longer, and of any other region
90 ms. The last line is JSON: ``first_vs_shell``, ``second_vs_shell`` (both against the shell's only run that succeeds)
and ``added_region_share`` = (t8 - t2) / 6 / t2.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import yaml

from iotops.sandbox.client import Sandbox

ROOT = Path(__file__).resolve().parents[1]
HOME = "eu-west-1"
REGIONS = [
    HOME, "us-west-2", "us-east-1", "ap-southeast-2", "eu-central-1", "ap-northeast-1", "us-east-2", "eu-west-2",
]  # fmt: skip
HOME_LATENCY, FAR_LATENCY = 0.030, 0.090  # seconds a call


@contextmanager
def account(directory: Path, regions: list[str], scale: float) -> Iterator[tuple[Sandbox, Path]]:
    """A fresh sandbox with ``scale`` times the latency, and an inventory of ``regions``."""
    sandbox = Sandbox(directory / "sandbox").start()
    inventory = directory / "inventory"
    shutil.copytree(ROOT / "inventories" / "sandbox", inventory)
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"regions": {"hosts": dict.fromkeys(regions)}}))
    try:
        for region in regions if scale else ():
            latency = HOME_LATENCY if region == HOME else FAR_LATENCY
            sandbox.fault(region=region, effect="delay", delay=latency * scale)
        yield sandbox, inventory
    finally:
        sandbox.stop()


def timed(command: list[str], sandbox: Sandbox, **environment: str) -> float:
    """Wall time of ``command`` in seconds; raises CalledProcessError with its output when it fails."""
    started = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={
            **os.environ,
            "IOTOPS_SANDBOX_DIR": str(sandbox.directory),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - started


def by_ansible(regions: list[str], scale: float, runs: int) -> list[float]:
    """Seconds of the first ``runs`` runs of ``site.yml``."""
    with tempfile.TemporaryDirectory() as directory, account(Path(directory), regions, scale) as (sandbox, inventory):
        command = ["ansible-playbook", "-i", str(inventory), "site.yml"]
        # An empty home: the shell fetches the Lambda wheels, so nobody may have them cached.
        return [timed(command, sandbox, HOME=directory) for _ in range(runs)]


def by_hand(regions: list[str], scale: float) -> float:
    """Seconds of the shell's first run."""
    with tempfile.TemporaryDirectory() as directory, account(Path(directory), regions, scale) as (sandbox, _inventory):
        return timed(
            ["bash", str(ROOT / "benchmarks/by_hand.sh"), str(Path(directory) / "work"), *regions],
            sandbox,
            PATH=f"{ROOT / '.venv-awscli/bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            AWS_ENDPOINT_URL=sandbox.gateway,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",  # noqa: S106  # the sandbox's root
            HOSTED_ZONE_ID=sandbox.hosted_zone_id,
            ACCOUNT_ID=sandbox.account_id,
        )


def main() -> None:
    """Run the comparison and print a line for each run and one JSON line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="one region, no latency, first run only (under a minute)")
    options.add_argument("--repeat", type=int, default=3, help="interleaved repetitions (default 3)")
    chosen = options.parse_args()
    sizes = [1] if chosen.quick else [2, 4, 8]
    scale = 0.0 if chosen.quick else 1.0
    first: dict[int, list[float]] = {size: [] for size in sizes}
    second: dict[int, list[float]] = {size: [] for size in sizes}
    shell: list[float] = []
    for repetition in range(1, 2 if chosen.quick else chosen.repeat + 1):
        shell.append(by_hand(REGIONS[: sizes[0]], scale))
        print(f"{repetition}: shell, {sizes[0]} regions: {shell[-1]:.1f} s", flush=True)
        for size in sizes:
            times = by_ansible(REGIONS[:size], scale, runs=1 if chosen.quick else 2)
            first[size].append(times[0])
            second[size].extend(times[1:])
            print(f"{repetition}: site.yml, {size} regions: {', '.join(f'{t:.1f} s' for t in times)}", flush=True)

    least, most = sizes[0], sizes[-1]
    added = (median(first[most]) - median(first[least])) / median(first[least])
    result = {
        "first_seconds": {size: round(median(first[size]), 1) for size in sizes},
        "second_seconds": {size: round(median(times), 1) for size, times in second.items() if times},
        "shell_seconds": round(median(shell), 1),
        "first_vs_shell": round(median(first[least]) / median(shell), 2),
        "second_vs_shell": round(median(second[least]) / median(shell), 2) if second[least] else None,
        "added_region_share": round(added / (most - least), 3) if most > least else None,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
