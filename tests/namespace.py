# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine of its own for a script: no network but named ways out, own names and own /var/lib, nobody's systemd.

``run(script, directory, ways, names)`` starts it. ``ways`` are the ports of its loopback and where each leads outside
(``{8883: ("127.0.0.2", 8883)}``), over sockets in files, which is all that leaves a network namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

UNSHARE = ("unshare", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child")


def is_allowed() -> bool:
    """Whether this machine lets us make namespaces."""
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def run(
    script: str, directory: Path, ways: dict[int, tuple[str, int]], names: list[str], environment: dict[str, str]
) -> Iterator[Path]:
    """The script's output as a file, while it runs; its ``/var/lib`` is ``directory/lib``."""
    (directory / "lib").mkdir()
    (directory / "script").write_text(script)
    (directory / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in ["localhost", *names]))
    servers = [_serve_file(directory / str(port), target) for port, target in ways.items()]
    output = directory / "output"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [*UNSHARE, sys.executable, __file__, json.dumps([str(directory), list(ways)])],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            yield output
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for server in servers:
                server.close()


def _serve_file(path: Path, target: tuple[str, int]) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(16)
    _accept(server, lambda: socket.create_connection(target))
    return server


def _serve_port(port: int, path: Path) -> None:
    def onward() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        return connection

    _accept(socket.create_server(("127.0.0.1", port)), onward)


def _accept(server: socket.socket, onward: Callable[[], socket.socket]) -> None:
    def loop() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                taken, _ = server.accept()
                with contextlib.suppress(OSError):
                    other = onward()
                    for pair in ((taken, other), (other, taken)):
                        threading.Thread(target=_copy, args=pair, daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _inside() -> int:
    """What runs in the namespaces: the ways out, then the script."""
    directory, ports = json.loads(sys.argv[1])
    here = Path(directory)
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["mount", "--bind", str(here / "hosts"), "/etc/hosts"],
        ["mount", "--bind", str(here / "lib"), "/var/lib"],
        ["mount", "-t", "tmpfs", "none", "/run"],
    ):
        subprocess.run(command, check=True)
    for port in ports:
        _serve_port(port, here / str(port))
    return subprocess.run(["bash", str(here / "script")], check=False, cwd="/").returncode


if __name__ == "__main__":
    raise SystemExit(_inside())
