# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes that devices join a fleet of two regions.

``cost`` lets devices enter through one region, counts what AWS would charge for (the sandbox's journal, execution
histories and logs) and prices it. ``throughput`` lets all devices connect at once, half of them in each region, and
says how long that takes and where the time goes. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "collections"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.joining import prices, throughput
from benchmarks.joining.bill import total
from benchmarks.joining.cost import Run, avoidable


def cost(devices: int) -> dict[str, object]:
    """Print the bill of both types of machine; the figures."""
    express, standard = Run("EXPRESS", devices), Run("STANDARD", devices)
    for run in (express, standard):
        print(f"\n{run.machine_type}, {devices} devices, refused {run.refused} times before they were accepted")
        print(f"{'units a device':>14}  {'USD / million':>13}  line")
        for line in run.bill():
            print(f"{line.count:14.5g}  {line.usd:13.2f}  {line.what} ({line.unit})")
        print(f"{'':14}  {total(run.bill()):13.2f}  in all; S1: {prices.S1_STANDARD:.0f}")
    here, there = (express.iot_calls(region) for region in express.regions)
    one, two = express.rates()
    stored, transitions = express.stored
    figures = {
        "express_usd_per_million": round(total(express.bill()), 2),
        "express_usd_without_registry_and_connect": round(avoidable(express.bill()), 2),
        "standard_usd_per_million": round(total(standard.bill()), 2),
        "standard_transitions": round(standard.each(sum(e.transitions for e in standard.executions)), 1),
        "s1_usd_per_million": prices.S1_STANDARD,
        "iot_calls": {"entry": round(sum(here.values()), 2), "other": round(sum(there.values()), 2)},
        "calls_to_other_regions": len(express.foreign_calls()) + len(standard.foreign_calls()),
        "executions_for_messages": {"messages": stored, "executions": transitions},
        "devices_per_second": {"one_region": one.devices, "two_regions": two.devices},
        "binding_quota": {"one_region": one.quota, "two_regions": two.quota},
    }
    print(f"\nIoT calls a device: {here} where it enters, {there} in the other region")
    print(f"at default quotas {one.devices} devices/s through one region ({one.quota}), "
          f"{two.devices} through two ({two.quota})")  # fmt: skip
    return {
        **figures,
        "targets_met": {
            "express_below_30": total(express.bill()) < 30,
            "express_below_20_without_registry_and_connect": avoidable(express.bill()) < 20,
            "at_most_5_iot_calls": max(sum(here.values()), sum(there.values())) <= 5,
            "no_call_to_another_region": not express.foreign_calls() and not standard.foreign_calls(),
            "no_execution_per_message": transitions == 0,
            "10_per_second_through_one_region": one.devices >= 10,
            "15_per_second_through_two": two.devices >= 15,
        },
    }


def main() -> None:
    """Run one of the two and print its figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", choices=("cost", "throughput"))
    options.add_argument("--devices", type=int, help="how many join (cost: 20, throughput: 500)")
    options.add_argument("--quick", action="store_true", help="few devices (cost: 4, throughput: 50), under a minute")
    chosen = options.parse_args()
    usual = {"cost": (20, 4), "throughput": (500, 50)}[chosen.what][chosen.quick]
    devices = chosen.devices or usual
    print(json.dumps(cost(devices) if chosen.what == "cost" else throughput.run(devices)))


if __name__ == "__main__":
    main()
