# SPDX-License-Identifier: GPL-3.0-or-later
"""A report says first whether its figures can be believed, and everybody can read it: no script, light or dark."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from iotops.loadtest import report
from iotops.loadtest.charts import charts
from iotops.loadtest.measures import new_histogram
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import Interval, Result
from iotops.loadtest.target import Target

PAGE = Path(report.__file__).with_name("page.html").read_text()
PLAN = Plan(
    scenario="telemetry", targets=(Target("127.0.0.1", 1883, tls=False),), names=("a", "b"), subscribers=1, qos=1
)
SVG = "{http://www.w3.org/2000/svg}"
TEXT, GRAPHICS = 4.5, 3.0  # https://www.w3.org/TR/WCAG21/#contrast-minimum and #non-text-contrast


def histogram(*microseconds: int) -> object:
    made = new_histogram()
    for value in microseconds:
        made.record_value(value)
    return made


def result(*cpu: float, ended: bool = True, late: int = 1) -> Result:
    intervals = [
        Interval(at, Counter(sent=10, received=20, acked=10), 2, [busy], 0.0, {"publish": histogram(900, 1100)})
        for at, busy in enumerate(cpu, 1)
    ]
    return Result(
        seconds=len(cpu),
        counts=Counter(sent=10, due=10, connects=2),
        receivers=1,
        sent_by=Counter(a=10),
        received_from=Counter(a=9),
        latencies={"publish": histogram(900, 1100), "late": histogram(late)},
        intervals=intervals,
        processes=[{"share": 0, "ended": ended}],
    )


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (result(0.2, 0.3), "the generator was not the limit: its busiest process used 30% of a core at most"),
        (result(0.2, 0.95), "The generator may be the limit: a process of the generator used up to 95% of a core"),
        (result(0.2, 0.3, late=50_000), "The generator may be the limit: 1 % of the messages were sent 50 ms late"),
        (result(0.2, 0.3, ended=False), "not measured: whether the generator was the limit"),
        (result(), "not measured: whether the generator was the limit"),
    ],
    ids=["idle", "busy", "late", "died", "never ran"],
)
def test_it_says_whether_the_generator_was_the_limit(found: Result, line: str) -> None:
    [said] = [each for each in report.headline(PLAN, found) if "generator" in each]
    assert said.startswith(line)
    assert line in report.as_html(PLAN, found)


def test_what_was_asked_and_reached_comes_first() -> None:
    asked, reached, counted, *_rest = report.headline(PLAN, result(0.2))
    assert asked == "telemetry: 1 publishers, 1 subscribers, 1 messages a second each, for 60 s with QoS 1"
    assert reached == "90.00% sustained over 1.0 s"
    assert counted == "9 of 10 received, 1 lost (10 %), 0 duplicates (0 %), 0 out of order"


def test_a_line_of_the_table_is_an_interval() -> None:
    first, second = csv.DictReader(report.as_csv(result(0.2, 0.3)).splitlines())
    assert (first["at"], first["sent"], first["received"], first["connected"], first["cpu"]) == (
        "1", "10", "20", "2", "0.2"
    )  # fmt: skip
    assert float(second["publish_max_ms"]) == pytest.approx(1.1, rel=0.001)


def test_charts_are_pictures_with_a_name_and_without_script() -> None:
    drawn = charts(result(0.2, 0.3, 0.4))
    assert [*drawn] == ["Messages a second", "Sessions", "CPU of the busiest process, % of a core",
                        "Publish, milliseconds"]  # fmt: skip
    for title, svg in drawn.items():
        picture = ElementTree.fromstring(svg)  # noqa: S314 - our own
        assert picture.get("aria-label") == title
        assert [each.text for each in picture.findall(SVG + "title")] == [title]
        assert not list(picture.iter(SVG + "script"))
    assert not charts(result(0.2)), "a point is no chart"


def test_the_page_needs_nothing_else() -> None:
    page = report.as_html(PLAN, result(0.2, 0.3))
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!#)[^"']*""", page)
    assert not re.findall(r"url\((?!#)", page)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_everything_on_the_page_has_contrast(scheme: int) -> None:
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", re.findall(r":root \{([^}]*)\}", PAGE)[scheme]))
    assert contrast(colours["ink"], colours["paper"]) >= TEXT
    for name in ("line", "first", "second", "third"):
        assert contrast(colours[name], colours["paper"]) >= GRAPHICS, name


def contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
