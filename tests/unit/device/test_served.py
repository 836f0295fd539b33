# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server shows, and when it counts as served: handshakes with a real server of this process."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Issued, issue
from tests.integration.modules import run_module
from tests.shown import Shown

DOMAIN = "iot.example.com"
ROOT = issue("Demo Root", ca=True)
ISSUING = issue("Demo Issuing CA G1", ca=True, signer=ROOT)


CHAIN = ISSUING.pem + ROOT.pem


def server(**more: Any) -> Issued:
    return issue(DOMAIN, **{"names": [DOMAIN], "server": True, "signer": ISSUING, **more})


OLD, NEW = server(), server()


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Any]:
    servers: list[Shown] = []

    def start(*pairs: Issued, **more: Any) -> Shown:
        servers.append(Shown(tmp_path, *pairs, **{"chain": CHAIN, **more}))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


def look(directory: Path, address: str, expected: Issued | None = None, **more: Any) -> dict[str, Any]:
    (directory / "root.pem").write_text(ROOT.pem)
    (directory / "chain.pem").write_text(CHAIN)
    wanted: dict[str, Any] = {"certificate_path": None}
    if expected:
        wanted = {"certificate_path": expected.write(directory, "expected")["certificate_path"]}
        wanted["chain_path"] = str(directory / "chain.pem")
    return run_module(
        "tls_served_certificate_info",
        address=address,
        server_name=more.pop("server_name", DOMAIN),
        root_certificate_path=str(directory / "root.pem"),
        connect_timeout=2,
        **{"wait_timeout": 0, **wanted, **more},
    )


def test_the_chain_that_is_shown_is_described(tmp_path: Path, shown: Any) -> None:
    served = look(tmp_path, shown(OLD).address)["served"]
    assert [each["fingerprints"] for each in served] == [[OLD.fingerprint, ISSUING.fingerprint, ROOT.fingerprint]]
    assert int(served[0]["serial"], 16) == OLD.certificate.serial_number
    assert served[0]["names"] == [DOMAIN]
    assert served[0]["distrust"] is None


def test_two_chains_side_by_side_are_both_seen(tmp_path: Path, shown: Any) -> None:
    served = look(tmp_path, shown(OLD, NEW).address)["served"]
    assert [each["fingerprints"][0] for each in served] == [OLD.fingerprint, NEW.fingerprint]


@pytest.mark.parametrize(
    ("pair", "chain", "name", "why"),
    [
        (OLD, ISSUING.pem, DOMAIN, "serial .* for iot.example.com is served"),
        (NEW, ISSUING.pem + OLD.pem, DOMAIN, "its chain is another one"),
        (NEW, "", DOMAIN, "its chain is another one"),
        (NEW, ISSUING.pem, "mqtt.example.com", "would not trust it .Hostname mismatch"),
    ],
)
def test_what_is_not_as_expected_is_named(
    tmp_path: Path, shown: Any, pair: Issued, chain: str, name: str, why: str
) -> None:
    answer = look(tmp_path, shown(pair, chain=chain).address, NEW, server_name=name)
    assert answer["failed"]
    assert re.search(f"{name} at .* to serve serial .* 5 times in a row: .*{why}", answer["msg"])


def test_a_root_that_is_left_out_is_no_other_chain(tmp_path: Path, shown: Any) -> None:
    assert "failed" not in look(tmp_path, shown(NEW, chain=ISSUING.pem).address, NEW)


def test_it_counts_only_when_no_connection_in_a_row_is_shown_another_one(tmp_path: Path, shown: Any) -> None:
    flapping = shown(OLD, NEW, NEW, NEW, OLD, NEW, NEW, OLD, NEW)
    progress = tmp_path / "progress"
    answer = look(tmp_path, flapping.address, NEW, connections=4, wait_timeout=20, progress_path=str(progress))
    assert [each["fingerprints"][0] for each in answer["served"]] == [NEW.fingerprint]
    assert flapping.handshakes == 8 + 4
    assert [line.split(" ", 1)[1].split()[3] for line in progress.read_text().splitlines()] == ["waiting:", "served"]


def test_a_server_that_nobody_would_trust_is_described_all_the_same(tmp_path: Path, shown: Any) -> None:
    stranger = issue(DOMAIN, names=[DOMAIN], server=True)
    served = look(tmp_path, shown(stranger, chain="").address)["served"]
    assert served[0]["fingerprints"] == [stranger.fingerprint]
    assert "self-signed" in served[0]["distrust"]


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    answer = look(tmp_path, address)
    assert f"no certificate at {address}: [Errno 111] Connection refused" in answer["msg"]
    assert "Traceback" not in json.dumps(answer)
    assert "give host or host:port" in look(tmp_path, "127.0.0.1:x")["msg"]
