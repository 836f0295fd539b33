# SPDX-License-Identifier: GPL-3.0-or-later
"""Fault rules: which calls go wrong, and how.

A rule is ``{"id"?, "region"?, "service"?, "operation"?, "state"?, "caller"?, "input"?, "effect", "error"?, "status"?,
"message"?, "delay"?, "times"?, "probability"?, "rate"?}``. ``region`` to ``input`` select (shell patterns; absent:
any); ``state`` is the state of the state machine that makes the call, ``input`` its execution's input. Effects:

- ``throttle``: the service's throttling error; ``error``: ``error`` with HTTP ``status`` (InternalFailure, 500)
- ``timeout``: no answer for ``delay`` seconds (120), then the connection is reset; ``refuse``: reset at once
- ``delay``: wait ``delay`` seconds, then go on; ``fail-after``: do the call, then answer as ``error`` does

``times`` is how often it strikes (absent: always), ``probability`` how likely it is each time (1). With ``rate``,
calls a second in each region, ``throttle`` strikes only what goes over it, a second's worth of which may come at once.
"""

from __future__ import annotations

import fnmatch
import itertools
import random
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from iotops.sandbox.errors import SandboxError

if TYPE_CHECKING:  # the CLI reads this module's help text, and botocore takes longer to import than the rest of it
    from iotops.sandbox.calls import Call

Effect = Literal["throttle", "error", "timeout", "delay", "refuse", "fail-after"]
EFFECTS: tuple[str, ...] = get_args(Effect)
_PLAIN = re.compile(r"[\w-]*")
# Attributes of a call, the costly ones last.
_SELECTORS = ("region", "service", "operation", "state", "caller", "input")


@dataclass
class Fault:
    """One rule; the module says what the fields mean."""

    effect: Effect
    id: str = ""
    region: str | None = None
    service: str | None = None
    operation: str | None = None
    state: str | None = None
    caller: str | None = None
    input: str | None = None
    error: str = "InternalFailure"
    status: int = 500
    message: str = "Injected by a fault rule of the sandbox"
    delay: float | None = None
    times: int | None = None
    probability: float = 1.0
    rate: float | None = None

    @classmethod
    def parse(cls, rule: dict[str, Any]) -> Fault:
        """A rule from JSON.

        Raises:
            SandboxError: an unknown key or effect, or a value that is not in range.

        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(rule) - known)
        if unknown:
            raise SandboxError(f"fault rule: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        if rule.get("effect") not in EFFECTS:
            raise SandboxError(f"fault rule: effect {rule.get('effect')!r} is not one of {', '.join(EFFECTS)}")
        if rule["effect"] == "delay" and not isinstance(rule.get("delay"), int | float):
            raise SandboxError("fault rule: effect delay needs delay, in seconds")
        if not 0 <= float(rule.get("probability", 1)) <= 1:
            raise SandboxError(f"fault rule: probability {rule['probability']} is not between 0 and 1")
        if "rate" in rule and (rule["effect"] != "throttle" or not _is_positive(rule["rate"])):
            raise SandboxError(f"fault rule: rate {rule['rate']!r} is calls a second, above 0, of effect throttle")
        return cls(**rule)

    def selects(self, call: Call) -> bool:
        """Whether the rule is about this call, chance and count apart."""
        return all(
            (pattern := getattr(self, name)) is None or _matches(pattern, getattr(call, name)) for name in _SELECTORS
        )


def _matches(pattern: str, value: str) -> bool:
    """As a shell pattern; most are none, and comparing is quicker."""
    return pattern == value or (not _PLAIN.fullmatch(pattern) and fnmatch.fnmatchcase(value, pattern))


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


class Bucket:
    """Tokens that come at a rate a second, up to ``most``."""

    def __init__(self, rate: float, most: float, now: float) -> None:
        self._rate, self._most, self._at = rate, most, now
        self._tokens = self._most

    def take(self, now: float) -> bool:
        """Whether there was a token."""
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Faults:
    """The rules in force, in the order they were added, and the regions that are cut off."""

    def __init__(self, seed: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules: list[Fault] = []
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._clock = clock
        self._numbers = itertools.count(1)
        self._random = random.Random(seed)  # noqa: S311  # chance of a fault, not a secret
        self.cut: set[str] = set()

    def add(self, rule: dict[str, Any]) -> Fault:
        """Put a rule in force; one with the same id is replaced."""
        fault = Fault.parse(rule)
        fault.id = fault.id or f"fault-{next(self._numbers)}"
        self.remove(fault.id)
        self._rules.append(fault)
        return fault

    def remove(self, rule_id: str | None = None) -> None:
        """Lift one rule, or all."""
        self._keep(lambda found: rule_id is not None and found != rule_id)

    def remove_all(self, prefix: str) -> None:
        """Lift the rules whose ids begin so."""
        self._keep(lambda found: not found.startswith(prefix))

    def _keep(self, wanted: Callable[[str], bool]) -> None:
        self._rules = [rule for rule in self._rules if wanted(rule.id)]
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if wanted(key[0])}

    def listing(self) -> list[dict[str, Any]]:
        """The rules as JSON, with ``times`` counted down."""
        return [asdict(rule) for rule in self._rules]

    def strike(self, call: Call) -> list[Fault]:
        """The rules that strike this call: every delay, then at most one other."""
        delays: list[Fault] = []
        for rule in self._rules:
            if rule.times == 0 or not rule.selects(call) or self._random.random() >= rule.probability:
                continue
            if rule.rate is not None and self._is_within(rule.id, rule.rate, call.region):
                continue
            if rule.times is not None:
                rule.times -= 1
            if rule.effect != "delay":
                return [*delays, rule]
            delays.append(rule)
        return delays

    def _is_within(self, rule_id: str, rate: float, region: str) -> bool:
        bucket = self._buckets.setdefault((rule_id, region), Bucket(rate, max(rate, 1.0), self._clock()))
        return bucket.take(self._clock())
