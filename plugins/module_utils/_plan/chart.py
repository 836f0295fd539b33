# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as a picture. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._plan.durations import DAY, HOUR, MINUTE, duration
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

try:
    import pygal
    from pygal.style import CleanStyle
except ImportError:  # the module that needs it tells the user
    pygal = None

WIDTH, HEIGHT = 1000, 480
# The scale is logarithmic.
TICKS = {
    0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", MINUTE: "1 min", 10 * MINUTE: "10 min",
    HOUR: "1 h", 10 * HOUR: "10 h", 4 * DAY: "4 days", 40 * DAY: "40 days", 400 * DAY: "400 days",
    4000 * DAY: "11 years", 40_000 * DAY: "110 years", 400_000 * DAY: "1,100 years",
}  # fmt: skip


def chart(plan: Mapping[str, Any]) -> bytes:
    """How long each work takes, as an SVG; the same plan gives the same octets."""
    works = list(reversed(plan["work"]))  # the first one is on top
    ticks = _ticks([each["seconds"] for each in works])
    bars = pygal.HorizontalBar(
        logarithmic=True,
        range=(ticks[0], ticks[-1]),
        zero=ticks[0],
        print_values=True,
        show_legend=False,
        truncate_label=-1,
        style=CleanStyle(font_family="sans-serif", colors=("#9ab8e0",), value_font_size=13, title_font_size=16),
        width=WIDTH,
        height=HEIGHT,
        margin_right=40,
        js=(),
        title=f"{plan['devices']:,} devices in {', '.join(plan['regions'])}: "
        f"USD {plan['onboarding']['usd']:,.0f} once, {plan['monthly']['usd']:,.0f} a month",
    )
    bars.uuid = "plan"
    bars.x_labels = [each["name"] for each in works]
    bars.y_labels = [{"value": tick, "label": TICKS[tick]} for tick in ticks]
    bars.add("takes", [_bar(each["seconds"], ticks[0]) for each in works])
    drawn: bytes = bars.render()
    return drawn


def save(path: Path, drawn: bytes, *, check_mode: bool) -> bool:
    """Write a chart, unless in check mode; whether there was another one, or none.

    Raises:
        FleetError: it cannot be written.

    """
    try:
        if path.exists() and path.read_bytes() == drawn:
            return False
        if not check_mode:
            path.write_bytes(drawn)
    except OSError as error:
        raise FleetError(f"chart_path={path}: {error.strerror}; name a file that can be written") from error
    return True


def _ticks(times: Sequence[float]) -> list[float]:
    """From one below the shortest to one above the longest."""
    below = [tick for tick in TICKS if tick < min(times)][-1:] or [min(TICKS)]
    above = [tick for tick in TICKS if tick > max(times)][:1] or [max(TICKS)]
    return [tick for tick in TICKS if below[0] <= tick <= above[0]]


def _bar(seconds: float, least: float) -> dict[str, Any]:
    return {"value": max(seconds, least), "formatter": lambda _value: duration(seconds)}


__all__ = ["chart", "pygal", "save"]
