# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets that a process may open."""

from __future__ import annotations

import resource

from iotops.loadtest.errors import LoadTestError

_OTHERS = 64  # files that a process has open beside the devices' connections


def allow(devices: int) -> None:
    """Let this process have a connection for each of so many devices, which a usual limit of 1024 would not.

    Raises:
        LoadTestError: the system does not let it.

    """
    wanted = devices + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise LoadTestError(
            f"{devices} devices in one process, which may open {hard} files: raise that to {wanted} (ulimit -Hn), "
            "or use more processes or hosts"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


__all__ = ["allow"]
