"""A fleet on a sandbox of its own, driven by the commands that its README names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from iotops.sandbox.client import Sandbox
from tests.processes import kill

ROOT = Path(__file__).resolve().parents[2]
REGIONS = ["eu-west-1", "us-west-2"]
# The issuing CA's key goes to Secrets Manager, so that it is looked for wherever it must not be.
SIGNER = ["-e", "fleet_rotation_signer=function"]
RECAP = re.compile(
    r"^(?P<host>[\w.-]+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)"
    r"\s+unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)"
)


@dataclass(frozen=True)
class Run:
    """How a playbook ended: exit code, output, and per host what the recap counted."""

    code: int
    output: str
    recap: dict[str, dict[str, int]]

    @property
    def changed(self) -> dict[str, int]:
        """Changed tasks per host."""
        return {host: counts["changed"] for host, counts in self.recap.items()}

    def ok(self) -> Run:
        """Return itself; raises AssertionError with the end of the output when the run failed."""
        assert self.code == 0, self.output[-6000:]
        return self

    @property
    def changes(self) -> list[str]:
        """The tasks that changed something, with their hosts."""
        task, found = "", []
        for line in self.output.splitlines():
            if line.startswith("TASK ["):
                task = line[6:].split("]")[0]
            elif line.startswith("changed: "):
                found.append(f"{task} {line[9:]}")
        return found


def recap(output: str) -> dict[str, dict[str, int]]:
    """Counts per host from the recap of ``ansible-playbook``."""
    found = (RECAP.match(line) for line in output.splitlines())
    return {m["host"]: {k: int(m[k]) for k in ("ok", "changed", "unreachable", "failed")} for m in found if m}


@dataclass(frozen=True)
class Fleet:
    """One sandbox and the playbooks run against it."""

    sandbox: Sandbox
    inventory: Path = ROOT / "inventories" / "sandbox"

    @property
    def pki(self) -> Path:
        """The PKI tree of this fleet."""
        return Path(self.sandbox.directory) / "pki"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of a user of this sandbox."""
        return {
            **os.environ,
            "IOTOPS_SANDBOX_DIR": str(self.sandbox.directory),
            "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def start(self, playbook: str, *arguments: str, output: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start ``ansible-playbook`` in a process group of its own."""
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(self.inventory), *SIGNER, playbook, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, playbook: str, *arguments: str) -> Run:
        """Run ``ansible-playbook`` to its end."""
        process = self.start(playbook, *arguments)
        output, _ = process.communicate(timeout=900)
        return Run(process.returncode, output, recap(output))

    def run_until(self, call: int, playbook: str, *arguments: str) -> str:
        """Run it, and SIGKILL it with all that it started once the journal has ``call`` lines; what it had said."""
        with tempfile.TemporaryFile("w+") as output:
            process = self.start(playbook, *arguments, output=output)
            deadline = time.monotonic() + 300
            while len(self.sandbox.journal()) < call and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            kill(process)
            output.seek(0)
            return output.read()


@dataclass(frozen=True)
class Overheard:
    """A fleet with a device, whose ``site.yml`` was killed and run again.

    ``output``: all that Ansible said meanwhile. ``before``: what the account held at first. ``built``: what it held
    when ``site.yml`` had ended. ``killed``: after which call.
    """

    fleet: Fleet
    output: str
    before: dict[str, Any]
    built: dict[str, Any]
    killed: str
