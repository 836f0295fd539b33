# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as a picture. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    import pygal
    from pygal.style import CleanStyle
except ImportError:  # the module that needs it tells the user
    pygal = None

WIDTH, HEIGHT = 1000, 480
LEAST_SECONDS = 0.01  # a logarithmic scale has no 0


def chart(plan: Mapping[str, Any]) -> bytes:
    """How long each work takes, as an SVG; the same plan gives the same octets."""
    bars = pygal.HorizontalBar(
        x_title="seconds",
        logarithmic=True,
        print_values=True,
        value_formatter=duration,
        show_legend=False,
        style=CleanStyle(font_family="sans-serif", value_font_size=12, label_font_size=12, title_font_size=16),
        width=WIDTH,
        height=HEIGHT,
        js=(),
        title=f"{plan['devices']:,} devices in {', '.join(plan['regions'])}: "
        f"USD {plan['onboarding']['usd']:,.0f} once, {plan['monthly']['usd']:,.0f} a month",
    )
    bars.uuid = "plan"
    works = list(reversed(plan["work"]))  # the first one is on top
    bars.x_labels = [each["name"] for each in works]
    bars.add("seconds", [max(each["seconds"], LEAST_SECONDS) for each in works])
    drawn: bytes = bars.render()
    return drawn


def duration(seconds: float) -> str:
    """A time as people say it: 333 s, 33 min, 18.5 h, 77 days."""
    if seconds < 600:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 96 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:,.0f} days"


__all__ = ["chart", "duration", "pygal"]
