# SPDX-License-Identifier: GPL-3.0-or-later
"""A sandbox as an object: what tests and benchmarks use."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from iotops.sandbox import clients, endpoints, journal, process


class Sandbox:
    """One sandbox in its directory; start it, use it, break it. It ends with the process that started it."""

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.directory, self._port = directory.resolve(), port
        self._endpoints: dict[str, Any] = {}
        self._clients: dict[tuple[Any, ...], Any] = {}

    @property
    def gateway(self) -> str:
        """URL of all services of all regions."""
        return str(self._endpoints["gateway"])

    @property
    def regions(self) -> dict[str, dict[str, str]]:
        """Region -> ``{"mqtt": "host:port"}``."""
        return dict(self._endpoints["regions"])

    @property
    def account_id(self) -> str:
        """The AWS account."""
        return str(self._endpoints["account_id"])

    @property
    def hosted_zone_id(self) -> str:
        """The public hosted zone of example.com."""
        return str(self._endpoints["hosted_zone_id"])

    @property
    def pid(self) -> int:
        """The server process."""
        return int(self._endpoints["pid"])

    def start(self) -> Sandbox:
        """Start, or attach to the one that runs; a restart comes up at the same addresses."""
        known = endpoints.read(self.directory)
        port = self._port or (int(known["gateway"].rsplit(":", 1)[-1]) if known else 0)
        self._endpoints = process.start(self.directory, port, tied=True)
        return self

    def stop(self) -> None:
        """Stop, saving the state."""
        process.stop(self.directory)

    def kill(self) -> None:
        """SIGKILL."""
        process.end(self.pid, signal.SIGKILL)

    def wipe(self) -> None:
        """Forget the state of a stopped sandbox."""
        process.wipe(self.directory)

    def client(self, service: str, region: str, **credentials: str) -> Any:
        """A boto3 client; root, unless given ``access_key``, ``secret_key`` and ``session_token``."""
        key = (self.gateway, service, region, *sorted(credentials.items()))
        if key not in self._clients:
            self._clients[key] = clients.client(self.gateway, service, region, **credentials)
        return self._clients[key]

    def journal(self, since: datetime | None = None, **wanted: str) -> list[dict[str, Any]]:
        """The calls since then; ``wanted``: ``region``, ``service``, ``operation``."""
        return list(journal.read(self.directory, since, **wanted))

    def now(self) -> datetime:
        """The clock of the journal."""
        return datetime.now(UTC)

    def fault(self, **rule: Any) -> str:
        """Put a fault rule in force (``iotops.sandbox.faults``); its id."""
        return str(self._admin("POST", "fault", rule)["id"])

    def faults(self) -> list[dict[str, Any]]:
        """The rules in force; ``times`` is how often each will strike yet."""
        return list(self._admin("GET", "faults"))

    def clear_faults(self, rule_id: str | None = None) -> None:
        """Lift one rule, or all."""
        self._admin("DELETE", f"faults/{rule_id}" if rule_id else "faults")

    def enforce_quotas(self) -> None:
        """Hold every region to AWS's default quotas of calls to AWS IoT (``iotops.sandbox.iot_quotas``)."""
        self._admin("POST", "quotas/enforce")

    def lift_quotas(self) -> None:
        """Hold none to them."""
        self._admin("POST", "quotas/lift")

    def cut(self, region: str) -> None:
        """Cut the region off: its API calls and MQTT connections are reset, its global tables stand still."""
        self._admin("POST", f"regions/{region}/cut")

    def restore(self, region: str) -> None:
        """End a cut."""
        self._admin("POST", f"regions/{region}/restore")

    def replication(self, **settings: float | list[str]) -> dict[str, Any]:
        """Set ``delay``, ``jitter`` (seconds) and ``reorder`` (probability) of global tables; what is in force.

        ``lanes`` lists what stands still, ``<from>:<to>``, one way each.
        """
        return dict(self._admin("POST", "replication", settings))

    def viewers(self, addresses: dict[str, str]) -> dict[str, str]:
        """Say which public address each loopback address that calls an HTTP API stands for; what is in force."""
        return dict(self._admin("POST", "viewers", addresses))

    def snapshot(self) -> None:
        """Save the state now."""
        self._admin("POST", "snapshot")

    def seed(self, **arguments: Any) -> dict[str, Any]:
        """Make a fleet fast (``iotops.sandbox.seed``)."""
        return dict(self._admin("POST", "seed", arguments))

    def _admin(self, method: str, path: str, body: Any = None) -> Any:
        return process.request(self.gateway, method, path, body)
