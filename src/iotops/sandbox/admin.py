# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's own API, JSON under /_sandbox/ of the gateway; the CLI and the tests are its only callers.

GET status · POST fault (a rule) · GET faults · DELETE faults[/<id>] · POST regions/<region>/{cut,restore} ·
GET and POST replication · POST viewers · POST snapshot · POST seed · POST quotas/{enforce,lift}
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from iotops.sandbox import http_apis, iot_quotas, mqtt_listeners, persistence, replication_settings
from iotops.sandbox.addresses import iot_regions
from iotops.sandbox.errors import SandboxError
from iotops.sandbox.faults import Faults


@dataclass
class Admin:
    """The ASGI application behind /_sandbox/."""

    faults: Faults
    started: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one request; 400 with ``{"error": line}`` for bad input, 404 for an unknown path."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        try:
            status, answer = (
                200,
                await self._route(scope["method"], scope["path"].split("/")[2:], json.loads(body or "{}")),
            )
        except KeyError:
            status, answer = 404, {"error": f"no {scope['method']} {scope['path']}"}
        except (SandboxError, ValueError) as error:
            status, answer = 400, {"error": str(error)}
        payload = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    async def _route(self, method: str, path: list[str], body: dict[str, Any]) -> Any:
        routes: dict[tuple[str, str], Callable[[list[str], dict[str, Any]], Any]] = {
            ("GET", "status"): lambda _path, _body: {"pid": os.getpid(), **self.started},
            ("POST", "fault"): lambda _path, rule: self.faults.add(rule).__dict__,
            ("GET", "faults"): lambda _path, _body: self.faults.listing(),
            ("DELETE", "faults"): lambda rest, _body: self.faults.remove(rest[0] if rest else None),
            ("POST", "regions"): self._region,
            ("GET", "replication"): lambda _path, _body: replication_settings.current(),
            ("POST", "replication"): lambda _path, wanted: replication_settings.change(wanted),
            ("POST", "viewers"): lambda _path, wanted: http_apis.set_viewers(wanted),
            ("POST", "snapshot"): _snapshot,
            ("POST", "seed"): _seed,
            ("POST", "quotas"): self._quotas,
        }
        answer = routes[method, path[0]](path[1:], body)
        return await answer if asyncio.iscoroutine(answer) else answer

    def _region(self, path: list[str], _body: dict[str, Any]) -> list[str]:
        region, action = path
        if region not in iot_regions():
            raise SandboxError(f"no region {region!r}; AWS IoT is in {', '.join(iot_regions())}")
        if action == "cut":
            self.faults.cut.add(region)
            mqtt_listeners.cut(region)
        else:
            self.faults.cut.discard(region)
            mqtt_listeners.restore(region)
        replication_settings.change({"cut": sorted(self.faults.cut)})
        return sorted(self.faults.cut)

    def _quotas(self, path: list[str], _body: dict[str, Any]) -> dict[str, int]:
        """How many rules are in force for it now."""
        (action,) = path
        if action not in ("enforce", "lift"):
            raise KeyError(action)
        self.faults.remove_all(iot_quotas.RULE)
        rules = list(iot_quotas.rules()) if action == "enforce" else []
        for rule in rules:
            self.faults.add(rule)
        return {"rules": len(rules)}


def _snapshot(_path: list[str], _body: dict[str, Any]) -> Any:
    return asyncio.to_thread(persistence.save_now)


def _seed(_path: list[str], body: dict[str, Any]) -> Any:
    from iotops.sandbox import seed

    return asyncio.to_thread(seed.run, **body)
