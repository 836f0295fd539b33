# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection: the wheels of a requirements file, fetched for another Python and platform than ours."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

__all__ = ["WheelCache", "pinned_names"]

# What Amazon Linux 2023 (glibc 2.34), the base of the current runtimes, can load; pip does not add older ones itself.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html and PEP 600
PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
_PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?==[^*\s;]+(?=[\s;]|$)")


def pinned_names(requirements: str) -> frozenset[str]:
    """The normalised names (PEP 503) that a requirements file pins.

    Raises:
        FleetError: a line that does not pin one version.

    """
    joined = re.sub(r"\\\n", " ", requirements)
    lines = [line.split(" #")[0].strip() for line in joined.splitlines()]
    names = set()
    for line in lines:
        if not line or line.startswith(("#", "--")):
            continue
        pin = _PIN.match(line)
        if not pin:
            raise FleetError(f"requirements.txt: '{line}' does not pin a version: write name==version")
        names.add(_normalised(pin["name"]))
    return frozenset(names)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class WheelCache:
    """Wheels by the hash of what was asked for; a folder appears only when all its wheels are there."""

    def __init__(self, *, root: Path, runtime: str, architecture: str) -> None:
        self._root = root
        self._version = runtime.removeprefix("python")
        self._machine = MACHINES[architecture]

    def _folder(self, requirements: bytes) -> Path:
        asked = f"{self._version} {self._machine} ".encode() + requirements
        return self._root / hashlib.sha256(asked).hexdigest()

    def fetch(self, requirements: bytes) -> list[Path]:
        """Paths of the wheels, sorted by name; asks the package index only when they are not there yet.

        Raises:
            FleetError: pip failed, or a requirement needs another one that is not pinned.

        """
        folder = self._folder(requirements)
        if not folder.is_dir():
            self._download(requirements, folder)
        return sorted(folder.glob("*.whl"))

    def _download(self, requirements: bytes, folder: Path) -> None:
        names = pinned_names(requirements.decode())
        self._root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._root) as work:
            asked, fetched = Path(work, "requirements.txt"), Path(work, "wheels")
            asked.write_bytes(requirements)
            self._pip("--requirement", str(asked), "--dest", str(fetched))
            unpinned = sorted({_normalised(wheel.name.split("-")[0]) for wheel in fetched.glob("*.whl")} - names)
            if unpinned:
                raise FleetError(f"requirements.txt must also pin {', '.join(unpinned)}, which its packages need")
            if not folder.is_dir():
                shutil.move(fetched, folder)

    def _pip(self, *arguments: str) -> None:
        platforms = [part for name in PLATFORMS for part in ("--platform", f"{name}_{self._machine}")]
        target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", self._version, *platforms]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
        result = subprocess.run([*command, *target, *arguments], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            lines = result.stderr.strip().splitlines() or ["no output"]
            wanted = next((line for line in lines if line.startswith("ERROR:")), lines[-1])
            raise FleetError(f"pip could not fetch the wheels of requirements.txt: {wanted.removeprefix('ERROR: ')}")
