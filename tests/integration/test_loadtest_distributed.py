# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers on several machines under one master: what they sent and received is one sum in one report."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from iotops.loadtest import report
from iotops.loadtest.result import Result
from tests.mosquitto import free_port
from tests.processes import descendants

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-locust/bin/python"  # locust would patch every pytest that finds it
PUBLISHERS, SUBSCRIBERS, SECONDS = 10, 2, 4
HUB = "10.77.0.1"  # only ever within the namespaces

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="locust is not installed: make .venv-locust/ok")

Prefix = Sequence[str]


@contextmanager
def process(command: Sequence[object], **more: object) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen([str(word) for word in command], text=True, **more)
    try:
        yield started
    finally:
        for pid in [*descendants(started.pid), started.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        started.wait()


@contextmanager
def broker(directory: Path, address: str, prefix: Prefix) -> Iterator[int]:
    """A broker for anybody; its port."""
    port = free_port()
    conf = directory / "mosquitto.conf"
    conf.write_text(f"listener {port} {address}\nallow_anonymous true\nmax_queued_messages 0\n")
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    with process([*prefix, program, "-c", conf], stderr=subprocess.DEVNULL):
        yield port


def run(
    directory: Path,
    address: str,
    hub: Prefix,
    workers: Sequence[Prefix],
    *,
    scenario: str = "fan-out",
    seconds: float = SECONDS,
    kill: str = "",
    how: int = signal.SIGKILL,
    after: float = 1,
) -> tuple[int, Result, int]:
    """Exit code of the master, the report, and how many messages the broker gave to somebody who listened along.

    ``kill``: the ``master``, the first ``worker`` or its ``generator``, with the signal ``how``, so many seconds
    ``after`` the first message.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ours = [PYTHON, "-m", "iotops", "loadtest"]
    with ExitStack() as stack:
        port, steering = stack.enter_context(broker(directory, address, hub)), free_port()
        time.sleep(0.5)
        along = ["mosquitto_sub", "-h", address, "-p", str(port), "-t", "loadtest/+"]
        heard = (directory / "heard").open("w+")
        stack.enter_context(process([*hub, *along], stdout=heard))
        output = (directory / "output").open("w")
        master = stack.enter_context(
            process(
                [*hub, *ours, "master", scenario, "--target", f"{address}:{port}", "--no-tls", "--bind", address,
                 "--port", steering, "--workers", len(workers), "--publishers", PUBLISHERS,
                 "--subscribers", SUBSCRIBERS, "--rate", 5, "--duration", seconds, "--report", directory / "report"],
                env=environment, stdout=output, stderr=output,
            )
        )  # fmt: skip
        started = [
            stack.enter_context(
                process([*each, *ours, "worker", "--master", address, "--port", steering],
                        env=environment, stdout=output, stderr=output)
            )
            for each in workers
        ]  # fmt: skip
        if kill:
            victim = master.pid if kill == "master" else started[0].pid
            _until(lambda: (directory / "heard").stat().st_size)
            [generator] = [pid for pid in descendants(started[0].pid) if _generates(pid)]
            time.sleep(after)
            os.kill(generator if kill == "generator" else victim, how)
        code = master.wait(120)
        heard.seek(0)
        return code, report.read(directory / "report")[1], len(heard.readlines())


def _until(look: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not look():
        assert time.monotonic() < end
        time.sleep(0.1)


def _generates(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"iotops.loadtest.generator" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def require_the_sum(code: int, result: Result, heard: int) -> None:
    each = 5 * SECONDS
    assert code == 0
    assert [share["share"] for share in sorted(result.processes, key=lambda share: share["share"])] == [0, 1]
    assert sorted(result.sent_by.values()) == [each] * PUBLISHERS
    assert (result.counts["sent"], heard) == (PUBLISHERS * each, PUBLISHERS * each)
    assert result.received == result.counts["forwarded"] == PUBLISHERS * SUBSCRIBERS * each
    assert result.lost == 0


def test_two_workers_give_the_sum(tmp_path: Path) -> None:
    require_the_sum(*run(tmp_path, "127.0.0.1", [], [[], []]))


def test_locust_shows_what_generators_measured() -> None:
    """1 to 1,000 ms, once each: to 1 ms below 100, to 10 ms above, which is how Locust counts."""
    program = """
import json
from locust.stats import RequestStats
from iotops.loadtest.distributed.worker import as_entry
from iotops.loadtest.measures import new_histogram

stats, measured = RequestStats(), new_histogram()
for milliseconds in range(1, 1001):
    measured.record_value(milliseconds * 1000)
shown = stats.get("publish", "MQTT")
for _interval in range(2):
    shown.extend(as_entry(stats, "publish", measured))
percentiles = [shown.get_response_time_percentile(part) for part in (0.05, 0.5, 0.99)]
print(json.dumps([shown.num_requests, sum(shown.num_reqs_per_sec.values()), shown.min_response_time,
                  shown.max_response_time, round(shown.avg_response_time), percentiles]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([PYTHON, "-c", program], env=environment, capture_output=True, text=True, check=True)
    number, by_second, least, most, mean, (low, middle, high) = json.loads(done.stdout)
    assert (number, by_second, least) == (2000, 2000, 1)
    assert (most, mean) == (pytest.approx(1000, abs=1), pytest.approx(500, abs=1))
    assert (low, middle, high) == (pytest.approx(50, abs=1), pytest.approx(500, abs=10), pytest.approx(990, abs=10))


@pytest.mark.long
@pytest.mark.parametrize(
    ("kill", "why"), [("generator", "has a generator that ended with -9"), ("worker", "is gone")]
)  # fmt: skip
def test_a_worker_that_dies_is_named_and_the_other_is_reported(tmp_path: Path, kill: str, why: str) -> None:
    code, result, _heard = run(tmp_path, "127.0.0.1", [], [[], []], kill=kill)
    assert code == 1
    [note] = result.notes
    assert f"{why}: it is not counted" in note
    assert sorted(each["ended"] for each in result.processes) == [False, True]
    assert result.counts["sent"] == PUBLISHERS // 2 * 5 * SECONDS


@pytest.mark.long
def test_a_master_that_is_told_to_end_reports_what_there_is(tmp_path: Path) -> None:
    code, result, heard = run(tmp_path, "127.0.0.1", [], [[], []], kill="master", how=signal.SIGTERM)
    assert code == 130
    assert 0 < result.counts["sent"] < PUBLISHERS * 5 * SECONDS
    assert (result.lost, result.notes) == (0, [])
    assert heard == result.counts["sent"]
    assert (tmp_path / "output").read_text().count(" received, 0 lost") == 1, "it is told once"


@pytest.mark.long
def test_a_soak_whose_master_dies_leaves_the_report_of_the_last_minute(tmp_path: Path) -> None:
    code, result, _heard = run(
        tmp_path, "127.0.0.1", [], [[], []], scenario="soak", seconds=300, kill="master", after=64
    )
    assert code == -signal.SIGKILL
    assert sorted(result.notes) == ["of share 0 so far", "of share 1 so far"]
    assert result.seconds == pytest.approx(60, abs=3)
    assert result.counts["sent"] == pytest.approx(PUBLISHERS * 5 * result.seconds, rel=0.05)
    assert result.latencies["end_to_end"].get_total_count() == pytest.approx(
        SUBSCRIBERS * result.counts["sent"], rel=0.05
    )


@contextmanager
def machines(count: int) -> Iterator[tuple[Prefix, list[Prefix]]]:
    """A namespace with the address ``HUB`` and others that only have a way there; how to be in each."""
    with ExitStack() as stack:
        pids = [stack.enter_context(process(["unshare", "--net", "sleep", "600"])).pid for _number in range(count + 1)]
        time.sleep(0.5)
        hub, *others = (["nsenter", "--target", str(pid), "--net"] for pid in pids)

        def ip(prefix: Prefix, words: str) -> None:
            subprocess.run([*prefix, "ip", *words.split()], check=True)

        ip(hub, "link set lo up")
        ip(hub, f"address add {HUB}/32 dev lo")
        for number, (pid, other) in enumerate(zip(pids[1:], others, strict=True), 1):
            ip(hub, f"link add w{number} type veth peer name eth0 netns {pid}")
            ip(hub, f"address add 10.77.{number}.1/30 dev w{number}")
            ip(hub, f"link set w{number} up")
            ip(other, "link set lo up")
            ip(other, f"address add 10.77.{number}.2/30 dev eth0")
            ip(other, "link set eth0 up")
            ip(other, f"route add {HUB} via 10.77.{number}.1")
        yield hub, others


@pytest.mark.long
def test_two_machines_give_the_sum(tmp_path: Path) -> None:
    if os.getuid() or not shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("only root makes network namespaces, with ip (apt-get install iproute2)")
    with machines(2) as (hub, others):
        require_the_sum(*run(tmp_path, HUB, hub, others))
