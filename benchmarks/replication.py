# SPDX-License-Identifier: GPL-3.0-or-later
"""Our check of two regions against the method of a tool of AWS's, on the same fleet of the same sandbox, in one run.

Each call takes 30 ms longer in one region and 90 ms in the other. Ours runs as Ansible runs it, is timed from the start
of Python and keeps to AWS's quotas; the other method is timed from its first call and kept to nothing. It costs the
same for each device and is timed on a part of the fleet.

The last line is JSON. ``calls_per_device``: calls of AWS IoT at depth registry, both regions together, of the fleet of
10,000; ``calls_per_device_full``: at depth full, each device looked at. ``speedup``: over the other method with 50
threads, at 10,000 devices. ``peak_mb``: the most memory of one of our processes, whatever the fleet.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.checking import ours, peer
from benchmarks.checking.fleet import APPLICATION, AWAY, HOME, Fleet, fleet, load

COMPARED = 10_000  # devices of the fleet that both sides are compared on
THREADS = (10, 50)  # D's default and its maximum


@dataclass(frozen=True)
class Size:
    """How much is done.

    ``full``: devices of the fleet whose things are all asked for their principals. ``growth``: further sizes.
    ``peer``: how many devices the other method compares, by threads. ``repeat``: how often ours runs where both are
    compared. ``throttled``: how many devices the other method compares while quotas are enforced. ``rests``: whether
    both wait until the sandbox has saved a fleet that has grown.
    """

    full: int
    growth: tuple[int, ...]
    peer: tuple[int, int]
    repeat: int
    throttled: int
    rests: bool


FULL = Size(full=1_000, growth=(100_000,), peer=(1_000, 1_000), repeat=3, throttled=200, rests=True)
QUICK = Size(full=250, growth=(), peer=(100, 200), repeat=1, throttled=0, rests=False)


class Bench:
    """A fleet that grows, and what was measured on it."""

    def __init__(self, found: Fleet, size: Size) -> None:
        self.fleet, self.size = found, size
        self.memory = self.calls = self.calls_full = 0.0

    def ours(self, label: str = "", **options: str | int) -> float:
        """Seconds of our check of the whole fleet; ends the program unless it saw each device and no fault."""
        began = self.fleet.sandbox.now()
        done = ours.check(self.fleet.sandbox.gateway, (HOME, AWAY), application=APPLICATION, **options)
        self.calls = self.fleet.calls(began) / self.fleet.devices
        for region, answer in done.answers.items():
            found = answer["replication"]
            if (found["devices"], found["faults"], found["in_motion"]) != (self.fleet.devices, {}, 0):
                raise SystemExit(f"the check of {region} found {found}, and {self.fleet.devices} devices are in order")
        self.memory = max(self.memory, done.memory)
        paced = max(answer["estimate"]["seconds"] for answer in done.answers.values())
        print(f"ours, {options.get('depth', 'registry')}, {self.fleet.devices} devices{label}: {done.seconds:.1f} s "
              f"(quotas allow {paced:.1f} s), {done.processor:.1f} s of processor, {self.calls:.4f} calls a device, "
              f"{done.memory:.0f} MB; {load()}",
              flush=True)  # fmt: skip
        return done.seconds

    def peer(self, threads: int, devices: int, label: str = "") -> float:
        """Seconds in which the other method would have compared the whole fleet."""
        began = self.fleet.sandbox.now()
        seen = peer.compare(self.fleet.sandbox.gateway, HOME, AWAY, workers=threads, devices=devices)
        if seen.devices["different"]:
            raise SystemExit(f"D's method found {dict(seen.devices)}, and all devices are in order")
        seconds, processor = seen.whole(self.fleet.devices)
        errors = f", {seen.devices['error']} of which it could not read" if seen.devices["error"] else ""
        print(f"D's method, {threads} threads, {self.fleet.devices} devices{label}: {seconds:.0f} s, "
              f"{processor:.0f} s of processor, from {seen.seconds:.1f} s for {devices}{errors}, "
              f"{self.fleet.calls(began) / devices:.2f} calls a device; {load()}", flush=True)  # fmt: skip
        return seconds

    def against(self, devices: int, repeat: int) -> float:
        """Compare both sides on a fleet; how much faster ours is than the other one with most threads."""
        self.fleet.grow(devices)
        if self.size.rests:
            self.fleet.rest()
        others = [self.peer(*each) for each in zip(THREADS, self.size.peer, strict=True)]
        seconds = median(self.ours() for _ in range(repeat))
        ratios = dict(zip(THREADS, (other / seconds for other in others), strict=True))
        print(f"ours over D's method, {devices} devices: "
              f"{', '.join(f'{ratio:.1f} times at {threads} threads' for threads, ratio in ratios.items())}",
              flush=True)  # fmt: skip
        return ratios[max(THREADS)]

    def with_quotas(self, devices: int) -> None:
        """The same while the sandbox throttles as AWS does."""
        self.fleet.sandbox.enforce_quotas()
        other, seconds = self.peer(max(THREADS), devices, ", quotas enforced"), self.ours(", quotas enforced")
        print(f"ours over D's method with quotas enforced: {other / seconds:.1f} times", flush=True)
        self.fleet.sandbox.lift_quotas()


def main() -> None:
    """Measure, and print a line for each run and one JSON line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="a part of it, once (under a minute)")
    quick = options.parse_args().quick
    size = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory, fleet(Path(directory)) as found:
        bench = Bench(found, size)
        found.grow(size.full)
        bench.ours(depth="full", sample=0)
        full = bench.calls
        if not quick:
            bench.against(size.full, 1)
        speedup = bench.against(COMPARED, size.repeat)
        calls = bench.calls
        if size.throttled:
            bench.with_quotas(size.throttled)
        for devices in size.growth:
            found.grow(devices)
            bench.ours()
    figures = {"calls_per_device": calls, "calls_per_device_full": full, "speedup": speedup, "peak_mb": bench.memory}
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
