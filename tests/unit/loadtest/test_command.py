# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops loadtest``: what it is asked is understood or refused in a line, and nobody's account pays by mistake."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._plan.prices import MESSAGE_TIERS, PRICES
from iotops.cli import main
from iotops.loadtest import cost, report
from iotops.loadtest.cost import load_of
from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.guard import require_permission
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import Result
from iotops.loadtest.target import Target

HERE = Target("127.0.0.1", 1883, tls=False)
AWS = Target("abc-ats.iot.eu-west-1.amazonaws.com", addresses=("127.0.0.1",))
STRANGER = Target("broker.example.com", addresses=("1.2.3.4",))


def plan(target: Target = HERE, *, publishers: int = 10, subscribers: int = 0, **more: object) -> Plan:
    names = tuple(f"dev-{number}" for number in range(publishers + subscribers))
    chosen = {"scenario": "telemetry", "targets": (target,), **more}
    return Plan(names=names, publishers=publishers, subscribers=subscribers, **chosen)


def run(*words: str) -> int:
    return main(["loadtest", "run", "telemetry", "--target", "127.0.0.1:1", "--no-tls", "--estimate", *words])


@pytest.mark.defect("S3-22")
@pytest.mark.parametrize("words", [["-producers", "5"], ["--producers=5"], ["--publish=5"], ["5", "20"]])
def test_what_is_not_understood_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert ended.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_the_estimate_says_what_was_understood(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        ["loadtest", "run", "fan-out", "--target", "127.0.0.1:1", "--no-tls", "--estimate",
         "--publishers", "487", "--subscribers", "20", "--duration", "60"]
    )  # fmt: skip
    assert code == 0
    assert "up to 19,967 a second" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--rate=0"], "--rate=0: give a number of 0.001 or more"),
        (["--rate=nan"], "--rate=nan: give a number"),
        (["--qos=2"], "--qos=2: AWS IoT has 0 and 1"),
        (["--publishers=0"], "--publishers=0: give a number of 1 or more"),
        (["--payload-size=200000"], "--payload-size=200000: AWS IoT takes 131072 octets at most"),
        (["--topic=a/b"], "--topic=a/b: it has to have {name}"),
        (["--topic={thing}"], "--topic={thing}: it may have {prefix} and {name}"),
        (["--topic=a/#/{name}"], "without + and #"),
        (["--name=dev"], "--name=dev: it is the same for all"),
        (["--lose-after=100"], "--lose-after=100: give less than --duration=60"),
        (["--address=nobody"], "nobody is no IP address"),
        (["--address=127.0.0.1", "--address=127.0.0.2"], "--address was given 2 times"),
        (["--root=/none.pem"], "--root=/none.pem: there is no such file"),
        (["--identities=/none"], "/none"),
        (["--identities=/none", "--names=/none.txt"], "--names=/none.txt"),
        (["--identities=/none", "--names=/dev/null"], "there are 0 devices for 10"),
    ],
)
def test_bad_input_is_a_line_that_names_it(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("iotops: ")
    assert line in said


@pytest.mark.parametrize("scenario", ["fan-out", "command"])
def test_scenarios_with_listeners_want_one(scenario: str) -> None:
    with pytest.raises(LoadTestError, match="--subscribers=0"):
        plan(scenario=scenario).require_sound()


def test_nobody_listens_to_first_connections() -> None:
    with pytest.raises(LoadTestError, match="--subscribers=2: nobody listens"):
        plan(scenario="first-connection", subscribers=2).require_sound()


def test_who_reconnects_needs_somewhere_to_go() -> None:
    with pytest.raises(LoadTestError, match="--target was given once"):
        plan(scenario="reconnect").require_sound()


def test_every_device_is_in_one_share_and_shares_are_alike() -> None:
    whole = plan(publishers=11, subscribers=5)
    shares = [whole.share(index, 3) for index in range(3)]
    assert sorted(name for each in shares for name in (*each.publishers, *each.subscribers)) == sorted(whole.names)
    assert {len(each.publishers) for each in shares} == {3, 4}
    assert {len(each.subscribers) for each in shares} == {1, 2}


def test_a_plan_is_the_same_after_its_way_through_json() -> None:
    before = plan(AWS, subscribers=2, rate=2.5)
    assert Plan.from_json(json.loads(json.dumps(before.to_json()))) == before


@pytest.mark.parametrize("target", [AWS, STRANGER], ids=["aws", "stranger"])
def test_only_its_owner_puts_much_load_on_an_account(target: Target) -> None:
    require_permission(plan(target, publishers=50, ramp=10.0), owned=False)
    much = plan(target, publishers=101)
    with pytest.raises(LoadTestError, match=r"101 messages and 100 connects a second.*--i-own-this-account"):
        require_permission(much, owned=False)
    require_permission(much, owned=True)
    with pytest.raises(LoadTestError, match="60 connects"):
        require_permission(plan(target, scenario="first-connection", publishers=60), owned=False)


def test_ones_own_machine_takes_what_it_is_given() -> None:
    require_permission(plan(publishers=5000, rate=100.0), owned=False)


@pytest.mark.parametrize(
    ("scenario", "messages"), [("telemetry", 10 * 3), ("fan-out", 10 * 5), ("command", 10 * 4)]
)  # fmt: skip
def test_messages_in_and_out_are_counted(scenario: str, messages: int) -> None:
    load = load_of(plan(scenario=scenario, subscribers=2, duration=60.0))
    assert load.messages_per_second == messages
    assert load.messages == messages * 60 + 12 + 2
    assert load.connection_minutes == 12 * 2


def test_prices_are_those_of_the_plan() -> None:
    assert MESSAGE_TIERS[0][1] / 1e6 == cost.USD_PER_MESSAGE
    assert PRICES["connection minute"].usd / 1e6 == cost.USD_PER_CONNECTION_MINUTE


def test_a_report_that_was_written_is_read_and_reports_become_one(tmp_path: Path) -> None:
    part = Result(
        seconds=2, counts=Counter(sent=4, due=4), receivers=1, sent_by=Counter(a=4), received_from=Counter(a=8)
    )
    for name in ("one", "two"):
        report.write(tmp_path / name, plan(publishers=1, subscribers=2), part)
    both = tmp_path / "both"
    assert main(["loadtest", "report", str(tmp_path / "one"), str(tmp_path / "two"), "--report", str(both)]) == 0
    _plan, result = report.read(both)
    assert (result.expected, result.received) == (16, 16)
    assert sorted(path.name for path in both.iterdir()) == ["report.csv", "report.html", "report.json"]


@pytest.mark.parametrize("content", [None, "", "{}", '{"plan": 1, "result": 2}'], ids=["none", "empty", "other", "odd"])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(LoadTestError, match=r"report\.json"):
        report.read(tmp_path)


def test_names_in_a_report_are_text_and_nothing_else(tmp_path: Path) -> None:
    lost = Result(receivers=1, counts=Counter(sent=1, due=1), sent_by=Counter({"<script>": 1}), notes=["<b>"])
    report.write(tmp_path, plan(), lost)
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
