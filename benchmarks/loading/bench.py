# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sections of benchmarks/loadtest.py share: the broker, the devices, and those that are compared."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.loading import cost
from benchmarks.loading.child import ROOT, Child, child
from iotops.loadtest.identities import Identity, numbered
from iotops.loadtest.making import make
from tests.mosquitto import Mosquitto

MODULES = ROOT / ".build/npm-loading"
_PATIENCE = 180.0  # seconds that a generator may take for all that it is asked


@dataclass
class Bench:
    """A running broker, devices below its CA, and the figures so far. ``locust``: a Python that has it, or ""."""

    broker: Mosquitto
    directory: Path
    quick: bool
    locust: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)

    @property
    def devices(self) -> Path:
        """The folder of the devices' files."""
        return self.directory / "devices"

    def names(self, count: int) -> list[str]:
        """Devices that there are."""
        names = numbered("bench-", count)
        make(names, self.devices, self.broker.issuer)
        return names

    def identity(self) -> Identity:
        """One device."""
        return Identity.at(self.devices, self.names(1)[0])

    def connecting(self, names: list[str]) -> dict[str, Any]:
        """The question to connect devices."""
        target = self.broker.target
        return {
            "what": "connect", "host": target.host, "port": target.port, "root": target.root,
            "devices": str(self.devices), "names": names, "parallel": 50,
        }  # fmt: skip

    @contextmanager
    def generator(self, command: Sequence[str | Path]) -> Iterator[Child]:
        """A generator that has started."""
        with child(command, self.directory, _PATIENCE) as running:
            running.ask(what="ready")
            yield running

    def broker_processor(self) -> float:
        """Seconds of processor that the broker has used."""
        return cost.processor([self.broker.pid])


OURS: list[str | Path] = [sys.executable, "-m", "benchmarks.loading.ours"]


def generators(bench: Bench) -> dict[str, list[str | Path]]:
    """Commands of those that can be had here."""
    found: dict[str, list[str | Path]] = {"ours": OURS}
    if modules := node_modules():
        found["mqtt.js"] = ["node", ROOT / "benchmarks/loading/mqttjs.mjs", modules]
    if bench.locust:
        found["Locust"] = [bench.locust, "-m", "benchmarks.loading.locust_user"]
        found["Locust, with selectors"] = [*found["Locust"], "selectors"]
    return found


def python_with_locust() -> str:
    """The Python that has Locust: the one that runs, that of its own environment, or "" for none."""
    if importlib.util.find_spec("locust"):
        return sys.executable
    own = ROOT / ".venv-locust/bin/python"
    return str(own) if own.exists() else ""


@cache  # what is missing is said once
def node_modules() -> Path | None:
    """The folder of S3's SDK and mqtt.js, installed from the npm registry as their lock says."""
    if not shutil.which("npm"):
        print("not measured: S3's architecture and mqtt.js (npm is absent)")
        return None
    source, lock = ROOT / "benchmarks/loading", MODULES / "package-lock.json"
    if not lock.exists() or lock.read_bytes() != (source / "package-lock.json").read_bytes():
        MODULES.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "package.json", MODULES)
        shutil.copy(source / "package-lock.json", MODULES)
        words = ["npm", "ci", "--prefix", MODULES, "--loglevel=error", "--no-fund", "--no-audit"]
        if subprocess.run(words, check=False, timeout=300).returncode:
            lock.unlink()
            print("not measured: S3's architecture and mqtt.js (npm cannot install them)")
            return None
    return MODULES


__all__ = ["OURS", "Bench", "generators", "node_modules", "python_with_locust"]
