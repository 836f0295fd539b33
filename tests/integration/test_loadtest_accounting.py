# SPDX-License-Identifier: GPL-3.0-or-later
"""A load test's figures are those of what really happened between its devices and the broker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from iotops.loadtest import report
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import Result
from iotops.loadtest.run import run
from iotops.loadtest.target import Target
from tests.mosquitto import free_port, mosquitto
from tests.processes import descendants

DROPPED, DUPLICATED = 100, 200  # one of so many
PUBLISH = 3


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A broker that anybody may use, without TLS, so that a proxy can read along."""
    with plain(tmp_path_factory.mktemp("broker")) as target:
        yield target


def plain(directory: Path) -> Any:
    port = free_port()
    settings = (f"listener {port} 127.0.0.1", "allow_anonymous true", "max_inflight_messages 0")

    class Plain:
        def __enter__(self) -> Target:
            self._broker = mosquitto(directory, *settings)
            self.pid = self._broker.__enter__().pid
            return Target("127.0.0.1", port, tls=False)

        def __exit__(self, *error: object) -> None:
            self._broker.__exit__(None, None, None)

    return Plain()


def plan(scenario: str, *targets: Target, publishers: int, subscribers: int = 0, **more: Any) -> Plan:
    names = tuple(f"loadtest-{number:05}" for number in range(publishers + subscribers))
    chosen = {"ramp": 1000.0, "drain": 1.0, **more}
    return Plan(
        scenario=scenario, targets=targets, names=names, publishers=publishers, subscribers=subscribers, **chosen
    )


class Proxy:
    """Between devices and broker: drops and copies what the broker publishes, or lets nothing through for a while."""

    def __init__(self, broker: Target, *, faulty: bool = False) -> None:
        self._broker, self._faulty = broker, faulty
        self.dropped = self.duplicated = self._seen = 0
        self._open = asyncio.Event()
        self._open.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Target]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield Target("127.0.0.1", server.sockets[0].getsockname()[1], tls=False)
        finally:
            server.close()

    async def stall(self, after: float, seconds: float) -> None:
        await asyncio.sleep(after)
        self._open.clear()
        await asyncio.sleep(seconds)
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection(self._broker.host, self._broker.port)
        down = self._packets if self._faulty else self._pieces
        ways = [
            asyncio.ensure_future(self._pieces(reader, to_broker)),
            asyncio.ensure_future(down(from_broker, writer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for each in ways:
            each.cancel()
        for each in (writer, to_broker):
            each.close()

    async def _pieces(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await source.read(65536):
                await self._open.wait()
                sink.write(piece)
                await sink.drain()

    async def _packets(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                packet = await _packet(source)
                for _copy in range(self._copies() if packet[0] >> 4 == PUBLISH else 1):
                    sink.write(packet)
                await sink.drain()

    def _copies(self) -> int:
        self._seen += 1
        if self._seen % DROPPED == 0:
            self.dropped += 1
            return 0
        if self._seen % DUPLICATED == DUPLICATED // 3:
            self.duplicated += 1
            return 2
        return 1


async def _packet(source: asyncio.StreamReader) -> bytes:
    head = await source.readexactly(2)
    while head[-1] & 0x80:
        head += await source.readexactly(1)
    length = sum((octet & 0x7F) << (7 * place) for place, octet in enumerate(head[1:]))
    return head + await source.readexactly(length)


def above(histogram: HdrHistogram, microseconds: int) -> int:
    return sum(
        step.count_added_in_this_iter_step
        for step in histogram.get_recorded_iterator()
        if step.value_iterated_to >= microseconds
    )


@pytest.mark.defect("S3-25")
def test_what_a_broker_loses_and_repeats_is_what_the_report_says(broker: Target, tmp_path: Path) -> None:
    proxy = Proxy(broker, faulty=True)

    async def through() -> tuple[Plan, Result]:
        async with proxy.listening() as target:
            wanted = plan("telemetry", target, publishers=20, subscribers=5, rate=25.0, duration=4.0)
            return wanted, await run(wanted, processes=2)

    wanted, result = asyncio.run(through())
    assert (result.counts["due"], result.counts["sent"], result.expected) == (2000, 2000, 10_000)
    assert (result.lost, result.counts["duplicates"]) == (proxy.dropped, proxy.duplicated)
    report.write(tmp_path, wanted, result)
    found = report.summary(wanted, result)
    assert (found["lost_percent"], found["duplicates_percent"]) == (1.0, 0.5)
    assert sum(result.lost_by.values()) == proxy.dropped
    assert "100 lost (1 %), 50 duplicates (0.5 %)" in (tmp_path / "report.html").read_text()


@pytest.mark.defect("S3-25")
def test_a_stall_is_seen_by_all_messages_that_were_due_meanwhile(broker: Target) -> None:
    """200 ms of 6 s are 3 % of the messages; of those only 100 a device were sent and waited for their PUBACK."""
    proxy = Proxy(broker)
    rate, publishers, stall = 1500.0, 2, 0.2

    async def through() -> Result:
        async with proxy.listening() as target:
            wanted = plan("telemetry", target, publishers=publishers, rate=rate, duration=6.0, qos=1)
            told = asyncio.Event()
            running = asyncio.ensure_future(
                run(wanted, processes=1, tell=lambda event: told.set() if event["event"] == "interval" else None)
            )
            await told.wait()
            await proxy.stall(1, stall)
            return await running

    result = asyncio.run(through())
    assert result.counts["acked"] == result.counts["sent"] == result.counts["due"] == rate * publishers * 6
    corrected, raw = (above(result.latencies[kind], 80_000) for kind in ("publish", "publish_raw"))
    assert corrected >= rate * publishers * (stall - 0.08) * 0.9
    assert corrected > 1.3 * raw
    p99 = result.latencies["publish"].get_value_at_percentile(99)
    assert p99 >= 80_000


@pytest.mark.defect("S3-24")
def test_every_subscriber_sends_on_what_every_publisher_sends(broker: Target) -> None:
    heard: list[bytes] = []
    wanted = plan("fan-out", broker, publishers=6, subscribers=3, rate=5.0, duration=2.0, prefix="fan")
    from iotops.loadtest.connection import Connection, Options

    async def listen() -> Result:
        listener = await Connection.open(
            broker, None, Options("listener"), on_message=lambda _topic, payload: heard.append(payload),
            on_lost=lambda _trouble: None,
        )  # fmt: skip
        await listener.subscribe("fan", 0)
        result = await run(wanted, processes=2)
        await listener.close()
        return result

    result = asyncio.run(listen())
    assert (result.counts["sent"], result.received, result.counts["forwarded"], result.lost) == (60, 180, 180, 0)
    assert len(set(heard)) == len(heard) == 180, "P x S are forwarded, and not a message more: no feedback"
    assert all(b'"by":"loadtest-' in each for each in heard)


def test_every_command_is_answered_to_who_gave_it(broker: Target) -> None:
    wanted = plan("command", broker, publishers=7, subscribers=3, rate=3.0, duration=2.0, qos=1)
    result = asyncio.run(run(wanted, processes=2))
    assert result.lost == 0
    assert result.counts["due"] == result.counts["sent"] == result.received == result.counts["forwarded"]
    assert result.latencies["round_trip"].get_total_count() == result.received


@pytest.mark.parametrize("version", [4, 5])
def test_a_device_that_is_new_is_in_when_a_message_of_it_is_acknowledged(broker: Target, version: int) -> None:
    wanted = plan("first-connection", broker, publishers=20, duration=20.0, version=version)
    result = asyncio.run(run(wanted, processes=2))
    assert result.counts["acked"] == result.latencies["accepted"].get_total_count() == 20
    assert result.seconds < 20


@pytest.mark.defect("S3-23")
def test_devices_of_a_lost_region_go_on_in_the_other_one(broker: Target, tmp_path: Path) -> None:
    other = plain(tmp_path)

    async def lose() -> Result:
        with other as first:
            wanted = plan("reconnect", first, broker, publishers=10, rate=5.0, duration=4.0, qos=1)
            told = asyncio.Event()
            running = asyncio.ensure_future(
                run(wanted, processes=2, tell=lambda event: told.set() if event["event"] == "interval" else None)
            )
            await told.wait()
            os.kill(other.pid, signal.SIGKILL)
            return await running

    result = asyncio.run(lose())
    assert result.counts["sessions_lost"] == result.latencies["recovered"].get_total_count() == 10
    assert result.counts["sent"] == result.counts["due"] == 200
    assert result.latencies["publish"].get_max_value() > result.latencies["publish_raw"].get_max_value()


def command(target: Target, directory: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "iotops", "loadtest", "run", "telemetry", "--target", str(target), "--no-tls",
         "--report", str(directory), "--publishers", "4", "--processes", "2", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def until(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def started(process: subprocess.Popen[str]) -> list[int]:
    return until(lambda: found if len(found := descendants(process.pid)) == 2 else [])


@pytest.mark.parametrize("ramp", ["1000", "0.2"], ids=["running", "connecting"])
def test_what_is_interrupted_has_its_report_all_the_same(broker: Target, tmp_path: Path, ramp: str) -> None:
    process = command(broker, tmp_path, "--duration", "300", "--ramp", ramp)
    started(process)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    _plan, result = report.read(tmp_path)
    assert {each["ended"] for each in result.processes} == {True}
    assert (result.counts["sent"] > 0) == (ramp == "1000")


def test_a_generator_that_dies_is_named_and_the_others_are_reported(broker: Target, tmp_path: Path) -> None:
    process = command(broker, tmp_path, "--duration", "4")
    victim = started(process)[0]
    time.sleep(3)
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "generator 0 ended with -9 and without a result: it is not counted" in output
    _plan, result = report.read(tmp_path)
    assert sorted(each["ended"] for each in result.processes) == [False, True]
    assert result.counts["sent"] > 0


def test_files_that_are_none_are_a_line_and_no_report(broker: Target, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("no certificate")
    words = [
        "--target",
        f"{broker}",
        "--root",
        tmp_path / "root.pem",
        "--report",
        tmp_path / "none",
        "--publishers",
        "4",
    ]
    process = subprocess.run(
        [sys.executable, "-m", "iotops", "loadtest", "run", "telemetry", *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    assert "root.pem" in process.stderr.splitlines()[-1]
    assert not (tmp_path / "none").exists()


def test_nothing_is_dialled_for_an_estimate(tmp_path: Path) -> None:
    nobody = Target("127.0.0.1", free_port(), tls=False)
    process = command(nobody, tmp_path / "none", "--estimate")
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, (tmp_path / "none").exists()) == (0, False)
    assert "messages" in output
