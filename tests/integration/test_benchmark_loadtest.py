# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark of load generators compares: others do what they are said to do, and so do we."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.loading import s3
from benchmarks.loading.bench import Bench, generators, node_modules
from iotops.loadtest.connection import Connection, Options
from iotops.loadtest.identities import Identity
from tests.mosquitto import mosquitto

pytestmark = pytest.mark.long  # packages of npm


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with mosquitto(tmp_path) as broker:
        yield Bench(broker, tmp_path, quick=True)


def test_each_generator_sends_and_gets_as_many_messages(bench: Bench) -> None:
    for label, command in generators(bench).items():
        with bench.generator(command) as running:
            running.ask(**bench.connecting(bench.names(5)))
            running.ask(what="subscribe", count=2)
            for qos in (0, 1):
                answer = running.ask(what="publish", publishers=3, subscribers=2, messages=20, qos=qos)
                assert answer["messages"] == 3 * 20 * (1 + 2), label


def test_s3_has_each_message_forwarded_by_each_subscriber_a_second(bench: Bench) -> None:
    modules = node_modules()
    assert modules
    names = bench.names(6)
    heard: list[bytes] = []

    async def listen(seconds: float) -> None:
        identity = Identity.at(bench.devices, names[-1])
        connection = await Connection.open(
            bench.broker.target,
            identity,
            Options(identity.name),
            on_message=lambda _topic, payload: heard.append(payload),
            on_lost=lambda trouble: pytest.fail(str(trouble)),
        )
        await connection.subscribe("loadtest", 0)
        await asyncio.sleep(seconds)
        await connection.close()

    with s3.running(modules, bench.broker.target, bench.devices, names[:3], names[3:5], 60) as running:
        assert len(running.pids) == 5
        asyncio.run(listen(4))
    assert 3 * 2 * 3 <= len(heard) <= 3 * 2 * 5
    assert all(b'"processing":' in payload for payload in heard)
