# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test is to do: all of it in one value, which every process gets and takes its share of."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.target import Target

SCENARIOS = ("fan-out", "telemetry", "command", "first-connection", "reconnect", "soak")
MAX_PAYLOAD = 128 * 1024  # https://docs.aws.amazon.com/general/latest/gr/iot-core.html
_INTERVALS = 1800  # at most so many are kept, whatever the duration


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run of one scenario.

    ``targets``: brokers, the first one until it is lost. ``names``: the devices, publishers first. ``identities``:
    where their certificates are on each host, none for a broker that asks for none. ``publishers`` and ``subscribers``:
    how many devices publish, and how many listen to them (who sends the commands, in ``command``). ``rate``: messages a
    second of each publisher, commands a second to each device. ``duration``, ``drain``: seconds of publishing, and of
    waiting for what is still under way. ``ramp``: connects a second over all processes. ``payload_size``: least octets
    of a message. ``topic``: template with ``{prefix}`` and ``{name}``. ``lose_after``: seconds until the first target
    counts as lost, 0 for never. ``patience``: longest pause in seconds between two attempts of a device.
    """

    scenario: str
    targets: tuple[Target, ...]
    names: tuple[str, ...]
    identities: str = ""
    keys: str = ""
    publishers: int = 1
    subscribers: int = 0
    rate: float = 1.0
    duration: float = 60.0
    drain: float = 2.0
    ramp: float = 100.0
    qos: int = 0
    payload_size: int = 0
    version: int = 4
    persistent: bool = False
    keep_alive: int = 60
    prefix: str = "loadtest"
    topic: str = "{prefix}/{name}"
    lose_after: float = 0.0
    patience: float = 30.0

    @property
    def interval(self) -> float:
        """Seconds between two lines of a report."""
        return float(max(1, math.ceil(self.duration / _INTERVALS)))

    @property
    def connects_at_start(self) -> bool:
        """Whether connecting is what is measured, so that nobody is connected before."""
        return self.scenario == "first-connection"

    def share(self, index: int, of: int) -> Share:
        """The devices of one of ``of`` processes: each has publishers and subscribers in proportion."""
        publishers, subscribers = self.names[: self.publishers], self.names[self.publishers :]
        return Share(index, of, publishers[index::of], subscribers[index::of])

    def topic_of(self, name: str) -> str:
        """The topic that a device publishes to; of ``+`` the filter of all of them."""
        return self.topic.format(prefix=self.prefix, name=name)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads; there is nothing secret in it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Plan:
        """The plan of :meth:`to_json`."""
        targets = tuple(
            Target(**{**each, "addresses": tuple(each["addresses"]), "alpn": tuple(each["alpn"])})
            for each in content["targets"]
        )
        return cls(**{**content, "targets": targets, "names": tuple(content["names"])})

    def require_sound(self) -> None:
        """Refuse what cannot be run.

        Raises:
            LoadTestError: an option, its value and the remedy.

        """
        for problem in (*self._numbers(), *self._fleet(), *self._topics()):
            raise LoadTestError(problem)

    def _numbers(self) -> list[str]:
        least = {"publishers": 1, "subscribers": 0, "rate": 0.001, "duration": 0.1, "drain": 0, "ramp": 0.1}
        least |= {"payload_size": 0, "keep_alive": 0, "lose_after": 0, "patience": 1}
        problems = [
            f"{_option(name)}={getattr(self, name):g}: give a number of {low:g} or more"
            for name, low in least.items()
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= low)
        ]
        if self.qos not in (0, 1):
            problems.append(f"--qos={self.qos}: AWS IoT has 0 and 1")
        if self.version not in (4, 5):
            problems.append(f"--mqtt={self.version}: give 3.1.1 or 5")
        if self.payload_size > MAX_PAYLOAD:
            problems.append(f"--payload-size={self.payload_size}: AWS IoT takes {MAX_PAYLOAD} octets at most")
        return problems

    def _fleet(self) -> list[str]:
        problems = []
        if self.scenario not in SCENARIOS:
            problems.append(f"scenario {self.scenario}: give one of {', '.join(SCENARIOS)}")
        wanted = self.publishers + self.subscribers
        if len(self.names) != wanted:
            problems.append(f"there are {len(self.names)} devices for {wanted} publishers and subscribers: make more")
        if self.scenario in ("fan-out", "command") and not self.subscribers:
            problems.append(f"--subscribers=0: {self.scenario} needs one at least")
        if self.connects_at_start and self.subscribers:
            problems.append(f"--subscribers={self.subscribers}: nobody listens in {self.scenario}: give 0")
        if self.scenario == "reconnect" and len(self.targets) < 2:
            problems.append("--target was given once: reconnect needs the broker that is lost and the one to go to")
        if self.lose_after and self.lose_after >= self.duration:
            problems.append(f"--lose-after={self.lose_after:g}: give less than --duration={self.duration:g}")
        return problems

    def _topics(self) -> list[str]:
        try:
            topic = self.topic_of("name")
        except (KeyError, IndexError, ValueError):
            return [f"--topic={self.topic}: it may have {{prefix}} and {{name}}, and no other braces"]
        if "+" in topic or "#" in topic or not topic:
            return [f"--topic={self.topic}: give a topic, without + and #"]
        if "{name}" not in self.topic:
            return [f"--topic={self.topic}: it has to have {{name}}, or a subscriber could not listen to all devices"]
        return []


@dataclass(frozen=True)
class Share:
    """What one process carries: share ``index`` of ``of``."""

    index: int
    of: int
    publishers: tuple[str, ...]
    subscribers: tuple[str, ...]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


FIELDS = tuple(each.name for each in fields(Plan))
