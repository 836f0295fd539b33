# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast certificates of devices are issued, beside what bounds it and beside other ways, all in one run.

The last line is JSON. ``ec_archive_vs_limit`` and ``rsa_vs_limit``: our rate over that of making keys and signing
alone, on as many cores. ``ec_files_vs_write``: over that of writing the same files alone. ``slowdown``: our rate at
1,000 over that at the largest number. ``vs_shell``: EC, per core, over S1's commands. ``vs_cfssl_serve``: over
`cfssl serve`. What compares with a program that is not installed is null.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.issuing import peers
from benchmarks.issuing.limits import bare_limit, cores, writing_limit
from benchmarks.issuing.ours import Rate, build_ca, issue


@dataclass(frozen=True)
class Size:
    """How much is done: numbers of devices, seconds of a limit, repetitions."""

    growth: tuple[int, ...]
    files: int
    rsa: int
    seconds: float
    repeat: int
    shell: int
    tools: int
    cfssl: int
    loop: int
    playbook: int


FULL = Size((1_000, 10_000, 100_000), 5_000, 400, 5, 3, 100, 40, 6_000, 10, 10_000)
QUICK = Size((1_000, 5_000), 1_000, 150, 2, 1, 4, 5, 1_000, 2, 5_000)


class Bench:
    """The directory in which all happens, and the CAs."""

    def __init__(self, directory: Path, size: Size) -> None:
        self.directory, self.size = directory, size
        self.ec, self.rsa = (build_ca(directory / profile, profile) for profile in ("ec", "rsa"))
        self._places = 0

    def place(self) -> Path:
        """A path that is not in use."""
        self._places += 1
        return self.directory / f"place-{self._places}"

    def fresh_ca(self) -> Path:
        """A copy of the EC CA, which has issued nothing."""
        return Path(shutil.copytree(self.ec, self.place()))

    def ours(self, authority: Path, count: int, layout: str) -> Rate:
        """Our rate; ends the program unless each device is in the ledger."""
        known = (authority / "index.txt").read_bytes().count(b"\n")
        path = self.place().with_suffix(".tar")
        rate = issue(authority, path, f"dev-[{known + 1:06}:{known + count:06}]", layout)
        recorded = (authority / "index.txt").read_bytes().count(b"\n")
        if recorded != known + count:
            raise SystemExit(f"{recorded} certificates are in the ledger instead of {known + count}")
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return rate

    def growth(self) -> dict[int, Rate]:
        """Our rate and memory for each number of devices, and how long a thousand more take."""
        rates: dict[int, Rate] = {}
        for count in self.size.growth:
            runs = []
            for _ in range(self.size.repeat if count < max(self.size.growth) else 1):
                authority = self.fresh_ca()
                runs.append(self.ours(authority, count, "archive"))
            more = self.ours(authority, 1_000, "archive")
            rates[count] = Rate(median(run.rate for run in runs), max(run.memory for run in runs))
            print(f"ours, EC, archive, {count} devices: {rates[count].rate:.0f} /s, {rates[count].memory:.0f} MiB; "
                  f"then 1,000 more: {1_000 / more.rate:.2f} s, {more.memory:.0f} MiB", flush=True)  # fmt: skip
        return rates

    def side_by_side(self, label: str, limit: Callable[[], float], ours: Callable[[], Rate]) -> tuple[float, float]:
        """Our rate, and the median of our rate over a limit, in turn so that both meet the same weather."""
        rates, ratios = [], []
        for _ in range(self.size.repeat):
            before, rate, after = limit(), ours().rate, limit()
            rates.append(rate)
            ratios.append(rate / ((before + after) / 2))
        print(f"{label}: {median(rates):.0f} /s, {median(ratios):.2f} of {median(rates) / median(ratios):.0f} /s",
              flush=True)  # fmt: skip
        return median(rates), median(ratios)

    def files(self) -> float:
        """Our rate into files over that of writing them."""
        sample_ca, sample = self.fresh_ca(), self.place()
        issue(sample_ca, sample, "dev-000000", "folders")

        def write() -> float:
            place = self.place()
            rate = writing_limit(place, sample / "dev-000000", self.size.files)
            shutil.rmtree(place)
            return rate

        return self.side_by_side(
            "EC, files, beside writing alone", write, lambda: self.ours(self.fresh_ca(), self.size.files, "folders")
        )[1]

    def peer(self, label: str, run: Callable[[], float]) -> float | None:
        """A peer's rate, printed; None when it is not installed."""
        try:
            rate = run()
        except peers.Missing as missing:
            print(f"{label}: not measured, {missing}", flush=True)
            return None
        print(f"{label}: {rate:.2f} /s", flush=True)
        return rate

    def playbook(self) -> None:
        """Print how long a playbook takes, beside one that does nothing."""
        (directory := self.place()).mkdir()
        task = {"iotops.fleet.x509_device_certificates": {
            "path": f"{directory}/lot.tar", "authority": str(self.fresh_ca()), "layout": "archive",
            "names": [f"dev-[000001:{self.size.playbook:06}]"],
        }}  # fmt: skip
        empty, filled = peers.play(directory, []), peers.play(directory, [task])
        print(f"ansible-playbook, {self.size.playbook} devices, archive: {filled:.1f} s, {filled / empty:.1f} times an "
              f"empty play ({empty:.1f} s)", flush=True)  # fmt: skip


def main() -> None:
    """Measure, and print a line for each way and one JSON line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="few devices, once (under a minute)")
    size = QUICK if options.parse_args().quick else FULL
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        bench = Bench(Path(directory), size)
        middle = size.growth[-2] if len(size.growth) > 2 else size.growth[-1]
        ec_rate, ec_ratio = bench.side_by_side(
            "EC, archive, beside keys and signatures alone",
            lambda: bare_limit("ec", bench.ec, size.seconds),
            lambda: bench.ours(bench.fresh_ca(), middle, "archive"),
        )
        rsa_rate, rsa_ratio = bench.side_by_side(
            "RSA 2048 from RSA 4096, archive, beside keys and signatures alone",
            lambda: bare_limit("rsa", bench.rsa, size.seconds),
            lambda: bench.ours(bench.rsa, size.rsa, "archive"),
        )
        files_ratio = bench.files()
        growth = bench.growth()
        bench.playbook()
        shell = bench.peer(
            "S1's commands, RSA 2048 from RSA 4096", lambda: peers.shell_script(bench.place(), bench.rsa, size.shell)
        )
        if shell:
            print(f"ours over S1's commands, per core: EC {ec_rate / cores() / shell:.0f}, "
                  f"RSA {rsa_rate / cores() / shell:.1f}", flush=True)  # fmt: skip
        bench.peer("easy-rsa, EC", lambda: peers.easy_rsa(bench.place(), size.tools))
        bench.peer("certtool, EC", lambda: peers.certtool(bench.place(), size.tools))
        cfssl = bench.peer("cfssl serve, EC", lambda: peers.cfssl_serve(bench.place(), size.cfssl))
        bench.peer("community.crypto in loops, EC", lambda: peers.community_crypto(bench.place(), bench.ec, size.loop))
    print(
        json.dumps(
            {
                "ec_archive_vs_limit": round(ec_ratio, 3),
                "ec_files_vs_write": round(files_ratio, 3),
                "rsa_vs_limit": round(rsa_ratio, 3),
                "slowdown": round(growth[size.growth[0]].rate / growth[size.growth[-1]].rate, 3),
                "vs_shell": round(ec_rate / cores() / shell, 1) if shell else None,
                "vs_cfssl_serve": round(ec_rate / cfssl, 2) if cfssl else None,
            }
        )
    )


if __name__ == "__main__":
    main()
