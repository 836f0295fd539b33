# SPDX-License-Identifier: GPL-3.0-or-later
"""Locust with its own MQTT user in one process, asked through standard input (child.py): connect, subscribe, publish.

Users publish as those of a locustfile do, a message a task and without a pause between two. The time that each message
was on its way goes into Locust's statistics, by the event that Locust has for that: its user does so with what is
published, what is received is left to whoever uses it. ``selectors`` as an argument: the way to
wait that Locust offers for more than 340 connections of a process, where select() ends; it is slower.
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
from gevent.event import Event  # noqa: E402
from gevent.pool import Group  # noqa: E402
from locust import constant  # noqa: E402
from locust.contrib.mqtt import MqttUser  # noqa: E402
from locust.env import Environment  # noqa: E402
from locust.exception import StopUser  # noqa: E402

PAD = b"x" * 48
LAG = 4000  # copies that may be on their way
SELECTORS = "selectors" in sys.argv[1:]


class Generator:
    """Users, and what those of them have got which subscribe."""

    def __init__(self) -> None:
        self._environment = Environment()
        self._runner = self._environment.create_local_runner()  # which keeps the statistics
        self._users: list[MqttUser] = []
        self._topics: dict[MqttUser, str] = {}
        self._left: dict[MqttUser, int] = {}  # messages that a user is still to publish
        self._received = self._sent = self._copies = self._qos = 0
        self._awaited = sys.maxsize  # of the received ones
        self._enough = Event()

    def ready(self, _question: dict[str, Any]) -> dict[str, Any]:
        """All is loaded."""
        return {}

    def connect(self, question: dict[str, Any]) -> dict[str, Any]:
        """Connect devices, so many at a time."""
        started = time.perf_counter()
        for name in question["names"]:
            self._users.append(self._user(question, name))
            while len(self._users) - self._connected() >= question["parallel"]:
                gevent.sleep(0.005)
        while self._connected() < len(self._users):
            gevent.sleep(0.005)
        return {"seconds": time.perf_counter() - started}

    def _user(self, question: dict[str, Any], name: str) -> MqttUser:
        files = Path(question["devices"]) / name
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(question["root"])
        context.load_cert_chain(f"{files}.cert.pem", f"{files}.key.pem")
        own = {"client_id": name, "tls_context": context, "use_loop_selectors": SELECTORS}
        own |= {"host": question["host"], "port": question["port"], "tasks": [self._publish], "wait_time": constant(0)}
        kind = type("Device", (MqttUser,), own)
        user: MqttUser = kind(self._environment)
        user.client.on_message = self._hear
        return user

    def _connected(self) -> int:
        return sum(user.client.is_connected() for user in self._users)

    def _hear(self, _client: Any, _userdata: Any, message: Any) -> None:
        self._environment.events.request.fire(
            request_type="MQTT",
            name="receive",
            response_time=(time.monotonic_ns() - int(message.payload[:16])) / 1e6,
            response_length=len(message.payload),
            exception=None,
            context={},
        )
        self._received += 1
        if self._received == self._awaited:
            self._enough.set()

    def _publish(self, user: MqttUser) -> None:
        if not self._left[user]:
            raise StopUser
        self._left[user] -= 1
        user.client.publish(self._topics[user], b"%016d%s" % (time.monotonic_ns(), PAD), self._qos)
        self._sent += 1
        self._until_received(self._sent * self._copies - LAG)

    def _until_received(self, count: int) -> None:
        if self._received < count:  # without looking again and again, which would cost processor time
            self._awaited = count
            self._enough.clear()
            self._enough.wait()

    def subscribe(self, question: dict[str, Any]) -> dict[str, Any]:
        """Let the last ones listen to all topics of the benchmark."""
        for user in self._users[-question["count"] :]:
            user.client.subscribe("bench/+", 1)
        gevent.sleep(0.5)
        return {}

    def publish(self, question: dict[str, Any]) -> dict[str, Any]:
        """Publish as fast as the subscribers get it."""
        publishers = self._users[: question["publishers"]]
        self._qos, self._copies = question["qos"], question["subscribers"]
        self._topics = {user: f"bench/{number}" for number, user in enumerate(publishers)}
        self._left = dict.fromkeys(publishers, question["messages"])
        sent, copies, total = question["messages"] * len(publishers), self._copies, self._runner.stats.total
        self._received, self._sent, before = 0, 0, total.num_requests
        running = Group()
        started = time.perf_counter()
        for user in publishers:
            user.start(running)
        running.join()
        self._until_received(sent * copies)
        while total.num_requests - before < sent * (1 + copies):
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
