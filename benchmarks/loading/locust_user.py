# SPDX-License-Identifier: GPL-3.0-or-later
"""Locust with its own MQTT user in one process, asked through standard input (child.py): connect, subscribe, publish.

Users are Locust's as it comes, with its selectors instead of select(), which ends at about 340 connections over TLS.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import ssl  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from locust.contrib.mqtt import MqttUser  # noqa: E402
from locust.env import Environment  # noqa: E402

PAYLOAD = b"x" * 64
CHUNK, LAG = 10, 4000


class Device(MqttUser):
    """One user."""

    abstract = True
    use_loop_selectors = True


class Generator:
    """Users, and the messages that those of them have got which subscribe."""

    def __init__(self) -> None:
        self._environment = Environment()
        self._runner = self._environment.create_local_runner()  # statistics are kept by it
        self._users: list[Device] = []
        self._received = 0
        self._acknowledged = 0
        self._environment.events.request.add_listener(self._count)

    def _count(self, name: str, **_fields: Any) -> None:
        self._acknowledged += name.startswith("publish")

    def ready(self, _question: dict[str, Any]) -> dict[str, Any]:
        """All is loaded."""
        return {}

    def connect(self, question: dict[str, Any]) -> dict[str, Any]:
        """Connect devices, so many at a time."""
        directory = Path(question["devices"])
        started = time.perf_counter()
        for name in question["names"]:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(question["root"])
            context.load_cert_chain(directory / f"{name}.cert.pem", directory / f"{name}.key.pem")
            kind = type(
                "One",
                (Device,),
                {"host": question["host"], "port": question["port"], "client_id": name, "tls_context": context},
            )
            user = kind(self._environment)
            user.client.on_message = self._hear
            self._users.append(user)
            while len(self._users) - sum(each.client.is_connected() for each in self._users) >= question["parallel"]:
                gevent.sleep(0.005)
        while not all(user.client.is_connected() for user in self._users):
            gevent.sleep(0.005)
        return {"seconds": time.perf_counter() - started}

    def _hear(self, *_arguments: Any) -> None:
        self._received += 1

    def subscribe(self, question: dict[str, Any]) -> dict[str, Any]:
        """Let the last ones listen to all topics of the benchmark."""
        for user in self._users[-question["count"] :]:
            user.client.subscribe("bench/+", 1)
        gevent.sleep(1)
        return {}

    def publish(self, question: dict[str, Any]) -> dict[str, Any]:
        """Publish as fast as the subscribers get it."""
        count, messages, qos = question["publishers"], question["messages"], question["qos"]
        publishers, copies = self._users[:count], question["subscribers"]
        self._received = self._acknowledged = sent = 0
        started = time.perf_counter()
        for _ in range(0, messages, CHUNK):
            for number, user in enumerate(publishers):
                for _ in range(CHUNK):
                    user.client.publish(f"bench/{number}", PAYLOAD, qos)
            sent += CHUNK * count
            gevent.sleep(0)
            while sent * copies - self._received > LAG:
                gevent.sleep(0.0005)
        while self._received < sent * copies or self._acknowledged < sent:
            gevent.sleep(0.001)
        return {"messages": sent * (1 + copies), "seconds": time.perf_counter() - started}


def main() -> None:
    """Answer until standard input ends."""
    generator = Generator()
    while line := gevent.get_hub().threadpool.spawn(sys.stdin.readline).get():
        question = json.loads(line)
        print(json.dumps(getattr(generator, question.pop("what"))(question)), flush=True)


if __name__ == "__main__":
    main()
