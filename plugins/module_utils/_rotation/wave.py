# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wave of a campaign is watched until each of its devices has rotated or failed. Private to the collection.

What a device claims is not believed: it has rotated when its row says that it was seen with the new certificate.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rotation
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import existing
from ansible_collections.iotops.fleet.plugins.module_utils._rotation import jobs
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.desk import Desk
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.issuing import Issuing
from ansible_collections.iotops.fleet.plugins.module_utils.aws import poll

ROTATED, FAILED, WAITING, CANCELLED = "rotated", "failed", "waiting", "cancelled"
# Seconds between two lines of progress.
EVERY = 10


@dataclass
class Outcome:
    """What is known of a device; ``outcome`` is empty while it is under way. ``statuses`` of its job by region."""

    thing_name: str
    job_id: str
    outcome: str = ""
    reason: str = ""
    row: Row = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)

    @property
    def certificate_id(self) -> str:
        """The certificate that the device works with."""
        return str(self.row.get("CertificateId", ""))

    @property
    def not_after(self) -> str:
        """Until when (RFC 3339)."""
        return str(self.row.get("NotAfter", ""))

    @property
    def awaited(self) -> list[str]:
        """PEM of the certificates that it was given for this job."""
        certificates = self.row.get("Certificates", {}).values()
        return [entry["Pem"] for entry in certificates if entry.get("JobId") == self.job_id]

    def end(self, outcome: str, reason: str = "") -> None:
        """Settle it."""
        self.outcome, self.reason = outcome, reason


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a campaign stops: at the first failure of a canary wave, else beyond a percentage of the devices that ended.

    The percentage counts from ``minimum`` ended devices on, and at a wave's end in any case. ``rotated`` and
    ``failed`` are those of the waves before.
    """

    canary: bool
    percentage: int
    minimum: int
    rotated: int = 0
    failed: int = 0

    def broken(self, rotated: int, failed: int, *, over: bool) -> str:
        """Why the campaign has to stop; "" when it may go on. ``over``: the wave has ended."""
        if self.canary:
            if failed:
                return f"{failed} of the canary devices failed"
            return "no canary device has rotated: name others by fleet_canary_devices" if over and not rotated else ""
        ended, lost = self.rotated + self.failed + rotated + failed, self.failed + failed
        if (over or ended >= self.minimum) and lost * 100 > self.percentage * ended:
            return f"{lost} of {ended} devices failed, more than {self.percentage} %"
        return ""


@dataclass
class Wave:
    """Devices and their jobs, in the regions of the desks; ``issuing`` signs what they ask for meanwhile.

    ``late``: ids of jobs that are older than a wave may take; of those only devices that have begun are waited for.
    """

    desks: list[Desk]
    replica: Replica
    devices: Mapping[str, str]  # name -> id of its job
    limits: Limits
    report: Callable[[str], None]
    issuing: Issuing | None = None
    late: frozenset[str] = frozenset()
    pause: float = 5.0
    stopped: str = ""
    outcomes: list[Outcome] = field(init=False)
    _began: float = field(default_factory=time.monotonic)
    _reported: float = -math.inf

    def __post_init__(self) -> None:
        self.outcomes = [Outcome(name, job_id) for name, job_id in self.devices.items()]

    def watch(self, seconds: float) -> list[Outcome]:
        """Look until all have ended, the campaign has to stop, or the time is over; what became of each device."""
        deadline = self._began + seconds
        poll(
            self._look,
            lambda left: not left or bool(self.stopped) or time.monotonic() > deadline,
            timeout=math.inf,
            describe="devices",
            delay=self.pause,
            max_delay=self.pause,
        )
        if not self.stopped:
            for outcome in self._left():
                _give_up(outcome, seconds)
            self.stopped = self.limits.broken(**self._counts(), over=True)
        if self.stopped:
            for outcome in self.outcomes:
                if outcome.outcome in ("", WAITING):
                    outcome.end(CANCELLED, "the campaign was stopped before it was done")
        else:
            self._tidy()
        self._report(last=True)
        return self.outcomes

    def _left(self) -> list[Outcome]:
        return [each for each in self.outcomes if not each.outcome]

    def _look(self) -> list[Outcome]:
        """Answer requests, and look again at those that have not ended; who is worth waiting for."""
        self._answer()
        self._read_rows(self._left())
        self._read_executions(self._left())
        for outcome in self._left():
            self._judge(outcome)
        self.stopped = self.limits.broken(**self._counts(), over=False)
        self._report()
        return [each for each in self._left() if each.job_id not in self.late or _begun(each)]

    def _answer(self) -> None:
        """Sign what devices ask for, in all regions at once."""
        if issuing := self.issuing:
            self._in_each_region(lambda desk: desk.answer(desk.requests(), issuing, check_mode=False))

    def _read_rows(self, outcomes: list[Outcome]) -> None:
        names = [each.thing_name for each in outcomes]
        found = existing(self.replica.client, self.replica.inventory, "ThingName", names) if names else []
        rows = {row["ThingName"]: row for row in found}
        for each in outcomes:
            each.row = rows.get(each.thing_name, {})

    def _read_executions(self, outcomes: list[Outcome]) -> None:
        job_ids = sorted({each.job_id for each in outcomes})

        def read(desk: Desk) -> dict[str, dict[str, str]]:
            return {job_id: found for job_id in job_ids if (found := jobs.executions(desk.iot, job_id)) is not None}

        for desk, found in zip(self.desks, self._in_each_region(read), strict=True):
            for each in outcomes:
                each.statuses.pop(desk.region, None)
                if each.job_id in found:
                    each.statuses[desk.region] = found[each.job_id].get(each.thing_name, "QUEUED")

    def _in_each_region(self, function: Callable[[Desk], Any]) -> list[Any]:
        with ThreadPoolExecutor(len(self.desks)) as pool:
            return list(pool.map(function, self.desks))

    def _judge(self, outcome: Outcome) -> None:
        row = outcome.row
        current = row.get("Certificates", {}).get(row.get("CertificateId"), {})
        if current.get("JobId") == outcome.job_id and not rotation.is_awaited(current):
            outcome.end(ROTATED)
        elif row.get("State") != "ACTIVE":
            outcome.end(FAILED, f"the device is {row.get('State', 'gone')}")
        elif failed := _region_of(outcome, jobs.FAILED):
            outcome.end(FAILED, self._reason(outcome, failed))
        elif outcome.statuses and set(outcome.statuses.values()) <= {"CANCELED", "REMOVED"}:
            outcome.end(FAILED, f"its job was cancelled in {', '.join(sorted(outcome.statuses))}")

    def _reason(self, outcome: Outcome, region: str) -> str:
        iot = next(desk.iot for desk in self.desks if desk.region == region)
        said = jobs.reason_of(iot, outcome.job_id, outcome.thing_name)
        status = outcome.statuses[region]
        return f"{said} ({status} in {region})" if said else f"{status} in {region}, {_progress_of(outcome)}"

    def _counts(self) -> dict[str, int]:
        counts = Counter(each.outcome for each in self.outcomes)
        return {"rotated": counts[ROTATED], "failed": counts[FAILED]}

    def _report(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._reported < EVERY:
            return
        self._reported = now
        counts, total = self._counts(), len(self.outcomes)
        begun = sum(1 for each in self._left() if _begun(each))
        rate = counts["rotated"] / max(now - self._began, 1e-3)
        left = f", {len(self._left()) / rate:.0f} s left" if rate and not last else ""
        self.report(
            f"{', '.join(sorted(set(self.devices.values())))}: {counts['rotated']} of {total} devices rotated, "
            f"{counts['failed']} failed, {begun} at work; {rate:.1f} a second{left}"
        )

    def _tidy(self) -> None:
        """Cancel the executions that wait elsewhere for a device that has ended."""

        def tidy(desk: Desk) -> None:
            for each in self.outcomes:
                if (force := _superfluous(each, desk.region)) is not None:
                    jobs.cancel_execution(desk.iot, each.job_id, each.thing_name, force=force)

        self._in_each_region(tidy)


def _give_up(outcome: Outcome, seconds: float) -> None:
    """Name a device that has not ended when the wave has."""
    if not outcome.statuses:
        outcome.end(WAITING, "no region of the run has made it yet")
    elif not _begun(outcome):
        outcome.end(WAITING, f"has not taken its job, which stays for it in {', '.join(sorted(outcome.statuses))}")
    else:
        outcome.end(FAILED, f"not finished after {seconds:g} s: {_progress_of(outcome)}")


def _begun(outcome: Outcome) -> bool:
    return not set(outcome.statuses.values()) <= {"QUEUED", "CANCELED", "REMOVED"}


def _region_of(outcome: Outcome, statuses: Iterable[str]) -> str:
    return next((region for region, status in sorted(outcome.statuses.items()) if status in statuses), "")


def _superfluous(outcome: Outcome, region: str) -> bool | None:
    """Whether the execution of a device that has ended there has to be forced to end; None when it may stay.

    One that has begun may be the one that the device is about to report on, unless it has reported elsewhere.
    """
    status = outcome.statuses.get(region)
    reported = _region_of(outcome, ("SUCCEEDED", *jobs.FAILED))
    if status not in jobs.UNDER_WAY or not (outcome.outcome == ROTATED or reported):
        return None
    if status == "QUEUED":
        return False
    return True if reported else None


def _progress_of(outcome: Outcome) -> str:
    """How far the device came, by its row and its job."""
    if region := _region_of(outcome, ("SUCCEEDED",)):
        return f"it reported success in {region}, and was not seen with a new certificate"
    if outcome.awaited:
        return "it was given a certificate, and was not seen with it"
    return "it was not given a certificate"


__all__ = ["CANCELLED", "FAILED", "ROTATED", "WAITING", "Limits", "Outcome", "Wave"]
