# SPDX-License-Identifier: GPL-3.0-or-later
"""How a device goes on trying, which address it tries, and when it stops; and the messages that are sent by hand."""

from __future__ import annotations

import errno
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from iotops.cli import main
from iotops.device import files, home
from iotops.device.attempts import Limits, Pace
from iotops.device.connection import Endpoint, Turns
from iotops.device.device import Device, dialer
from iotops.device.errors import Lost, NotNow, Refused, TurnedAway, Unreachable
from iotops.device.home import Home
from iotops.device.rotation import Step
from iotops.device.talk import Publisher, Subscriber, line_of
from tests.certificates import issue
from tests.unit.device_program.cloud import AUTHORITY, OLD, ROOT, THING, FakeConnection, world, write_pair

__all__ = ["world"]

ONE, OTHER = Endpoint("10.0.0.1", 8883, "x"), Endpoint("10.0.0.2", 8883, "x")


def test_an_address_is_left_when_nobody_answers_or_it_refuses_again_and_again():
    turns, seen = Turns([ONE, OTHER]), []
    problems = [Refused(), Refused(), Refused(), Unreachable(), Refused(), Refused(), None, Refused(), Refused()]
    for problem in problems:
        seen.append(turns.endpoint)
        turns.failed(problem) if problem else turns.accepted()
    assert seen == [ONE, ONE, ONE, OTHER, ONE, ONE, ONE, ONE, ONE]


def stopping(world, *, limits, seconds=3600.0):
    """What stops a device, and after how long; None when it was still trying."""

    class Impatient(Device):
        def open(self, presented):
            if world.cloud.clock.time > seconds - 100:
                self.stop()
            return super().open(presented)

    begun = world.cloud.clock.time
    try:
        world.device(Impatient, limits=limits).run()
    except (TurnedAway, NotNow) as error:
        return type(error), world.cloud.clock.time - begun, str(error)
    return None


def test_a_certificate_that_was_accepted_is_given_up_after_the_stated_time_also_by_another_process(world):
    world.run()
    world.cloud.active.clear()
    for _start in range(2):
        kind, seconds, said = stopping(world, limits=Limits(refused=300))
        assert kind is TurnedAway
        assert 300 <= seconds <= 300 + 60
        assert said == (
            f"certificate {OLD.fingerprint} was accepted before and has been refused for 300 s (revoked?),"
            " the device stops; last: unknown certificate"
        )


def test_a_new_certificate_that_is_refused_is_not_given_up(world):
    """Just-in-time registration refuses it until it is known."""
    world.cloud.active.clear()
    assert stopping(world, limits=Limits(refused=300)) is None


def test_a_broker_that_refuses_while_it_starts_and_stops_has_not_revoked_anybody(world, monkeypatch):
    world.run()
    real, clock = FakeConnection.connect, world.cloud.clock

    def connect(self, timeout):
        if clock.time % 1000 < 900:
            raise Unreachable("nobody")
        raise Refused("it stops")

    monkeypatch.setattr(FakeConnection, "connect", connect)
    assert stopping(world, limits=Limits(refused=300)) is None
    monkeypatch.setattr(FakeConnection, "connect", real)


def test_nobody_answers_for_the_stated_time(world, monkeypatch):
    def connect(self, timeout):
        raise Unreachable("nobody")

    monkeypatch.setattr(FakeConnection, "connect", connect)
    kind, seconds, said = stopping(world, limits=Limits(alone=60))
    assert kind is NotNow
    assert 60 <= seconds <= 120
    assert said == "no connection for 60 s; last: nobody"


def test_pauses_are_bounded_whatever_came_before():
    assert all(1 <= Pace().pause(failures) <= 60 for failures in (1, 5, 40, 10**9))


def test_an_acceptance_that_cannot_be_remembered_does_no_harm(world, monkeypatch):
    def write(path, data, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "write", write)
    world.run()
    assert not (world.directory / f"{THING}.accepted").exists()


def test_a_message_that_was_not_acknowledged_is_sent_again(world, monkeypatch):
    sent = []

    def publish(self, topic, payload, timeout):
        sent.append((topic, payload))
        if len(sent) == 2:
            raise Lost("cut")

    monkeypatch.setattr(FakeConnection, "publish", publish)
    monkeypatch.setattr(FakeConnection, "receive", lambda self, timeout: setattr(
        self.cloud.clock, "time", self.cloud.clock.time + timeout))  # fmt: skip
    begun = world.cloud.clock.time
    world.device(Publisher, topic="i/dev-1/m", payload=b"\xff", count=3, pause=10).run()
    assert sent == [("i/dev-1/m", b"\xff")] * 4
    assert world.cloud.clock.time - begun >= 20


def test_telemetry_that_was_not_acknowledged_is_sent_again_first(world, monkeypatch):
    sent, real = [], FakeConnection.publish

    def publish(self, topic, payload, timeout):
        if not topic.endswith("/telemetry"):
            return real(self, topic, payload, timeout)
        sent.append(json.loads(payload))
        if len(sent) == 2:
            self.close()
            raise Lost("cut")
        if len(sent) == 4:
            device.stop()
        return None

    monkeypatch.setattr(FakeConnection, "publish", publish)
    device = world.device(telemetry=10)
    device.run()
    first, lost, again, later = sent
    assert first != lost == again != later


def test_what_is_heard_is_handed_on_until_it_is_enough(world):
    heard = []
    subscriber = world.device(Subscriber, topic="e/dev-1/#", count=2, heard=lambda *message: heard.append(message))
    real = subscriber.open

    def open_and_tell(presented):
        connection = real(presented)
        connection.inbox.extend([("e/dev-1/a", b"1"), ("e/dev-1/b", b"2"), ("e/dev-1/c", b"3")])
        return connection

    subscriber.open = open_and_tell
    subscriber.run()
    assert heard == [("e/dev-1/a", b"1"), ("e/dev-1/b", b"2")]


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        ("Grüße 日本 😀".encode(), "Grüße 日本 😀"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"a\nb\r\tc", r"a\nb\r\tc"),
        (b"\x1b[31m\x7f\x00", r"\x1b[31m\x7f\x00"),
        ("\x9b31m\u2028".encode(), r"\x9b31m\u2028"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"", ""),
    ],
)
def test_a_message_is_one_line_of_utf_8(payload, line):
    assert line_of("t", payload) == f"t {line}\n".encode()


def test_a_server_that_says_nothing_is_left_after_the_time_for_one_answer(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1], "iot.example.com")
        credentials = world.credentials()
        connection = dialer(credentials, endpoint)(credentials.pair("current"))
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            connection.connect(1)
        assert 1 <= time.monotonic() - begun < 10


@pytest.mark.parametrize("after", [0, 200])
def test_a_server_that_hangs_up_before_it_says_who_it_is_has_refused_nobody(world, after):
    """A region that is gone: its load balancer resets what comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            found, _address = listener.accept()
            found.recv(after) if after else None
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            found.close()

        threading.Thread(target=hang_up, daemon=True).start()
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1], "iot.example.com")
        credentials = world.credentials()
        with pytest.raises(Unreachable):
            dialer(credentials, endpoint)(credentials.pair("current")).connect(5)


def test_a_server_that_hangs_up_after_its_own_part_has_refused_the_certificate(world, tmp_path):
    """TLS 1.2: the server sees the device's certificate before the handshake ends."""
    server = issue("iot.example.com", signer=ROOT, names=["iot.example.com"], server=True)
    files = server.write(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version, context.verify_mode = ssl.TLSVersion.TLSv1_2, ssl.CERT_REQUIRED
    context.load_cert_chain(files["certificate_path"], files["private_key_path"])
    (tmp_path / "other.pem").write_text(issue("Other Root", ca=True).pem)
    context.load_verify_locations(tmp_path / "other.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def turn_away():
            found, _address = listener.accept()
            with suppress(ssl.SSLError), context.wrap_socket(found, server_side=True):
                pass

        threading.Thread(target=turn_away, daemon=True).start()
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1], "iot.example.com")
        credentials = world.credentials()
        with pytest.raises(Refused, match="in the TLS handshake"):
            dialer(credentials, endpoint)(credentials.pair("current")).connect(5)


def test_a_rotation_that_failed_is_told(world):
    world.cloud.commit = lambda body, _principal: world.cloud.answer(
        "commit", "rejected", jobId=body["jobId"], code="NotNew", message="an old one"
    )
    world.cloud.give()
    assert world.run().failure == "NotNew: an old one"


def test_a_rotation_that_succeeded_is_not_told_as_a_failure(world):
    world.cloud.give()
    assert world.run().failure == ""


@pytest.mark.parametrize("step", [Step.PRESENT, Step.COMMIT, Step.PROMOTE, Step.SUCCEEDED])
def test_a_disk_that_is_full_at_any_step_of_a_rotation(world, monkeypatch, step):
    """It goes on when there is room, or has failed with the reason; the device always has a pair that works."""
    real, failures = files.write, []

    def write(path, data, **options):
        if path.name == "rotation.json" and json.loads(data)["step"] == step and len(failures) < 3:
            failures.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data, **options)

    monkeypatch.setattr(files, "write", write)
    world.cloud.give()
    world.run()
    assert failures
    assert world.held == world.cloud.current
    if step == Step.PRESENT:
        said = "the new certificate cannot be remembered: No space left on device"
        assert world.cloud.status() == ("FAILED", said)
    else:
        assert world.cloud.status() == ("SUCCEEDED", "")
        assert world.held != OLD.fingerprint


@pytest.fixture
def directory(tmp_path):
    write_pair(tmp_path, OLD)
    return tmp_path


def command(name, directory, *arguments):
    return main(["device", name, "--thing-name", THING, "--directory", str(directory), *arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish", "--message", "m", "--topic", "a/#"], "--topic a/#: it cannot have + or #: give one topic"),
        (["publish", "--message", "m", "--topic", "a" * 257], "--topic: it has 257 bytes: 1 to 256, none of them NUL"),
        (["publish", "--message", "m" * 131073], "--message: it has 131073 bytes: AWS IoT takes 131072"),
        (["publish", "--message", "m", "--count", "-1"], "--count -1: give a number"),
        (["publish", "--message", "m", "--interval", "-1"], "--interval -1: give 0.1 seconds or more"),
        (["subscribe", "--topic", ""], "--topic: it has 0 bytes: 1 to 256, none of them NUL"),
        (["subscribe", "--topic", "a\udcff"], "--topic 'a\\udcff': it is no UTF-8"),
        (["connect", "--refused", "inf"], "--refused inf: give 0.1 seconds or more"),
        (["connect"], "--endpoint: dev-1 is not provisioned in "),
    ],
)
def test_bad_input_is_one_line(directory, capsys, arguments, said):
    assert command(arguments[0], directory, *arguments[1:]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"iotops: {said}")
    assert output.err.count("\n") == 1
    assert output.out == ""


def test_a_device_without_a_broker_ends_with_a_code_of_its_own(directory, capsys):
    arguments = ["--endpoint", "iot.example.com", "--address", "127.0.0.1:9", "--give-up", "0.1", "--message", "m"]
    assert command("publish", directory, *arguments) == 4
    assert capsys.readouterr().err.splitlines()[-1].startswith("iotops: no connection for 0.1 s; last: 127.0.0.1:9: ")


def test_status_of_a_device_that_is_provisioned(directory, capsys):
    home.write(directory, THING, Home("abc.iot.eu-west-1.amazonaws.com", "eu-west-1", "iot.example.com"))
    assert command("status", directory, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["certificateId"] == OLD.fingerprint
    assert facts["notAfter"] == OLD.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert {name: facts[name] for name in facts if not name.startswith(("not", "certificate"))} == {
        "thingName": THING, "provisioned": True, "valid": True, "acceptedBefore": False, "region": "eu-west-1",
        "endpointAddress": "abc.iot.eu-west-1.amazonaws.com", "serverName": "iot.example.com", "port": 8883,
        "rotation": None, "connection": None,
    }  # fmt: skip
    assert command("status", directory) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "thing:           dev-1, provisioned"
    assert shown[1].startswith(f"certificate:     {OLD.fingerprint}, valid: 20")
    assert shown[4] == "endpoint:        abc.iot.eu-west-1.amazonaws.com:8883, asked for iot.example.com"
    assert shown[5] == "rotation:        none"


def test_status_of_a_device_that_is_not(tmp_path, capsys):
    assert command("status", tmp_path) == 3
    assert capsys.readouterr().out.splitlines()[:2] == [
        "thing:           dev-1, not provisioned",
        "certificate:     has no certificate",
    ]
    assert command("status", tmp_path / "none") == 2


def test_status_in_a_rotation_and_without_a_connection(directory, capsys):
    (directory / "rotation.json").write_text(json.dumps({"jobId": "j", "step": "commit", "reason": ""}))
    arguments = ["--connect", "--endpoint", "iot.example.com", "--address", "127.0.0.1:9"]
    assert command("status", directory, *arguments) == 4
    shown = capsys.readouterr().out
    assert "rotation:        commit  (job j)" in shown
    assert "connection:      unreachable 127.0.0.1:9: " in shown


def test_status_of_a_device_that_runs_leaves_its_connection_alone(directory, capsys):
    arguments = ["--connect", "--json", "--endpoint", "iot.example.com", "--address", "127.0.0.1:9"]
    with files.locked(directory):
        assert command("status", directory, *arguments) == 0
    assert json.loads(capsys.readouterr().out)["connection"]["state"] == "used"


@pytest.mark.parametrize(
    ("endpoint", "server"),
    [
        ("abc", None), ("abc::", None), ("::eu-west-1", None), ("a b::eu-west-1", None), ("abc::eu-west-1", "{"),
        ("abc::eu-west-1", "[]"), ("abc::eu-west-1", '{"port": "1"}'), ("abc::eu-west-1", '{"serverName": "a/b"}'),
    ],
)  # fmt: skip
def test_a_home_of_somebody_else_is_one_line(directory, capsys, endpoint, server):
    (directory / f"{THING}.endpoint").write_text(endpoint)
    if server is not None:
        (directory / f"{THING}.server.json").write_text(server)
    assert command("connect", directory) == 2
    said = capsys.readouterr().err
    assert said.endswith(": remove it and provision the device again\n")
    assert said.count("\n") == 1


def test_a_home_that_another_program_wrote_is_read(directory):
    (directory / f"{THING}.endpoint").write_text("abc.iot.eu-west-1.amazonaws.com::eu-west-1\n")
    found = home.read(directory, THING)
    assert found.endpoints == (Endpoint(found.address, 8883, found.address),)


def test_a_device_dials_its_region_and_then_the_name_of_the_fleet():
    dialled = Home("abc.iot.eu-west-1.amazonaws.com", "eu-west-1", "iot.example.com").endpoints
    assert dialled == (
        Endpoint("abc.iot.eu-west-1.amazonaws.com", 8883, "iot.example.com"),
        Endpoint("iot.example.com", 8883, "iot.example.com"),
    )


@pytest.mark.parametrize("command", ["status", "publish"])
def test_paths_and_names_of_any_kind_in_any_locale(tmp_path, command):
    """A directory whose name is no UTF-8, an Organization in Unicode, and an encoding that knows ASCII only."""
    directory = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Ger\xc3\xa4t \xff"))
    directory.mkdir()
    write_pair(directory, issue(THING, signer=AUTHORITY, organization="Größe 日本"))
    arguments = ["--endpoint", "iot.example.com", "--address", "127.0.0.1:9"]
    arguments += {"status": ["--connect"], "publish": ["--give-up", "0.1", "--message", "\udcff"]}[command]
    every = ["--thing-name", THING, "--directory", directory]
    run = subprocess.run(
        [sys.executable, "-m", "iotops", "device", command, *every, *arguments],
        env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": "src"},
        cwd=Path(__file__).parents[3], capture_output=True, check=False,
    )  # fmt: skip
    assert run.returncode == 4, run.stderr
    assert b"Traceback" not in run.stderr
    said = run.stdout if command == "status" else run.stderr
    assert b"127.0.0.1:9: " in said.splitlines()[-1]
