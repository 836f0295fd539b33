# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own rates: what the module x509_device_certificates does, in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "collections"), str(ROOT)]

from ansible_collections.iotops.fleet.plugins.module_utils.pki import (  # noqa: E402
    ensure_authority,
    ensure_device_certificates,
)


@dataclass(frozen=True)
class Rate:
    """Certificates a second, and the most memory that one process of the run had, in MiB."""

    rate: float
    memory: float


def build_ca(directory: Path, profile: str) -> Path:
    """Make a root and an issuing CA of a key profile; the directory of the issuing CA."""
    common = {
        "organization": "Benchmark", "key_profile": profile, "serial_policy": "random", "passphrase": None,
        "issuer_passphrase": None, "check_mode": False,
    }  # fmt: skip
    root, issuing = directory / "rootCA", directory / "intermediateCA"
    ensure_authority(path=str(root), authority_type="root", common_name="Root", days=7300, issuer_path=None, **common)
    ensure_authority(
        path=str(issuing), authority_type="issuing", common_name="Issuing", days=3650, issuer_path=str(root), **common
    )
    return issuing


def issue(authority: Path, path: Path, names: str, layout: str) -> Rate:
    """Issue to the devices of a range; raises CalledProcessError."""
    command = [sys.executable, "-m", "benchmarks.issuing.ours", str(authority), str(path), names, layout]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Rate(**json.loads(done.stdout))


def main() -> None:
    """Issue what the command line says and print the rate."""
    authority, path, names, layout = sys.argv[1:]
    started = time.perf_counter()
    result = ensure_device_certificates(
        path=path, authority_path=authority, names=[names], layout=layout, days=365, renew=False, passphrase=None,
        check_mode=False,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"rate": result["issued_count"] / seconds, "memory": most / 1024}))


if __name__ == "__main__":
    main()
