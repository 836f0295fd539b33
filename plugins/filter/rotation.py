# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The waves of a campaign in which devices rotate their certificates, before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import Any

# The answers of fleet_rotation_job_info by region.
Answers = Mapping[str, Mapping[str, Any]]
Wave = dict[str, Any]

UNDER_WAY = ("QUEUED", "IN_PROGRESS")
# How outcomes are listed, and which of them make a campaign fail.
ORDER = ("failed", "cancelled", "waiting", "rotated")
FAILING = {"waiting": ("failed", "cancelled", "waiting"), "failed": ("failed", "cancelled"), "none": ()}
# So many devices are named in the one line that says why a campaign failed.
NAMED = 20
# Seconds that a wave takes in any case, and registrations of certificates that AWS IoT takes a second in each region
# (https://docs.aws.amazon.com/general/latest/gr/iot-core.html).
SECONDS_OF_A_WAVE = 30
REGISTRATIONS_A_SECOND = 10
SHORT_ID = 12


def rotation_open(answers: Answers) -> list[Wave]:
    """Return the jobs in progress, of each the devices that have not ended everywhere.

    ``job_id``; ``canary``; ``age`` in seconds; ``devices``, names; ``missing_in``, regions that have no such job.
    """
    found: dict[str, Wave] = {}
    statuses: dict[str, dict[str, set[str]]] = {}
    for answer in answers.values():
        for job in answer["jobs"]:
            known = found.setdefault(job["job_id"], {"job_id": job["job_id"], "canary": False, "age": 0})
            known["canary"] = known["canary"] or job["canary"]
            known["age"] = max(known["age"], job["age"])
            for name, status in job["devices"].items():
                statuses.setdefault(job["job_id"], {}).setdefault(name, set()).add(status)
    for job_id, job in found.items():
        job["devices"] = [name for name, seen in statuses[job_id].items() if not seen.isdisjoint(UNDER_WAY)]
        job["missing_in"] = [region for region, answer in answers.items() if job_id not in answer["known"]]
    return sorted((job for job in found.values() if job["devices"]), key=lambda job: _number(job["job_id"]))


def rotation_waves(answers: Answers, candidates: Mapping[str, Any], application: str, seconds: int) -> list[Wave]:
    """Return the waves of a campaign: first the jobs that are in progress, together, then those that are to be made.

    ``candidates``: of fleet_rotation_candidates_info. ``seconds``: of a job that is older only those devices are waited
    for that have begun.

    ``title``; ``canary``; ``jobs``, names of devices by job id; ``make``, by job id the regions that have to make it;
    ``late``, ids of jobs.
    """
    open_jobs = rotation_open(answers)
    last = max(candidates["last"], *(answer["last"] for answer in answers.values()))
    waves = []
    if open_jobs:
        waves.append(
            {
                "title": "taken up",
                "canary": any(job["canary"] for job in open_jobs),
                "jobs": {job["job_id"]: job["devices"] for job in open_jobs},
                "make": {job["job_id"]: job["missing_in"] for job in open_jobs},
                "late": [job["job_id"] for job in open_jobs if job["age"] > int(seconds)],
            }
        )
    for number, wave in enumerate(candidates["waves"], start=last + 1):
        job_id = f"{application}-rotate-{number}"
        waves.append(
            {
                "title": "canary" if wave["canary"] else "wave",
                "canary": wave["canary"],
                "jobs": {job_id: [device["thing_name"] for device in wave["devices"]]},
                "make": {job_id: list(answers)},
                "late": [],
            }
        )
    return waves


def rotation_plan_rows(waves: Iterable[Wave], candidates: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each device: the wave, its job, and the certificate that it uses now."""
    used = {device["thing_name"]: device for wave in candidates["waves"] for device in wave["devices"]}
    return [
        {
            "wave": wave["title"],
            "job": job_id,
            "device": name,
            "certificate": used.get(name, {}).get("certificate_id", "")[:SHORT_ID] or None,
            "until": used.get(name, {}).get("not_after"),
        }
        for wave in waves
        for job_id, names in wave["jobs"].items()
        for name in names
    ]


def rotation_estimate(waves: Sequence[Wave], per_minute: int, seconds: int) -> str:
    """Return how long the waves take: when all devices are there, and at most."""
    sizes = [sum(len(names) for names in wave["jobs"].values()) for wave in waves]
    least = sum(
        SECONDS_OF_A_WAVE + max((ceil(size / int(per_minute)) - 1) * 60, size // REGISTRATIONS_A_SECOND)
        for size in sizes
    )
    count = "1 wave" if len(sizes) == 1 else f"{len(sizes)} waves"
    most = len(sizes) * int(seconds)
    return f"{sum(sizes)} devices in {count}: about {_duration(least)} when all are there, at most {_duration(most)}"


def rotation_rows(outcomes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the outcomes of fleet_rotation_wave as rows, those that did not rotate first."""
    ordered = sorted(outcomes, key=lambda each: (ORDER.index(each["outcome"]), each["thing_name"]))
    return [
        {
            "device": each["thing_name"],
            "outcome": each["outcome"],
            "reason": each["reason"] or None,
            "certificate": each["certificate_id"][:SHORT_ID] or None,
            "until": each["not_after"] or None,
        }
        for each in ordered
    ]


def rotation_counts(outcomes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many devices there are of each outcome."""
    counts = Counter(each["outcome"] for each in outcomes)
    return {name: counts[name] for name in reversed(ORDER)}


def rotation_problem(outcomes: Sequence[Mapping[str, Any]], fail_on: str, stopped: str = "") -> str:
    """Return why the campaign failed in one line that names the devices; "" when it did not.

    ``fail_on``: ``waiting``, ``failed`` or ``none``. ``stopped``: why the campaign stopped.
    """
    failing = [row for row in rotation_rows(outcomes) if row["outcome"] in FAILING[fail_on]]
    if not failing and (not stopped or fail_on == "none"):
        return ""
    named = "; ".join(f"{row['device']} {row['outcome']}: {row['reason']}" for row in failing[:NAMED])
    more = f"; and {len(failing) - NAMED} more (see the table)" if len(failing) > NAMED else ""
    stop = f"The campaign was stopped: {stopped}. " if stopped else ""
    return f"{stop}{len(failing)} of {len(outcomes)} devices have not rotated: {named}{more}"


def _number(job_id: str) -> int:
    return int(job_id.rpartition("-")[2])


def _duration(seconds: int) -> str:
    minutes, hours = ceil(seconds / 60), seconds // 3600
    return f"{minutes} min" if minutes < 120 else f"{hours} h {(seconds % 3600) // 60} min"


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        filters = (
            rotation_open,
            rotation_waves,
            rotation_plan_rows,
            rotation_estimate,
            rotation_rows,
            rotation_counts,
            rotation_problem,
        )
        return {each.__name__: each for each in filters}
