# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device does with each answer of the provisioning API, in both protocols, and wherever it loses its power."""

from __future__ import annotations

import datetime
import errno
import io
import itertools
import json
import logging
import os
import re
import shutil
import sys
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from iotops.cli import main
from iotops.device import files, home
from iotops.device.credentials import FileCredentials
from iotops.device.errors import Denied, DeviceError, Failed, NotNow
from iotops.device.home import Home
from iotops.device.https import Api as Client
from iotops.device.protocols import PROTOCOLS
from iotops.device.provisioning import Provisioning, Wish
from tests.certificates import issue, new_key
from tests.unit.device_program.api import ADDRESS, REGION, SERVER_NAME, Api, serve
from tests.unit.device_program.cloud import AUTHORITY, ROOT, THING, FakeClock, Power, PowerCut, Requested, let_power_go

SHARED = new_key("rsa")
OWN = ["dev-1.cert.pem", "dev-1.csr.pem", "dev-1.endpoint", "dev-1.key.pem", "dev-1.pub.pem", "dev-1.server.json"]


class World:
    """A device that is not provisioned, and an API that lists it."""

    def __init__(self, directory, api, url):
        self.directory, self.api, self.url, self.clock = directory, api, url, FakeClock()
        self.steps = []
        self.restart()

    def restart(self):
        """Nothing was done before."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        (self.directory / "root.cert.pem").write_text(ROOT.pem)
        self.shared = self.directory.with_name("shared.pem")
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.shared.write_bytes(SHARED.private_bytes(serialization.Encoding.PEM, form, plain))
        self.api.claims.clear()
        self.api.asked.clear()
        self.api.listed = {"": SHARED.public_key()}

    def provisioning(self, protocol="v1", **wish):
        """A provisioning of this device."""
        client = Client(self.url, PROTOCOLS[protocol].path)
        if protocol == "s2":
            wish = {"signing_key": self.shared, **wish}
        return Provisioning(
            FileCredentials(self.directory, THING),
            Wish(protocol=PROTOCOLS[protocol], **wish),
            client.post,
            step=self.steps.append,
            clock=self.clock,
        )

    def listed(self):
        """The key that the device has is on the list: it was made in the factory."""
        key = new_key()
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path = self.directory / f"{THING}.key.pem"
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
        path.chmod(0o600)
        self.api.listed[THING] = key.public_key()
        return self

    @property
    def names(self):
        """What is in the directory."""
        return sorted(path.name for path in self.directory.iterdir() if path.name != "root.cert.pem")

    def command(self, *arguments, protocol="v1"):
        """The exit code of the program."""
        every = ["--thing-name", THING, "--directory", str(self.directory), "--url", self.url, "--protocol", protocol]
        return main(["device", "provision", *every, *map(str, arguments)])


@pytest.fixture
def world(tmp_path):
    api = Api()
    server, url = serve(api)
    yield World(tmp_path / "device", api, url)
    server.shutdown()
    server.server_close()


def provisioned(world):
    """The device has what the API has claimed for it, and can connect with it."""
    _public, issued, _private = world.api.claims[THING]
    credentials = FileCredentials(world.directory, THING)
    credentials.check()
    assert credentials.certificate_id() == issued.fingerprint
    assert (world.directory / f"{THING}.endpoint").read_text() == f"{ADDRESS}::{REGION}"
    assert (world.directory / f"{THING}.key.pem").stat().st_mode & 0o777 == 0o600


def test_our_protocol_with_the_devices_own_key(world):
    world.listed()
    assert world.provisioning().run() == Home(ADDRESS, REGION, SERVER_NAME)
    provisioned(world)
    assert world.names == OWN
    assert home.read(world.directory, THING) == Home(ADDRESS, REGION, SERVER_NAME)
    assert (world.directory / f"{THING}.cert.pem").read_text().endswith(AUTHORITY.pem)
    ((path, body),) = world.api.asked
    assert path == "/v1/device-provisioning"
    assert body.keys() == {"thingName", "nonce", "timestamp", "csr", "signature"}
    assert re.fullmatch("[A-Za-z0-9_-]{22,64}", body["nonce"])


def test_a_device_that_is_not_listed_is_told_which_key_to_list_and_goes_on_with_it(world, capsys):
    assert world.command() == 3
    said = capsys.readouterr().err
    assert said.endswith(
        "refused: 401 NotAuthorized: not authorized; has its public key been put on the list?"
        f" It is in {world.directory}/dev-1.pub.pem\n"
    )
    key = serialization.load_pem_public_key((world.directory / "dev-1.pub.pem").read_bytes())
    world.api.listed[THING] = key
    assert world.command() == 0
    provisioned(world)


@pytest.mark.parametrize("kind", ["rsa", "ec", "ec384", "ed25519"])
def test_a_signing_key_of_each_kind(world, kind, tmp_path):
    key = {"ec384": lambda: ec.generate_private_key(ec.SECP384R1()), "ed25519": ed25519.Ed25519PrivateKey.generate}.get(
        kind, lambda: new_key(kind)
    )()
    world.api.listed[THING] = key.public_key()
    path = tmp_path / "signing.pem"
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    world.provisioning(signing_key=path, key_type="ec384").run()
    provisioned(world)
    held = serialization.load_pem_private_key((world.directory / f"{THING}.key.pem").read_bytes(), None)
    assert held.curve.key_size == 384


@pytest.mark.parametrize("protocol", ["v1", "s2"])
def test_a_key_that_the_cloud_makes(world, protocol):
    world.api.listed[THING] = SHARED.public_key()
    world.provisioning(protocol, signing_key=world.shared, cloud_key=True).run()
    provisioned(world)
    assert world.names == [name for name in OWN if not name.startswith(("dev-1.csr", "dev-1.pub"))]
    ((_path, body),) = world.api.asked
    assert not {"csr", "CSR"} & body.keys()


def test_the_protocol_of_the_predecessor(world):
    """Its files are as other programs read them; it knows no other name for the server."""
    assert world.provisioning("s2").run() == Home(ADDRESS, REGION, ADDRESS)
    provisioned(world)
    endpoint, region = (world.directory / f"{THING}.endpoint").read_text().split("::")
    assert (endpoint, region) == (ADDRESS, REGION)
    ((path, body),) = world.api.asked
    assert path == "/test/device-provisioning"
    assert body.keys() == {"thing-name", "thing-name-sig", "CSR"}


@pytest.mark.parametrize("protocol", ["v1", "s2"])
def test_a_second_start_goes_on_at_once(world, protocol):
    world.listed().provisioning(protocol).run()
    before = {path.name: path.stat().st_mtime_ns for path in world.directory.iterdir()}
    again = world.provisioning(protocol).run()
    assert again.region == REGION
    assert len(world.api.asked) == 1
    assert before == {path.name: path.stat().st_mtime_ns for path in world.directory.iterdir()}


@pytest.mark.parametrize("protocol", ["v1", "s2"])
@pytest.mark.parametrize("key", ["own", "cloud"])
def test_a_wrong_signature_is_refused_and_leaves_nothing(world, protocol, key, capsys):
    world.api.listed[THING] = SHARED.public_key()
    arguments = ["--forge", "--signing-key", world.shared, "--key", key]
    assert world.command(*arguments, protocol=protocol) == 3
    said = {"v1": "refused: 401 NotAuthorized: not authorized", "s2": "refused: wrong sig"}[protocol]
    assert capsys.readouterr().err.splitlines()[-1] == f"iotops: {said}"
    assert world.names == [".lock"]
    assert not world.api.claims


def test_a_wrong_signature_that_is_accepted_is_an_alarm(world):
    world.api.scripted.append(granted())
    with pytest.raises(Failed, match="accepted a wrong signature"):
        world.provisioning("s2").forge()
    assert world.names == []


def granted(**changes):
    """An answer of S2 that grants."""
    body = {"status": "success", "endpointAddress": ADDRESS, "certificatePem": OTHER.pem, "region": REGION, **changes}
    return 200, {}, {name: value for name, value in body.items() if value is not None}


OTHER = issue(THING, signer=AUTHORITY)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "InvalidRequest"), (401, "NotAuthorized"), (403, "NotAllowed"), (409, "AlreadyProvisioned"),
        (413, "TooLarge"), (422, "NameDiffers"), (422, "KeyUnsuitable"), (451, "NoRegionAllowed"),
        (401, "ClockDiffers"),
    ],
)  # fmt: skip
def test_a_refusal_of_our_protocol_is_one_line(world, capsys, status, code):
    world.api.scripted.append((status, {}, {"code": code, "message": "because\nof \u001b[31mthis"}))
    assert world.listed().command("--signing-key", world.shared) == 3
    assert capsys.readouterr().err.splitlines()[-1] == f"iotops: refused: {status} {code}: because of [31mthis"
    assert len(world.api.asked) == 1


@pytest.mark.parametrize("message", ["invalid request", "no thing name", "no sig", "wrong sig", "you not"])
def test_a_refusal_of_the_predecessor_is_one_line(world, capsys, message):
    world.api.scripted.append((200, {}, {"status": "error", "message": message}))
    assert world.command("--signing-key", world.shared, protocol="s2") == 3
    assert capsys.readouterr().err.splitlines()[-1] == f"iotops: refused: {message}"
    assert len(world.api.asked) == 1


IN_PROGRESS = (409, {"Retry-After": "7"}, {"code": "InProgress", "message": "another key"})
REPLAYED = (409, {}, {"code": "Replayed", "message": "seen before"})
BUSY = [
    ((503, {"Retry-After": "30"}, {"code": "Unavailable", "message": "no healthy region"}), 30),
    ((429, {}, {"message": "Too Many Requests"}), 1),
    ((503, {"Retry-After": "soon"}, b"<html>"), 1),
    ((504, {}, {"message": "Endpoint request timed out"}), 1),
    (ConnectionError(), 1),
]


@pytest.mark.parametrize(
    ("protocol", "answer", "least"),
    [
        ("v1", IN_PROGRESS, 7),
        ("v1", REPLAYED, 1),
        ("s2", (200, {}, {"status": "error", "message": "no location"}), 1),
        *((protocol, *each) for protocol in ("v1", "s2") for each in BUSY),
    ],
)
def test_later_is_asked_again_with_another_nonce(world, protocol, answer, least):
    world.api.scripted += [answer, answer]
    world.listed().provisioning(protocol).run()
    provisioned(world)
    assert len(world.api.asked) == 3
    assert all(least <= wait <= least * 1.25 + 4 for wait in world.clock.waits)
    if protocol == "v1":
        assert len({body["nonce"] for _path, body in world.api.asked}) == 3
    assert len({body.get("csr") or body.get("CSR") for _path, body in world.api.asked}) == 1


def test_later_is_asked_again_ever_later_and_at_last_given_up(world):
    world.api.scripted += [(503, {}, {"code": "Unavailable", "message": "busy"})] * 40
    with pytest.raises(NotNow, match="no answer for 600 s; last: 503 Unavailable: busy"):
        world.listed().provisioning().run()
    assert 600 - 60 <= sum(world.clock.waits) <= 600
    assert max(world.clock.waits) > 8
    world.api.scripted.clear()
    world.provisioning().run()
    provisioned(world)


def test_a_retry_after_beyond_what_the_device_waits_is_given_up_at_once(world):
    world.api.scripted.append((503, {"Retry-After": "3600"}, {"code": "Unavailable", "message": "busy"}))
    with pytest.raises(NotNow):
        world.listed().provisioning().run()
    assert world.clock.waits == []


def test_nobody_there(world):
    world.url = "http://127.0.0.1:9"
    with pytest.raises(NotNow, match=r"http://127\.0\.0\.1:9/v1/device-provisioning: .*refused"):
        world.listed().provisioning(give_up=5).run()


def test_a_wrong_clock_goes_by_that_of_the_api(world, caplog):
    world.api.seconds_ahead = 20 * 365 * 86400
    with caplog.at_level(logging.WARNING):
        world.listed().provisioning().run()
    provisioned(world)
    first, second = (body for _path, body in world.api.asked)
    assert second["timestamp"] - first["timestamp"] >= world.api.seconds_ahead
    assert first["nonce"] != second["nonce"]
    assert "the clock of this device is -6307200" in caplog.text


def test_an_api_that_does_not_keep_to_its_own_time(world):
    world.api.scripted += [(401, {}, {"code": "ClockDiffers", "message": "no", "serverTime": 5})] * 2
    with pytest.raises(Denied, match="which it told itself is wrong"):
        world.listed().provisioning().run()


FOREIGN = issue("Other Root", ca=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"certificatePem": None}, "it has no certificatePem"),
        ({"certificatePem": 5}, "it has no certificatePem"),
        ({"certificatePem": "nonsense"}, "it is not a PEM certificate"),
        ({"certificatePem": OTHER.pem}, "it is for another key"),
        ({"endpointAddress": "a b"}, "address 'a b' is none"),
        ({"endpointAddress": None}, "it has no endpointAddress"),
        ({"region": "eu-west-1\n"}, "region 'eu-west-1\\n' is none"),
        ({"serverName": None}, "it has no serverName"),
        ({"port": 70000}, "port 70000 is none"),
        ({"port": "8883"}, "port '8883' is none"),
    ],
)
def test_an_answer_that_is_of_no_use_leaves_nothing(world, changes, said):
    real = world.api.v1

    def changed(body):
        status, headers, answer = real(body)
        return status, headers, {name: value for name, value in {**answer, **changes}.items() if value is not None}

    world.api.v1 = changed
    with pytest.raises(Denied) as error:
        world.listed().provisioning().run()
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert world.names == ["dev-1.csr.pem", "dev-1.key.pem", "dev-1.pub.pem"]
    world.api.v1 = real
    world.provisioning().run()
    provisioned(world)


def test_a_certificate_for_another_name_and_one_of_another_root(world):
    world.listed()
    real = world.api.claim
    world.api.claim = lambda _name, csr: real("dev-2", csr)
    with pytest.raises(Denied, match="it is for CN=dev-2"):
        world.provisioning().run()
    authority = issue("Another CA", ca=True, signer=FOREIGN)
    world.api.claim = lambda name, csr: (issue(name, signer=authority, key=Requested(csr)), "")
    world.api.chain = authority.pem
    with pytest.raises(Denied, match="its issuers do not lead to the root"):
        world.provisioning().run()


@pytest.mark.parametrize("key", [None, "nonsense", new_key()])
def test_a_cloud_key_that_does_not_fit_is_not_kept(world, key):
    pem = issue(THING, key=key).key_pem() if key and key != "nonsense" else key
    world.api.scripted.append(granted(PrivateKey=pem))
    with pytest.raises(Denied):
        world.provisioning("s2", cloud_key=True).run()
    assert world.names == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{" * 300_000, json.dumps("x" * 300_000).encode()])
@pytest.mark.parametrize("protocol", ["v1", "s2"])
def test_an_answer_that_is_no_json_object(world, protocol, body):
    world.api.scripted.append((200, {}, body))
    with pytest.raises(Denied):
        world.listed().provisioning(protocol).run()


def test_a_redirection_is_not_followed(world):
    world.api.scripted.append((307, {"Location": f"{world.url}/elsewhere"}, {}))
    with pytest.raises(Denied, match="307"):
        world.listed().provisioning().run()
    assert len(world.api.asked) == 1


def test_settings_of_a_proxy_are_not_followed_unless_asked(world, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert world.listed().command("--proxy", "--give-up", "0.1") == 4
    assert world.command() == 0


@pytest.mark.parametrize("protocol", ["v1", "s2"])
def test_power_is_lost_at_any_moment(world, monkeypatch, protocol):
    """Started again the device has the certificate that the API has claimed for it: there is only one."""
    power = Power()
    let_power_go(SimpleNamespace(cloud=SimpleNamespace(power=power)), monkeypatch)
    for after in itertools.count():
        power.left = None
        world.restart()
        world.listed()
        if protocol == "s2":
            (world.directory / f"{THING}.key.pem").unlink()
        power.left = after
        try:
            drawing(world.provisioning(protocol), power).run()
        except PowerCut:
            power.left = None
            world.provisioning(protocol).run()
        else:
            break
        provisioned(world)
        assert world.names == OWN
        assert len({body.get("csr") or body.get("CSR") for _path, body in world.api.asked}) == 1
    assert after > 8


def test_power_is_lost_with_a_key_of_the_cloud(world, monkeypatch):
    """It is in the answer only: from the moment that it is there, it is not lost."""
    power = Power()
    let_power_go(SimpleNamespace(cloud=SimpleNamespace(power=power)), monkeypatch)
    for after in itertools.count():
        power.left = None
        world.restart()
        power.left = after
        try:
            drawing(world.provisioning("s2", cloud_key=True), power).run()
        except PowerCut:
            power.left, kept = None, (world.directory / f"{THING}.answer.json").exists()
            asked = len(world.api.asked)
            world.provisioning("s2", cloud_key=True).run()
            assert len(world.api.asked) - asked in ((0,) if kept and asked else (0, 1))
        else:
            break
        provisioned(world)
    assert after > 6


def drawing(provisioning, power):
    """A provisioning whose request and answer draw power."""
    post = provisioning._post

    def draws(body):
        power.draw()
        answer = post(body)
        power.draw()
        return answer

    provisioning._post = draws
    return provisioning


@pytest.mark.parametrize(
    "full", ["key.pem", "pub.pem", "csr.pem", "answer.json", "cert.pem", "server.json", "endpoint"]
)
def test_a_full_disk_is_one_line_and_provisioned_when_there_is_room(world, monkeypatch, full):
    real = files.write

    def write(path, data, **options):
        if path.name == f"{THING}.{full}":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data, **options)

    monkeypatch.setattr(files, "write", write)
    with pytest.raises(DeviceError) as error:
        world.provisioning("s2").run()
    path = world.directory / f"{THING}.{full}"
    assert str(error.value) == f"{path}: No space left on device: provision it again when there is room"
    assert home.read(world.directory, THING) is None
    monkeypatch.setattr(files, "write", real)
    world.provisioning("s2").run()
    provisioned(world)


@pytest.mark.parametrize("kind", ["key.pem", "csr.pem", "cert.pem"])
def test_what_somebody_else_left_there_is_not_believed(world, kind):
    (world.directory / f"{THING}.{kind}").write_text("nonsense")
    if kind == "key.pem":
        with pytest.raises(DeviceError, match=r"dev-1\.key\.pem is not a PEM private key: restore it"):
            world.provisioning("s2").run()
    else:
        world.provisioning("s2").run()
        provisioned(world)


def test_a_pair_that_is_damaged_later_is_not_silently_replaced(world):
    world.provisioning("s2").run()
    (world.directory / f"{THING}.cert.pem").write_text(OTHER.pem)
    with pytest.raises(DeviceError, match="is not for the key"):
        world.provisioning("s2").run()


def test_a_key_that_is_there_is_not_replaced_by_one_of_the_cloud(world):
    before = (world.listed().directory / f"{THING}.key.pem").read_text()
    with pytest.raises(DeviceError, match="is there already: move it away, or give --key own"):
        world.provisioning("s2", cloud_key=True).run()
    assert (world.directory / f"{THING}.key.pem").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "http://api.example.com"], "--url http://api.example.com: http is for loopback only: give https"),
        (["--url", "ftp://127.0.0.1"], "--url 'ftp://127.0.0.1': give https://<host>"),
        (["--url", "https://"], "--url 'https://': give https://<host>"),
        (["--url", "https://[::1"], "--url 'https://[::1': Invalid IPv6 URL"),
        (["--url", "https://u:secret@example.com"], "--url: it holds a user or a password: the API knows none"),
        (["--protocol", "s2"], "--protocol s2: give the key that all devices share as --signing-key"),
        (["--key", "cloud"], "--key cloud: the device has no key of its own to sign with: give --signing-key"),
        (["--signing-key", "/none"], "/none: No such file or directory: put the private key (PEM) there"),
        (["--https-root", "/none"], "--https-root /none: No such file or directory: give a root certificate (PEM)"),
        (["--thing-name", "a/b"], "--thing-name 'a/b': 1 to 64 of a-z A-Z 0-9 : _ - are a name"),
        (["--give-up", "x"], "--give-up x: give 0.1 seconds or more"),
    ],
)
def test_bad_input_is_one_line(world, capsys, arguments, said):
    assert world.command(*arguments) == 2
    output = capsys.readouterr()
    assert [line for line in output.err.splitlines() if line.startswith("iotops:")] == [f"iotops: {said}"]
    assert not world.api.asked


def test_without_a_root_nothing_is_asked_for(world, capsys):
    (world.directory / "root.cert.pem").unlink()
    assert world.command() == 2
    assert "root.cert.pem: No such file or directory" in capsys.readouterr().err
    assert not world.api.asked


def test_step_by_step_it_waits_for_enter_and_says_what_comes(world, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n" * 4))
    assert world.command("--interactive", "--signing-key", world.shared, protocol="s2") == 0
    said = capsys.readouterr().out.split("Press Enter. ")
    beginnings = [
        "Next: make a key",
        "Next: make a certificate request",
        "Next: ask the API",
        "Next: see that the cert",
    ]
    assert [text[: len(beginning)] for text, beginning in zip(said, beginnings, strict=False)] == beginnings
    assert len(said) == 5
    provisioned(world)


def test_step_by_step_with_nobody_there_is_one_line_and_can_be_gone_on_with(world, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert world.command("--interactive", "--signing-key", world.shared, protocol="s2") == 2
    assert "there is nobody to press Enter" in capsys.readouterr().err
    assert world.command("--signing-key", world.shared, protocol="s2") == 0
    provisioned(world)


@pytest.mark.parametrize("key", ["own", "cloud"])
def test_no_secret_is_logged(world, caplog, key):
    world.api.listed[THING] = SHARED.public_key()
    with caplog.at_level(logging.DEBUG):
        assert world.command("--signing-key", world.shared, "--key", key) == 0
    held = (world.directory / f"{THING}.key.pem").read_text().splitlines()[1]
    assert "PRIVATE" not in caplog.text
    assert held not in caplog.text
    assert "provisioned: eu-west-1 12 km away" in caplog.text


@pytest.fixture
def over_tls(tmp_path):
    """Ask a server with a certificate over HTTPS, trusting a root; how that ends."""
    servers = []

    def ask(issued, root=ROOT, **options):
        issued.write(tmp_path, "server")
        server, url = serve(Api(), (tmp_path / "server.cert.pem", tmp_path / "server.key.pem"))
        servers.append(server)
        (tmp_path / "https.pem").write_text(root.pem)
        url = url.replace("127.0.0.1", "localhost")
        world = World(tmp_path / "device", Api(), url)
        client = Client(url, "/v1/device-provisioning", root=tmp_path / "https.pem", **options)
        provisioning = world.provisioning(give_up=1, signing_key=world.shared)
        provisioning._post = client.post
        with pytest.raises((NotNow, Denied)) as error:
            provisioning.run()
        return str(error.value)

    yield ask
    for server in servers:
        server.shutdown()
        server.server_close()


def localhost(**changes):
    """A server's certificate."""
    return issue("localhost", **{"signer": ROOT, "names": ["localhost"], "server": True, **changes})


YEARS = datetime.timedelta(days=3650)
REACHED = "NotAuthorized"


@pytest.mark.parametrize("slow_clock", [True, False])
def test_https_is_verified(over_tls, slow_clock):
    assert REACHED in over_tls(localhost(), slow_clock=slow_clock)
    assert "unable to get local issuer certificate" in over_tls(localhost(), FOREIGN, slow_clock=slow_clock)
    assert "Hostname mismatch" in over_tls(localhost(names=["example.com"]), slow_clock=slow_clock)
    said = over_tls(localhost(start=-YEARS), slow_clock=slow_clock)
    assert re.search("certificate has expired; the clock of this device says 20..-..-..T..:..:..\\+00:00: set it", said)


def test_a_clock_that_is_years_slow_goes_on_with_a_server_that_is_right_otherwise(over_tls, caplog):
    """Unless the answer would hold the key: the command says which."""
    late = localhost(start=YEARS)
    assert "certificate is not yet valid; the clock" in over_tls(late)
    assert REACHED in over_tls(late, slow_clock=True)
    assert "going on all the same" in caplog.text
    assert "Hostname mismatch" in over_tls(localhost(start=YEARS, names=["example.com"]), slow_clock=True)
    assert "unable to get local issuer" in over_tls(late, FOREIGN, slow_clock=True)
