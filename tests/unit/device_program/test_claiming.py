# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device does with each answer to a claim, and wherever it loses its power."""

from __future__ import annotations

import errno
import itertools
import json
import shutil
from types import SimpleNamespace

import pytest

from iotops.cli import main
from iotops.device import files
from iotops.device.claiming import CREATE, Claiming, Wish
from iotops.device.connection import Connection, Endpoint
from iotops.device.credentials import FileCredentials
from iotops.device.errors import Denied, DeviceError, Lost, NotNow, Refused, Unreachable
from iotops.device.home import Home
from tests.certificates import issue
from tests.unit.device_program.cloud import AUTHORITY, ROOT, THING, FakeClock, Power, PowerCut, Requested, let_power_go

PROVISION = "$aws/provisioning-templates/fleet-claim/provision/json"
HOUR = 3600
LEFT = [f"{THING}.{kind}" for kind in ("cert.pem", "csr.pem", "endpoint", "key.pem", "pub.pem", "server.json")]
BUSY = {"statusCode": 429, "errorCode": "Throttled", "errorMessage": "too much"}
NO = {"statusCode": 403, "errorCode": "AccessDenied", "errorMessage": "Access Denied"}


class Amazon:
    """AWS IoT's side: what it granted, and to whom the name went."""

    def __init__(self, clock, power):
        self.clock, self.power = clock, power
        self.granted = {}  # token -> (PEM, when)
        self.active = []  # PEMs
        self.says = []  # answers to come instead of its own: "" is silence, an exception is raised
        self.asked = []

    def answer(self, topic, payload):
        """Kind and payload, None for silence."""
        self.asked.append(topic)
        if self.says and (said := self.says.pop(0)) is not None:
            if isinstance(said, Exception):
                raise said
            return ("rejected", said) if said else None
        if topic == CREATE:
            made = issue("AWS IoT Certificate", signer=AUTHORITY, key=Requested(payload["certificateSigningRequest"]))
            token = f"token-{len(self.granted)}"
            self.granted[token] = (made.pem, self.clock.now())
            return "accepted", {"certificatePem": made.pem, "certificateOwnershipToken": token, "certificateId": "x"}
        pem, since = self.granted.get(payload["certificateOwnershipToken"], ("", -HOUR))
        if self.clock.now() - since >= HOUR:
            return "rejected", {"statusCode": 400, "errorCode": "InvalidCertificateOwnershipToken"}
        assert payload["parameters"] == {"SerialNumber": THING}
        if self.active not in ([], [pem]):
            return "rejected", NO
        self.active = [pem]
        return "accepted", {"thingName": THING, "deviceConfiguration": {"region": "eu-west-1"}}


class Claimed(Connection):
    """A connection with the claim certificate."""

    def __init__(self, amazon):
        self.amazon, self.filters, self.inbox = amazon, [], []

    def connect(self, timeout):
        self.amazon.power.draw()

    def subscribe(self, filters, timeout):
        self.filters += filters

    def publish(self, topic, payload, timeout):
        self.amazon.power.draw()
        answer = self.amazon.answer(topic, json.loads(payload))
        if answer and f"{topic}/{answer[0]}" in self.filters:
            self.inbox.append((f"{topic}/{answer[0]}", json.dumps(answer[1]).encode()))

    def receive(self, timeout):
        self.amazon.power.draw()
        if self.inbox:
            return self.inbox.pop(0)
        self.amazon.clock.time += timeout
        return None

    def close(self):
        pass


class Own(Claimed):
    """A connection with the device's own certificate."""

    def __init__(self, amazon, credentials):
        super().__init__(amazon)
        self.credentials = credentials

    def connect(self, timeout):
        if self.credentials.pair("current").certificate.read_text() not in self.amazon.active:
            raise Refused("not active")


class World:
    """A device with nothing but its root."""

    def __init__(self, directory):
        self.directory, self.clock, self.power = directory, FakeClock(), Power()
        self.restart()

    def restart(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        (self.directory / "root.cert.pem").write_text(ROOT.pem)
        self.amazon = Amazon(self.clock, self.power)
        self.clock.time = 0.0

    def claiming(self, **wish):
        credentials = FileCredentials(self.directory, THING)
        wanted = Wish(template="fleet-claim", endpoint=Endpoint.parse("iot.example.com", "127.0.0.1:8883"), **wish)
        own = lambda: Own(self.amazon, credentials)  # noqa: E731
        return Claiming(credentials, wanted, lambda: Claimed(self.amazon), own, clock=self.clock)

    @property
    def names(self):
        return sorted(path.name for path in self.directory.iterdir() if path.name != "root.cert.pem")

    @property
    def certificate(self):
        return (self.directory / f"{THING}.cert.pem").read_text()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "device")


def test_a_device_gets_the_certificate_of_its_key_whatever_name_is_in_it(world):
    assert world.claiming().run() == Home("iot.example.com", "eu-west-1", "iot.example.com")
    assert [world.certificate] == world.amazon.active
    assert world.names == LEFT
    assert (world.directory / f"{THING}.key.pem").stat().st_mode & 0o777 == 0o600
    asked = len(world.amazon.asked)
    assert world.claiming().run().region == "eu-west-1"
    assert len(world.amazon.asked) == asked, "a device that is provisioned asks nobody"


def test_a_device_whose_power_goes_at_any_moment_goes_on_and_the_name_has_one_certificate(world, monkeypatch):
    let_power_go(SimpleNamespace(cloud=SimpleNamespace(power=world.power)), monkeypatch)
    for after in itertools.count():
        world.power.left = None
        world.restart()
        world.power.left = after
        try:
            world.claiming().run()
        except PowerCut:
            world.power.left = None
            world.claiming().run()
        else:
            break
        assert [world.certificate] == world.amazon.active
        assert world.names == LEFT
    assert after > 12


def test_the_token_is_nobody_elses_to_read(world):
    world.amazon.says = [None, NO]
    with pytest.raises(Denied):
        world.claiming().run()
    path = world.directory / f"{THING}.claim.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["token"] == "token-0"


@pytest.mark.parametrize("answer", [BUSY, {"statusCode": 500, "errorCode": "?"}, "", Lost("gone"), Unreachable("who")])
@pytest.mark.parametrize("before", [0, 1], ids=["certificate", "name"])
def test_what_may_be_answered_otherwise_later_is_asked_again_with_the_same_certificate(world, answer, before):
    world.amazon.says = [None] * before + [answer] * 2
    world.claiming().run()
    assert [world.certificate] == world.amazon.active
    assert world.amazon.asked == [CREATE] * (3 - 2 * before) + [PROVISION] * (1 + 2 * before)


@pytest.mark.parametrize("before", [0, 1], ids=["certificate", "name"])
def test_a_no_is_final_and_the_next_run_asks_with_what_is_there(world, before):
    world.amazon.says = [None] * before + [NO]
    with pytest.raises(Denied, match="refused: 403 AccessDenied: Access Denied"):
        world.claiming().run()
    world.claiming().run()
    assert len(world.amazon.granted) == 1


def test_a_device_that_nobody_answers_gives_up(world):
    world.amazon.says = [BUSY] * 999
    with pytest.raises(NotNow, match="not provisioned for 120 s; last: 429 Throttled: too much"):
        world.claiming(give_up=120).run()
    assert world.clock.time <= 120


def test_a_token_that_ended_before_it_was_used_is_followed_by_another_certificate(world):
    world.amazon.says = [None, NO]
    with pytest.raises(Denied):
        world.claiming().run()
    world.amazon.granted["token-0"] = (world.amazon.granted["token-0"][0], -HOUR)
    world.claiming().run()
    assert [world.certificate] == world.amazon.active == [world.amazon.granted["token-1"][0]]
    assert world.names == LEFT


def test_a_device_that_was_registered_and_has_missed_it_connects_when_the_token_has_ended(world):
    world.power.left = 10**6
    real = world.amazon.answer

    def lost(topic, payload):
        answer = real(topic, payload)
        if topic == PROVISION:
            raise PowerCut
        return answer

    world.amazon.answer = lost
    with pytest.raises(PowerCut):
        world.claiming().run()
    world.amazon.answer = real
    world.amazon.granted["token-0"] = (world.amazon.granted["token-0"][0], -HOUR)
    assert world.claiming().run() == Home("iot.example.com", "unknown", "iot.example.com")
    assert [world.certificate] == world.amazon.active
    assert world.names == LEFT


@pytest.mark.parametrize("pem", ["nonsense", issue(THING, signer=AUTHORITY).pem], ids=["none", "of another key"])
def test_a_certificate_that_is_of_no_use_is_not_kept(world, pem):
    real = world.amazon.answer
    world.amazon.answer = lambda topic, payload: (
        "accepted", {**real(topic, payload)[1], "certificatePem": pem}
    )  # fmt: skip
    with pytest.raises(Denied, match="the certificate of the answer is of no use: it is"):
        world.claiming().run()
    assert f"{THING}.cert.pem" not in world.names


def test_a_full_disk_is_told_before_a_certificate_is_asked_for(world, monkeypatch):
    real = files.write

    def full(path, data, *, mode=files.PUBLIC):
        if path.name.endswith("claim.json"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, data, mode=mode)

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(DeviceError, match=r"claim\.json: No space left on device: provision it again when there is"):
        world.claiming().run()
    assert world.amazon.asked == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--claim-certificate": "nowhere.pem"}, "nowhere.pem: No such file or directory"),
        ({"--claim-key": "other.key.pem"}, "claim.cert.pem is not for the key other.key.pem"),
        ({"--endpoint": None}, "--endpoint: dev-1 is not provisioned in"),
    ],
    ids=["no certificate", "another key", "no endpoint"],
)
def test_input_that_cannot_be_is_told_in_one_line(world, tmp_path, monkeypatch, capsys, change, said):
    monkeypatch.chdir(tmp_path)
    issue("claim").write(tmp_path, "claim")
    issue("other").write(tmp_path, "other")
    given = {
        "--thing-name": THING, "--directory": world.directory, "--endpoint": "iot.example.com",
        "--template": "fleet-claim", "--claim-certificate": "claim.cert.pem", "--claim-key": "claim.key.pem", **change,
    }  # fmt: skip
    words = [str(word) for pair in given.items() if pair[1] is not None for word in pair]
    assert main(["device", "claim", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
