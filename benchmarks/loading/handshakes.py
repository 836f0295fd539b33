# SPDX-License-Identifier: GPL-3.0-or-later
"""How many connections a second `openssl s_time` opens, one after the other: TLS alone, no MQTT."""

from __future__ import annotations

import re
import subprocess
import time

from iotops.loadtest.identities import Identity
from iotops.loadtest.target import Target

_ANSWER = re.compile(r"(\d+) connections in \d+ real seconds")


def rate(target: Target, identity: Identity, seconds: int) -> float:
    """Connections a second with a client certificate."""
    words = ["openssl", "s_time", "-new", "-time", str(seconds), "-connect", f"127.0.0.1:{target.port}"]
    words += ["-CAfile", target.root, "-cert", str(identity.certificate), "-key", str(identity.key)]
    started = time.perf_counter()  # its own seconds are whole ones
    run = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds + 30)
    took = time.perf_counter() - started
    found = _ANSWER.search(run.stdout)
    if not found:
        raise RuntimeError(f"openssl s_time: {run.stdout[-500:]}{run.stderr[-500:]}")
    return int(found[1]) / took


__all__ = ["rate"]
