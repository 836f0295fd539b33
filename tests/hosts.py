# SPDX-License-Identifier: GPL-3.0-or-later
"""A Linux host to manage over SSH: this machine's own root under an overlay, so that nothing done there reaches it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
# Below the directory: upper (what the host changed) and root (what it sees). The checkout and /tmp are empty there.
SCRIPT = """
mount -t tmpfs -o size=1g tmpfs "$0"
cd "$0"; mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
cp -r "$1" root/keys; checkout=$2; shift 2
cd root
mount --rbind /dev dev; mount --rbind /sys sys; mount -t proc proc proc
for each in run tmp ".$checkout"; do mkdir -p "$each"; mount -t tmpfs tmpfs "$each"; done
mkdir -m 0755 run/sshd
chroot . usermod -p '*' root
exec chroot . "$@"
"""
# What of upper is not as it is below: paths that are new, changed or gone.
CHANGED = """
import os, stat, sys
upper = sys.argv[1]
def same(one, other):
    a, b = os.lstat(one), os.lstat(other)
    if (a.st_mode, a.st_uid, a.st_gid) != (b.st_mode, b.st_uid, b.st_gid): return False
    if stat.S_ISLNK(a.st_mode): return os.readlink(one) == os.readlink(other)
    return not stat.S_ISREG(a.st_mode) or open(one, "rb").read() == open(other, "rb").read()
for folder, folders, files in os.walk(upper):
    for name in folders + files:
        path = os.path.join(folder, name); below = path[len(upper):]
        if not os.path.lexists(below) or not same(path, below): print(below)
"""


def obstacle() -> str:
    """Why there can be no such host here; empty when there can."""
    if not SSHD:
        return "sshd is absent: apt-get install openssh-server"
    if os.getuid():
        return "only root may lay an overlay over the machine's root and have accounts there"
    made = subprocess.run(
        ["unshare", "-m", "sh", "-ec", "mount -t tmpfs t /mnt; cd /mnt; mkdir u w r; mount -t overlay -o "
         "lowerdir=/,upperdir=u,workdir=w o r"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"no overlay in a mount namespace: {made.stderr.strip()}" if made.returncode else ""


class Host:
    """A host; ``directory`` holds the keys of both sides. Its loopback is the machine's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        keys, self._base = directory / "keys", directory / "host"
        for each in (keys, self._base):
            each.mkdir(parents=True)
        for name_of in ("host", "operator"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name_of, "-f", keys / name_of]
            subprocess.run(command, check=True)
        (keys / "operator").rename(directory / "operator")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        public = (keys / "host.pub").read_text().split()
        (directory / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")
        self._process = subprocess.Popen(
            ["unshare", "-m", "-p", "-f", "--kill-child", "sh", "-eu", "-c", SCRIPT, self._base, keys, ROOT,
             SSHD or "", "-D", "-e", "-f", "/dev/null", "-h", "/keys/host",
             "-o", f"ListenAddress=127.0.0.1:{self.port}",
             "-o", "AuthorizedKeysFile=/keys/operator.pub", "-o", "StrictModes=no", "-o", "UsePAM=no",
             "-o", "PasswordAuthentication=no", "-o", "Subsystem=sftp internal-sftp"],
            stdout=(directory / "sshd.log").open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._wait()
        self._before = self._changed()

    def _wait(self) -> None:
        end = time.monotonic() + 20
        while True:
            assert self._process.poll() is None, (self._directory / "sshd.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < end, (self._directory / "sshd.log").read_text()
                time.sleep(0.05)

    @property
    def upper(self) -> Path:
        """What it has changed, as files of this machine."""
        return self._base / "upper"

    @property
    def variables(self) -> dict[str, Any]:
        """What the inventory says of it."""
        arguments = f"-o UserKnownHostsFile={self._directory}/known_hosts -o StrictHostKeyChecking=yes"
        return {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self._directory / "operator"),
            "ansible_ssh_common_args": arguments,
            "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60s",  # as usual, uncompressed
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def command(self, *words: object, inside: bool = True) -> list[str]:
        """What runs a command there, or beside the host's root where the overlay is laid."""
        pid = subprocess.run(
            ["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True, check=True
        ).stdout.strip()
        return ["nsenter", "-t", pid, "-m", *(["-p", "-r", "-w"] if inside else []), *map(str, words)]

    def run(self, *words: object, inside: bool = True, check: bool = True) -> str:
        """What a command there says."""
        done = subprocess.run(self.command(*words, inside=inside), capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def put(self, path: str, content: str) -> None:
        """Put a file there."""
        self.run("mkdir", "-p", Path(path).parent)
        subprocess.run(self.command("tee", path), input=content, text=True, check=True, stdout=subprocess.DEVNULL)

    def _changed(self) -> set[str]:
        return set(self.run("/usr/bin/python3", "-c", CHANGED, self._base / "upper", inside=False).splitlines())

    def changed(self) -> set[str]:
        """The paths that are not as they were when it came up."""
        return self._changed() - self._before

    def close(self) -> None:
        """Switch it off."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def inventory(
    regions: Path, path: Path, hosts: dict[str, dict[str, Any]], *, group: str = "device_hosts", **variables: Any
) -> Path:
    """Write the inventory of regions with hosts as a group of its, and their variables, to ``path``."""
    found = json.loads(regions.read_text())
    found["all"]["children"][group] = {"hosts": hosts, "vars": variables}
    path.write_text(json.dumps(found))
    return path
