# SPDX-License-Identifier: GPL-3.0-or-later
"""The charts of a report, as SVG without script; their colours are variables of the page, which is light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pygal
from pygal.style import CleanStyle

from iotops.loadtest.result import Interval, Result

_COLOURS = ("var(--first)", "var(--second)", "var(--third)")
_DASHES = ("", "8,4", "2,4")  # colours alone are not seen by everyone
_STYLE = CleanStyle(
    font_family="system-ui, sans-serif",
    colors=_COLOURS,
    value_colors=("var(--ink)",) * len(_COLOURS),
    background="transparent",
    plot_background="transparent",
    foreground="var(--ink)",
    foreground_strong="var(--ink)",
    foreground_subtle="var(--faint)",
    guide_stroke_color="var(--faint)",
    major_guide_stroke_color="var(--faint)",
    title_font_size=12,
    label_font_size=12,
    major_label_font_size=12,
    legend_font_size=12,
    opacity="1",
    stroke_opacity="1",
    stroke_width="2",
)


def charts(result: Result) -> dict[str, str]:
    """SVG by title."""
    lines = result.intervals
    if len(lines) < 2:
        return {}
    drawn: dict[str, Mapping[str, Sequence[float | None]]] = {
        "Messages a second": {name: _rate(lines, name) for name in _seen(lines, "sent", "received", "acked")},
        "Sessions": {"connected": [each.connected for each in lines]},
        "CPU of the busiest process, % of a core": {"CPU": [100 * max(each.cpu, default=0) for each in lines]},
    }
    for kind in _kinds(lines):
        drawn[f"{kind.replace('_', ' ')}, milliseconds".capitalize()] = {
            f"p{percent:g}": [_percentile(each, kind, percent) for each in lines] for percent in (50, 99)
        }
    times = [each.at for each in lines]
    return {title: _chart(title, times, series) for title, series in drawn.items()}


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


def _chart(title: str, times: Sequence[float], series: Mapping[str, Sequence[float | None]]) -> str:
    chart = pygal.XY(
        width=800,
        height=300,
        js=(),
        show_dots=len(times) < 60,
        dots_size=2.5,
        include_x_axis=True,
        max_scale=6,
        show_x_guides=False,
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        show_legend=len(series) > 1,
        x_title="seconds since the start",
        disable_xml_declaration=True,
        value_formatter=lambda value: f"{value:,.6g}",
        style=_STYLE,
    )
    for (name, values), dashes in zip(series.items(), _DASHES, strict=False):
        points = [(at, value) for at, value in zip(times, values, strict=True) if value is not None]
        chart.add(name, points, stroke_style={"width": 2, "dasharray": dashes} if dashes else {"width": 2})
    chart.add_xml_filter(lambda root: _still(root, title))
    text: str = chart.render(is_unicode=True)
    return text


def _still(root: Any, title: str) -> Any:
    """The picture without its script, and with a name for those who do not see it."""
    for parent in [*root.iter()]:
        for child in [each for each in parent if str(each.tag).endswith("script")]:
            parent.remove(child)
    root.set("role", "img")
    root.set("aria-label", title)
    for name in root.findall("title"):
        name.text = title
    return root
