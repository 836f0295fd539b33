# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device outlives: its broker, its region, a full disk, its own certificate; and how it ends when it must."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from iotops.device import Device, Endpoint, FileCredentials, Pace, Patience, dialer
from iotops.sandbox.client import Sandbox
from tests.integration.conftest import REGIONS
from tests.integration.deployment import Deployment, eventually
from tests.integration.device_program import ROOT, SERVER_NAME, Program, give_job, prepare
from tests.integration.features import rotation
from tests.integration.sandbox.mqtt import issue
from tests.unit.device_program.api import Api, serve

HOME, AWAY = REGIONS
TELEMETRY = ("--telemetry", 0.2)
# Mounts a small disk over the directory $0, fills it from $1, and runs the rest there.
SMALL_DISK = 'mount -t tmpfs -o size=96k tmpfs "$0" && cp "$1"/* "$0" && shift && exec "$@"'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A fleet of its own: it is stopped and cut."""
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox")).start()
    deployment = Deployment(sandbox, tmp_path_factory.mktemp("fleet"), REGIONS)
    rotation.deploy(deployment, HOME, signer="function")
    yield deployment
    sandbox.stop()


@pytest.fixture
def joined(fleet, tmp_path, request):
    """A device that both regions know: its name, its directory, its certificate."""
    name = request.node.originalname.removeprefix("test_").replace("_", "-")[:60]
    issued = issue(name, fleet.ca)
    fleet.admit(issued, HOME)
    eventually(lambda: fleet.settled(AWAY, name))
    return name, prepare(fleet, tmp_path / "device", issued, name), issued


@pytest.fixture
def small_disk(tmp_path):
    """What starts a program whose directory is a full-able disk of its own: a private mount namespace."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no private mount namespace here (unshare -rm)")
    disk = tmp_path / "disk"
    disk.mkdir()
    return disk, ("unshare", "-rm", "sh", "-c", SMALL_DISK, disk, tmp_path / "device", sys.executable)


def address(fleet, region):
    return "--address", fleet.sandbox.regions[region]["mqtt"]


def stored(fleet, region, name):
    return len(fleet.messages(region, name))


def goes_on(fleet, region, name):
    """More messages of the device come to the region's table."""
    before = stored(fleet, region, name)
    eventually(lambda: stored(fleet, region, name) > before + 1)


def test_a_broker_that_is_restarted(fleet, joined):
    name, directory, _issued = joined
    program = Program(fleet, name, directory, *address(fleet, HOME), *TELEMETRY)
    program.says("connected with")
    goes_on(fleet, HOME, name)
    fleet.sandbox.stop()
    program.says("WARNING unreachable:")
    fleet.sandbox.start()
    goes_on(fleet, HOME, name)
    assert "Traceback" not in program.end()


def test_a_region_that_is_lost(fleet, joined):
    """The second address is another region; what it sends is in that region's table while the first one is away."""
    name, directory, _issued = joined
    program = Program(fleet, name, directory, *address(fleet, HOME), *address(fleet, AWAY), *TELEMETRY)
    program.says("connected with")
    goes_on(fleet, HOME, name)
    fleet.sandbox.cut(HOME)
    try:
        goes_on(fleet, AWAY, name)
    finally:
        fleet.sandbox.restore(HOME)
    program.end()
    eventually(lambda: stored(fleet, HOME, name) == stored(fleet, AWAY, name))


@pytest.mark.parametrize(
    ("start", "said"), [(3650, "certificate is not yet valid"), (-7300, "certificate has expired")]
)
def test_a_clock_that_is_years_off(fleet, tmp_path, start, said):
    """To a clock that is years slow the server's certificate is one of the future; to one that is fast, of the past."""
    name, issued = "clock", issue("clock", fleet.ca)
    directory = prepare(fleet, tmp_path / "device", issued, name)
    server = issue(SERVER_NAME, fleet.root, dns=(SERVER_NAME,), start=start, days=start + 3650)
    listener, url = serve(Api(), server.files(tmp_path))
    arguments = ("--address", url.removeprefix("https://"), "--message", "{}", "--give-up", 2)
    text = Program(fleet, name, directory, *arguments, command="publish").ended(4)
    listener.shutdown()
    listener.server_close()
    assert f"{SERVER_NAME}: {said}; the clock of this device says 20" in text


def test_a_full_disk_in_a_rotation(fleet, joined, small_disk):
    """The old pair works on, the job fails with the reason; with room again the next job succeeds."""
    name, _factory, issued = joined
    disk, prefix = small_disk
    program = Program(fleet, name, disk, *address(fleet, HOME), *TELEMETRY, prefix=prefix)
    program.says("connected with")
    inside = Path(f"/proc/{program.process.pid}/root{disk}")
    before = {path.name: path.read_bytes() for path in inside.iterdir()}
    fill(inside / "filler")
    status, reason = eventually(give_job(fleet, name), seconds=40)
    assert (status, reason.split(": ")[-1]) == ("FAILED", "No space left on device")
    goes_on(fleet, HOME, name)
    (inside / "filler").unlink()
    assert {path.name: path.read_bytes() for path in inside.iterdir()} == before
    assert eventually(give_job(fleet, name, "-2"), seconds=40) == ("SUCCEEDED", "")
    eventually(lambda: fleet.row(HOME, name)["CertificateId"] != issued.id)
    assert "Traceback" not in program.end()


def fill(path):
    """Leave no room on a disk."""
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def test_a_full_disk_while_it_is_provisioned(fleet, joined, small_disk, tmp_path):
    name, _factory, _issued = joined
    disk, (*start, _python) = small_disk
    for path in (tmp_path / "device").glob(f"{name}.*"):
        path.unlink()
    shared = tmp_path / "shared.pem"
    key = issue("shared")
    shared.write_text(key.key_pem)
    api = Api(listed={name: key.key.public_key()}, signer=fleet.ca, chain=fleet.ca.pem)
    server, url = serve(api)
    words = ["-m", "iotops", "device", "provision", "--thing-name", name, "--directory", disk, "--url", url]
    again = f'"$@"; echo "code $?"; ls -A {disk}; rm {disk}/filler; "$@"; echo "code $?"; ls -A {disk}'
    filled = f"head -c 1M /dev/zero > {disk}/filler; exec 2>&1; {again}"
    run = subprocess.run(
        [*map(str, start), "sh", "-c", filled, "sh", sys.executable, *map(str, words), "--signing-key", str(shared)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    said, full, room = run.stdout.split("code ")
    assert "Traceback" not in run.stdout, run.stdout + run.stderr
    assert "No space left on device: provision it again when there is room" in said
    assert full.split()[:4] == ["2", ".lock", "filler", "root.cert.pem"]
    assert {"0", f"{name}.cert.pem", f"{name}.endpoint", f"{name}.key.pem"} < set(room.split()), room


@pytest.mark.long  # in short: exit codes in tests/unit/device_program
def test_a_certificate_that_is_revoked(fleet, joined):
    """The device stops with a code of its own, also when it is started again; systemd can leave it alone then."""
    name, directory, issued = joined
    arguments = (*address(fleet, HOME), "--refused", 3)
    program = Program(fleet, name, directory, *arguments, *TELEMETRY)
    program.says("connected with")
    goes_on(fleet, HOME, name)
    fleet.sandbox.client("iot", HOME).update_certificate(certificateId=issued.id, newStatus="REVOKED")
    fleet.sandbox.client("iot-data", HOME).delete_connection(clientId=name)
    stops = f"certificate {issued.id} was accepted before and has been refused for 3 s (revoked?), the device stops"
    assert stops in program.ended(5)
    assert stops in Program(fleet, name, directory, *arguments).ended(5)


def test_a_new_device_that_is_refused_at_first_goes_on(fleet, tmp_path):
    name = "refused-at-first"
    directory = prepare(fleet, tmp_path / "device", issue(name, fleet.ca), name)
    program = Program(fleet, name, directory, *address(fleet, HOME), "--refused", 0.1)
    program.says("connected with")
    assert "WARNING refused" in program.end()


def test_a_rotation_while_it_publishes(fleet, joined):
    """Every message that was acknowledged is in the table, before, during and after the change of certificates."""
    name, directory, issued = joined
    acknowledged = []

    class Counting(Device):
        def send(self, message):
            if message.topic.endswith("/telemetry"):
                message.payload["number"] = message.payload.get("number", len(acknowledged))
            super().send(message)
            if message.topic.endswith("/telemetry"):
                acknowledged.append(message.payload["number"])

    credentials = FileCredentials(directory, name)
    endpoint = Endpoint.parse(SERVER_NAME, fleet.sandbox.regions[HOME]["mqtt"])
    device = Counting(
        credentials, dialer(credentials, endpoint), telemetry=0.02, pace=Pace(settle=0.5), patience=Patience(answer=60)
    )
    thread = threading.Thread(target=device.run)
    thread.start()
    eventually(lambda: len(acknowledged) > 20)
    assert eventually(give_job(fleet, name), seconds=40)[0] == "SUCCEEDED"
    after = len(acknowledged)
    eventually(lambda: len(acknowledged) > after + 20)
    device.stop()
    thread.join(30)
    assert credentials.certificate_id() != issued.id
    assert acknowledged == list(range(len(acknowledged)))

    def in_table():
        return {int(message["message"]["number"]) for message in fleet.messages(HOME, name)}

    eventually(lambda: in_table() >= set(acknowledged), seconds=30)


@pytest.mark.defect("S3-10")
def test_messages_by_hand_whatever_is_in_them(fleet, joined):
    """In a C locale and with an encoding that knows ASCII only."""
    name, directory, _issued = joined
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    message = '{"Größe": "日本 \U0001f600"}'
    publish = ("--message", message, "--count", 2, "--interval", 0.1)
    Program(fleet, name, directory, *address(fleet, HOME), *publish, command="publish", **plain).ended(0)
    found = eventually(lambda: fleet.messages(HOME, name) if stored(fleet, HOME, name) == 2 else None)
    assert [each["message"] for each in found] == [{"Größe": "日本 \U0001f600"}] * 2
    subscribe = ("--topic", f"e/{name}/#", "--count", 3)
    program = Program(fleet, name, directory, *address(fleet, HOME), *subscribe, command="subscribe", **plain)
    program.says("subscribed to")
    broker = fleet.sandbox.client("iot-data", HOME)
    for payload in ("Grüße".encode(), b"\xff\x00 \xfe", b"two\nlines\x1b[31m"):
        broker.publish(topic=f"e/{name}/said", qos=1, payload=payload)
    lines = program.ended(0).splitlines()
    assert lines[-3:] == [
        f"e/{name}/said Grüße", rf"e/{name}/said \xff\x00 \xfe", rf"e/{name}/said two\nlines\x1b[31m",
    ]  # fmt: skip


def test_a_reader_that_has_seen_enough(fleet, joined):
    """``iotops device subscribe | head -1`` ends without a complaint."""
    name, directory, _issued = joined
    log = directory.with_name("errors")
    words = ["-m", "iotops", "device", "subscribe", "--thing-name", name, "--directory", directory]
    where = ["--endpoint", SERVER_NAME, *address(fleet, HOME), "--topic", f"e/{name}/#"]
    with log.open("wb") as errors, subprocess.Popen(
        [sys.executable, *map(str, (*words, *where))],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE, stderr=errors,
    ) as process:  # fmt: skip
        eventually(lambda: "subscribed to" in log.read_text())
        broker = fleet.sandbox.client("iot-data", HOME)
        broker.publish(topic=f"e/{name}/said", qos=1, payload=b"one")
        assert process.stdout.readline() == f"e/{name}/said one\n".encode()
        process.stdout.close()
        broker.publish(topic=f"e/{name}/said", qos=1, payload=b"two")
        assert process.wait(20) == 130
    assert "Broken" not in log.read_text()
