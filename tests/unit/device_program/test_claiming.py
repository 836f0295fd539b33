# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device does with each answer to a claim, and wherever it loses its power."""

from __future__ import annotations

import errno
import itertools
import json
import math
import shutil
from types import SimpleNamespace

import pytest

from iotops.cli import main
from iotops.device import files
from iotops.device.claiming import CREATE, Claiming, Wish
from iotops.device.claiming_command import client_id
from iotops.device.connection import Connection, Endpoint
from iotops.device.credentials import FileCredentials
from iotops.device.errors import Denied, DeviceError, Lost, NotNow, Refused, Unreachable
from iotops.device.home import Home
from tests.certificates import issue
from tests.unit.device_program.cloud import AUTHORITY, ROOT, THING, FakeClock, Power, PowerCut, Requested, let_power_go

PROVISION = "$aws/provisioning-templates/fleet-claim/provision/json"
HOUR = 3600
BEGINNING = -HOUR  # there is time for a token to end in what a FakeClock has
REGIONS = ("eu-west-1", "us-west-2")
LEFT = [f"{THING}.{kind}" for kind in ("cert.pem", "csr.pem", "endpoint", "key.pem", "pub.pem", "server.json")]
BUSY = {"statusCode": 429, "errorCode": "Throttled", "errorMessage": "too much"}
NO = {"statusCode": 403, "errorCode": "AccessDenied", "errorMessage": "Access Denied"}


class Amazon:
    """AWS IoT's side in two regions: what each granted, and to whom the name went."""

    def __init__(self, clock, power):
        self.clock, self.power = clock, power
        self.granted = {}  # token -> (PEM, when, region)
        self.active = []  # PEMs
        self.known_in = {*REGIONS}  # where an active certificate can connect
        self.nearest = REGIONS[0]  # where the fleet's name leads to
        self.away = set()
        self.says = []  # answers to come instead of its own: "" is silence, an exception is raised
        self.asked = []

    def reach(self, endpoint):
        """The region that is dialled.

        Raises:
            Unreachable: it is away.

        """
        self.power.draw()
        region = endpoint.host if endpoint else self.nearest
        if region in self.away:
            raise Unreachable(region)
        return region

    def answer(self, region, topic, payload):
        """Kind and payload, None for silence."""
        self.asked.append(topic)
        if self.says and (said := self.says.pop(0)) is not None:
            if isinstance(said, Exception):
                raise said
            return ("rejected", said) if said else None
        if topic == CREATE:
            made = issue("AWS IoT Certificate", signer=AUTHORITY, key=Requested(payload["certificateSigningRequest"]))
            token = f"token-{len(self.granted)}"
            self.granted[token] = (made.pem, self.clock.now(), region)
            return "accepted", {"certificatePem": made.pem, "certificateOwnershipToken": token, "certificateId": "x"}
        pem, since, where = self.granted.get(payload["certificateOwnershipToken"], ("", -math.inf, ""))
        if self.clock.now() - since >= HOUR or where != region:
            return "rejected", {"statusCode": 400, "errorCode": "InvalidCertificateOwnershipToken"}
        assert payload["parameters"] == {"SerialNumber": THING}
        if self.active not in ([], [pem]):
            return "rejected", NO
        self.active = [pem]
        return "accepted", {"thingName": THING, "deviceConfiguration": {"region": region}}


class Claimed(Connection):
    """A connection with the claim certificate, to an endpoint or wherever the name leads."""

    def __init__(self, amazon, endpoint):
        self.amazon, self.endpoint, self.filters, self.inbox = amazon, endpoint, [], []
        self.region = None

    def connect(self, timeout):
        self.region = self.amazon.reach(self.endpoint)

    @property
    def peer(self):
        return Endpoint(self.region, 8883, "iot.example.com")

    def subscribe(self, filters, timeout):
        self.filters += filters

    def publish(self, topic, payload, timeout):
        self.amazon.power.draw()
        answer = self.amazon.answer(self.region, topic, json.loads(payload))
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

    def __init__(self, amazon, endpoint, credentials):
        super().__init__(amazon, endpoint)
        self.credentials = credentials

    def connect(self, timeout):
        super().connect(timeout)
        pem = self.credentials.pair("current").certificate.read_text()
        if pem not in self.amazon.active or self.region not in self.amazon.known_in:
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
        self.clock.time = float(BEGINNING)

    def claiming(self, **wish):
        credentials = FileCredentials(self.directory, THING)
        wanted = Wish(template="fleet-claim", endpoint=Endpoint.parse("iot.example.com", "127.0.0.1:8883"), **wish)
        own = lambda peer: Own(self.amazon, peer, credentials)  # noqa: E731
        return Claiming(credentials, wanted, lambda peer: Claimed(self.amazon, peer), own, clock=self.clock)

    def later(self, seconds):
        """Let time pass for the device and its tokens."""
        self.clock.time += seconds

    def without_answer(self):
        """Let the device be registered, and lose its power before it hears of it."""
        real = self.amazon.answer

        def lost(region, topic, payload):
            answer = real(region, topic, payload)
            if topic == PROVISION:
                raise PowerCut
            return answer

        self.amazon.answer = lost
        with pytest.raises(PowerCut):
            self.claiming().run()
        self.amazon.answer = real

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
        world.claiming(give_up=1).run()
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
def test_a_no_may_be_a_yes_later_since_nobody_could_say(world, before):
    """AWS IoT says AccessDenied too when the function that decides cannot ask its region."""
    world.amazon.says = [None] * before + [NO] * 3
    world.claiming().run()
    assert len(world.amazon.granted) == 1


@pytest.mark.parametrize("before", [0, 1], ids=["certificate", "name"])
def test_a_no_that_stays_is_told_and_the_next_run_asks_with_what_is_there(world, before):
    world.amazon.says = [None] * before + [NO]
    with pytest.raises(Denied, match="refused: 403 AccessDenied: Access Denied"):
        world.claiming(give_up=1).run()
    world.claiming().run()
    assert len(world.amazon.granted) == 1


def test_what_no_time_heals_is_told_at_once(world):
    world.amazon.says = [{"statusCode": 400, "errorCode": "InvalidParameters", "errorMessage": "no"}]
    with pytest.raises(Denied, match="refused: 400 InvalidParameters: no"):
        world.claiming().run()
    assert world.clock.waits == []


def test_a_device_that_nobody_answers_gives_up(world):
    world.amazon.says = [BUSY] * 999
    with pytest.raises(NotNow, match="not provisioned for 120 s; last: 429 Throttled: too much"):
        world.claiming(give_up=120).run()
    assert world.clock.time <= BEGINNING + 120


def test_a_token_that_ended_before_it_was_used_is_followed_by_another_certificate(world):
    world.amazon.says = [None, NO]
    with pytest.raises(Denied):
        world.claiming(give_up=1).run()
    world.later(HOUR)
    world.claiming().run()
    assert [world.certificate] == world.amazon.active == [world.amazon.granted["token-1"][0]]
    assert world.names == LEFT


def test_a_device_that_was_registered_and_has_missed_it_connects_when_the_token_has_ended(world):
    world.without_answer()
    world.later(HOUR)
    assert world.claiming().run() == Home("iot.example.com", "unknown", "iot.example.com")
    assert [world.certificate] == world.amazon.active
    assert world.names == LEFT


# --- another region, which does not know the token


def test_a_device_goes_on_in_the_region_that_granted_the_token_wherever_the_name_leads_by_now(world):
    world.amazon.says = [None, BUSY]
    with pytest.raises(NotNow):
        world.claiming(give_up=1).run()
    world.amazon.nearest = "us-west-2"
    assert world.claiming().run().region == "eu-west-1"
    assert len(world.amazon.granted) == 1


@pytest.mark.parametrize("registered", [False, True])
def test_while_the_hour_lasts_no_other_region_makes_a_device_forget_what_it_was_granted(world, registered):
    """Its name was given to that certificate: with another one it would be denied for ever."""
    world.amazon.known_in = {"eu-west-1"}
    if registered:
        world.without_answer()
    else:
        world.amazon.says = [None, NO]
        with pytest.raises(Denied):
            world.claiming(give_up=1).run()
    kept = (world.directory / f"{THING}.claim.json").read_bytes()
    world.amazon.nearest, world.amazon.away = "us-west-2", {"eu-west-1"}
    with pytest.raises(NotNow, match="not provisioned for 1200 s; last: "):
        world.claiming(give_up=1200).run()
    assert (world.directory / f"{THING}.claim.json").read_bytes() == kept
    assert not (world.directory / f"{THING}.endpoint").exists()
    world.amazon.away = set()
    assert world.claiming().run().region == "eu-west-1"
    assert [world.certificate] == world.amazon.active == [world.amazon.granted["token-0"][0]]


def test_a_device_that_was_registered_is_let_in_by_another_region_too(world):
    world.without_answer()
    world.amazon.nearest, world.amazon.away = "us-west-2", {"eu-west-1"}
    assert world.claiming().run().region == "unknown"
    assert [world.certificate] == world.amazon.active
    assert len(world.amazon.granted) == 1


def test_a_device_whose_region_is_lost_asks_elsewhere_when_the_hour_is_over(world):
    world.amazon.says = [None, NO]
    with pytest.raises(Denied):
        world.claiming(give_up=1).run()
    world.amazon.nearest, world.amazon.away = "us-west-2", {"eu-west-1"}
    world.later(HOUR)
    assert world.claiming().run().region == "us-west-2"
    assert [world.certificate] == world.amazon.active == [world.amazon.granted["token-1"][0]]
    assert world.names == LEFT


@pytest.mark.parametrize("name", ["dev-1", "x" * 122, "x" * 123, "x" * 128])
def test_a_device_asks_under_a_client_id_that_aws_iot_takes_and_no_thing_can_have(name):
    asks_as = client_id(name)
    assert asks_as.startswith("claim.")
    assert len(asks_as) <= 128
    assert asks_as != client_id(name[:-1] + "y"), "another device's"


@pytest.mark.parametrize("pem", ["nonsense", issue(THING, signer=AUTHORITY).pem], ids=["none", "of another key"])
def test_a_certificate_that_is_of_no_use_is_not_kept(world, pem):
    real = world.amazon.answer
    world.amazon.answer = lambda *asked: (
        "accepted", {**real(*asked)[1], "certificatePem": pem}
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
