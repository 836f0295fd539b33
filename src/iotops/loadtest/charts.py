# SPDX-License-Identifier: GPL-3.0-or-later
"""The charts of a report, as SVG without script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pygal
from pygal.style import CleanStyle

from iotops.loadtest.result import Interval, Result

_COLOURS = ("#1f5fbf", "#b3400f", "#0b6b4f", "#7a3aa8", "#6b5a00")
_LABELS = 8  # on the axis of time


def charts(result: Result) -> dict[str, str]:
    """SVG by title."""
    lines = result.intervals
    if len(lines) < 2:
        return {}
    drawn = {
        "Messages a second": _chart(
            lines, {name: _rate(lines, name) for name in _seen(lines, "sent", "received", "acked")}
        ),
        "Sessions": _chart(lines, {"connected": [each.connected for each in lines]}),
        "CPU of the busiest process, part of a core": _chart(
            lines, {"CPU": [max(each.cpu, default=0) for each in lines]}
        ),
    }
    for kind in _kinds(lines):
        series = {f"p{percent:g}": [_percentile(each, kind, percent) for each in lines] for percent in (50, 99)}
        drawn[f"{kind.replace('_', ' ')}, milliseconds"] = _chart(lines, series)
    return drawn


def _seen(lines: Sequence[Interval], *names: str) -> list[str]:
    return [name for name in names if any(each.counts[name] for each in lines)]


def _kinds(lines: Sequence[Interval]) -> list[str]:
    shown = ("end_to_end", "publish", "round_trip", "accepted", "recovered", "connect")
    return [kind for kind in shown if sum(kind in each.latencies for each in lines) > 1]


def _rate(lines: Sequence[Interval], name: str) -> list[float | None]:
    begins = [0.0, *(each.at for each in lines[:-1])]
    return [
        each.counts[name] / (each.at - begin) if each.at - begin > 0.1 else None  # the last one may be a moment
        for each, begin in zip(lines, begins, strict=True)
    ]


def _percentile(interval: Interval, kind: str, percent: float) -> float | None:
    histogram = interval.latencies.get(kind)
    return histogram.get_value_at_percentile(percent) / 1000 if histogram is not None else None


def _chart(lines: Sequence[Interval], series: Mapping[str, Sequence[float | None]]) -> str:
    chart = pygal.Line(
        width=800,
        height=280,
        js=(),
        show_dots=len(lines) < 60,
        dots_size=2,
        include_x_axis=True,
        legend_at_bottom=True,
        show_legend=len(series) > 1,
        x_title="seconds",
        disable_xml_declaration=True,
        style=CleanStyle(font_family="sans-serif", colors=_COLOURS, background="#ffffff", foreground="#222222"),
        x_labels=[f"{each.at:.0f}" for each in lines],
        x_labels_major_count=_LABELS,
        show_minor_x_labels=False,
    )
    for name, values in series.items():
        chart.add(name, list(values))
    text: str = chart.render(is_unicode=True)
    return text
