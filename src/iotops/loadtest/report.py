# SPDX-License-Identifier: GPL-3.0-or-later
"""A result as files: ``report.json`` has all of it, ``report.csv`` a line an interval, ``report.html`` is to read."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any

from iotops.loadtest.charts import charts
from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.measures import KINDS, percentiles
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import COUNTS, Result

_PAGE = Path(__file__).with_name("page.html")
_LISTED = 20  # senders whose messages were lost
_MEANING = {
    "connect": "first SYN to CONNACK",
    "accepted": "first attempt until a message was acknowledged",
    "publish": "due to PUBACK",
    "publish_raw": "sent to PUBACK",
    "end_to_end": "due to the subscriber, where both are on one host",
    "end_to_end_raw": "sent to the subscriber",
    "round_trip": "command due to its answer",
    "round_trip_raw": "command sent to its answer",
    "recovered": "session lost to the next one that works",
    "late": "how late a message left that the network was ready for",
}


def write(directory: Path, plan: Plan, result: Result) -> None:
    """Write the three files; each is there whole or as it was before.

    Raises:
        LoadTestError: they cannot be written.

    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        content = {"plan": plan.to_json(), "summary": summary(plan, result), "result": result.to_json()}
        _write(directory / "report.json", json.dumps(content, indent=1))
        _write(directory / "report.csv", as_csv(result))
        _write(directory / "report.html", as_html(plan, result))
    except OSError as error:
        raise LoadTestError(f"--report={directory}: {error.strerror}: choose another directory") from error


def read(path: Path) -> tuple[Plan, Result]:
    """The plan and the result in a ``report.json``, or in the directory of one.

    Raises:
        LoadTestError: there is none.

    """
    path = path / "report.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text())
        return Plan.from_json(content["plan"]), Result.from_json(content["result"])
    except OSError as error:
        raise LoadTestError(f"{path}: {error.strerror}: give the directory of a report") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LoadTestError(f"{path} is no report of a load test: give a report.json") from error


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def summary(plan: Plan, result: Result) -> dict[str, Any]:
    """The figures that people look for, in plain values; latencies in milliseconds."""
    measured = result.receivers > 0
    return {
        "scenario": plan.scenario,
        "publishers": plan.publishers,
        "subscribers": plan.subscribers,
        "seconds": round(result.seconds, 3),
        "started": datetime.fromtimestamp(result.started, UTC).isoformat(timespec="seconds")
        if result.started
        else None,
        "due": result.counts["due"],
        "sent": result.counts["sent"],
        "unsent": result.unsent,
        "expected": result.expected if measured else None,
        "received": result.received if measured else None,
        "lost": result.lost if measured else None,
        "lost_percent": _percent(result.lost, result.expected) if measured else None,
        "duplicates": result.counts["duplicates"] if measured else None,
        "duplicates_percent": _percent(result.counts["duplicates"], result.expected) if measured else None,
        "reordered": result.counts["reordered"] if measured else None,
        "forwarded": result.counts["forwarded"],
        "acked": result.counts["acked"] if plan.qos or plan.connects_at_start else None,
        "sustained": sustained(result),
        "drain": plan.drain,
        "latencies": {kind: _milliseconds(histogram) for kind, histogram in result.latencies.items()},
        "generator_is_the_limit": result.limits,
        "notes": result.notes,
        "lost_by": dict(list(result.lost_by.items())[:_LISTED]) if measured else {},
    }


def sustained(result: Result) -> float | None:
    """The part of what was wanted that came about: messages got of those that were due; sent, where nobody listens."""
    due = result.counts["due"]
    if not due:
        return None
    return result.received / (result.receivers * due) if result.receivers else result.counts["sent"] / due


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 4) if whole else None


def _milliseconds(histogram: Any) -> dict[str, float]:
    return {name: round(value / 1000, 3) for name, value in percentiles(histogram)} | {
        "count": histogram.get_total_count()
    }


def as_csv(result: Result) -> str:
    """A line an interval: seconds since the start, what was counted in it, and latencies in milliseconds."""
    kinds = [kind for kind in KINDS if kind in result.latencies]
    shown = [(kind, name) for kind in kinds for name in ("p50", "p90", "p99", "p99.9", "max")]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["at", *COUNTS, "connected", "cpu", "lag", *(f"{kind}_{name}_ms" for kind, name in shown)])
    for each in result.intervals:
        latencies = {kind: _milliseconds(histogram) for kind, histogram in each.latencies.items()}
        values = [latencies.get(kind, {}).get(name, "") for kind, name in shown]
        counts = [each.counts[name] for name in COUNTS]
        lines.writerow([each.at, *counts, each.connected, max(each.cpu, default=0), each.lag, *values])
    return text.getvalue()


def headline(plan: Plan, result: Result) -> list[str]:
    """What was asked, what was reached, and whether the generator was the limit: lines for a person."""
    found = summary(plan, result)
    asked = f"{plan.scenario}: {plan.publishers:,} publishers, {plan.subscribers:,} subscribers"
    if not plan.connects_at_start:
        asked += f", {plan.rate:g} messages a second each, for {plan.duration:g} s with QoS {plan.qos}"
    lines = [asked]
    if plan.connects_at_start:
        lines.append(f"{result.counts['acked']:,} of {plan.publishers:,} devices are in, within {result.seconds:.1f} s")
    elif found["sustained"] is not None:
        lines.append(f"{found['sustained']:.2%} sustained over {result.seconds:.1f} s")
    if found["expected"]:
        lines.append(
            f"{found['received']:,} of {found['expected']:,} received, "
            f"{found['lost']:,} lost ({found['lost_percent']:g} %), "
            f"{found['duplicates']:,} duplicates ({found['duplicates_percent']:g} %), "
            f"{found['reordered']:,} out of order"
        )
    elif not plan.connects_at_start:
        lines.append("loss is not measured: nobody listened (--subscribers)")
    if result.unsent > 0:
        lines.append(f"{result.unsent:,} messages were due and could not be sent")
    for kind in ("end_to_end", "publish", "round_trip", "accepted", "recovered"):
        if kind in found["latencies"]:
            values = found["latencies"][kind]
            told = ", ".join(f"{name} {values[name]:g}" for name in ("p50", "p90", "p99", "p99.9", "max"))
            lines.append(f"{kind.replace('_', ' ')}: {told} ms")
    return [*lines, *_generator(result), *result.notes]


def _generator(result: Result) -> list[str]:
    if result.limits:
        return [f"The generator may be the limit: {each}" for each in result.limits]
    busiest = max((cpu for each in result.intervals for cpu in each.cpu), default=None)
    if busiest is None or not all(each["ended"] for each in result.processes):
        return ["not measured: whether the generator was the limit"]
    return [f"the generator was not the limit: its busiest process used {busiest:.0%} of a core at most"]


def as_html(plan: Plan, result: Result) -> str:
    """One page that needs nothing else."""
    found = summary(plan, result)
    head, *lines = headline(plan, result)
    latencies = [
        [kind.replace("_", " "), _MEANING[kind], *(f"{value:,g}" for value in found["latencies"][kind].values())]
        for kind in KINDS
        if kind in found["latencies"]
    ]
    counts = [[name.replace("_", " "), meaning, f"{result.counts[name]:,}"] for name, meaning in COUNTS.items()]
    processes = [
        [
            each.get("host", "?"),
            str(each["share"]),
            str(each.get("devices", "?")),
            f"{each['memory'] / 2**20:.0f} MiB" if "memory" in each else "?",
            "yes" if each["ended"] else "no",
        ]
        for each in result.processes
    ]
    drawn = [
        f"<figure><figcaption>{html.escape(name)}</figcaption>{_wide(name, svg)}</figure>"
        for name, svg in charts(result).items()
    ]
    return Template(_PAGE.read_text()).substitute(
        title=html.escape(head),
        lines="".join(f"<li>{html.escape(line)}</li>" for line in lines),
        latencies=_table(["latency", "from and to", "p50", "p90", "p99", "p99.9", "max", "number"], latencies),
        charts="".join(drawn),
        counts=_table(["count", "of what", "number"], counts),
        lost=_table(["sender", "lost"], [[name, f"{count:,}"] for name, count in found["lost_by"].items()]),
        processes=_table(["host", "share", "devices", "memory", "ended well"], processes),
        targets=html.escape(", ".join(map(str, plan.targets))),
        started=html.escape(str(found["started"])),
        drain=f"{plan.drain:g}",
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    if not lines:
        return "<p>None.</p>"
    head = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in heads)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return _wide(", ".join(heads), f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _wide(name: str, content: str) -> str:
    """What is wider than a small screen, and can be scrolled without a mouse."""
    return f'<div class="wide" role="region" aria-label="{html.escape(name)}" tabindex="0">{content}</div>'
