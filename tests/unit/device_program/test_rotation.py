# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device does with each answer, and with none."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from iotops.device import files
from iotops.device.device import Device
from iotops.device.errors import DeviceError
from iotops.device.rotation import State, Step
from tests.certificates import issue, new_key
from tests.unit.device_program.cloud import AUTHORITY, OLD, PATIENCE, ROOT, THING, PowerCut, Requested, world

__all__ = ["world"]

JOB = "fleet-rotate-1"


def keeps_the_old_one(world, reason):
    """The job failed for a reason that was given over the old certificate, which is still in use; nothing is left."""
    assert world.cloud.status() == ("FAILED", reason)
    topic, _body, principal = next(each for each in world.cloud.said if each[0].endswith("/update"))
    assert (topic, principal) == (f"$aws/things/{THING}/jobs/{JOB}/update", OLD.fingerprint)
    assert world.held == OLD.fingerprint
    assert sorted(path.name for path in world.directory.iterdir()) == [
        "dev-1.accepted", "dev-1.cert.pem", "dev-1.key.pem", "root.cert.pem",
    ]  # fmt: skip


def test_a_rotation(world):
    world.cloud.give()
    world.run()
    assert world.held == world.cloud.current != OLD.fingerprint
    assert world.cloud.status() == ("SUCCEEDED", "")
    assert world.cloud.topics()[:4] == [
        "jobs/start-next", "certificate/create", "certificate/commit", f"jobs/{JOB}/update",
    ]  # fmt: skip
    principals = [principal for _topic, _body, principal in world.cloud.said[:4]]
    assert principals == [OLD.fingerprint] * 2 + [world.cloud.current] * 2
    (_first, _one), (second, _other) = world.cloud.connects
    assert second >= 2, "the first connection has to be gone"
    previous = world.directory / "previous"
    assert (previous / "dev-1.key.pem").read_text() == OLD.key_pem()
    assert [path.stat().st_mode & 0o777 for path in (world.directory / "dev-1.key.pem", previous)] == [0o600, 0o700]


def test_the_pair_before_the_previous_one_is_gone(world):
    for number in (1, 2):
        before = (world.directory / "dev-1.key.pem").read_text()
        world.cloud.give(f"fleet-rotate-{number}")
        world.run()
    assert world.cloud.certificates[world.held] == "fleet-rotate-2"
    assert (world.directory / "previous/dev-1.key.pem").read_text() == before


@pytest.mark.parametrize(
    ("wanted", "kind", "size"),
    [
        (None, ec.EllipticCurvePublicKey, 256),
        ("EC P-384", ec.EllipticCurvePublicKey, 384),
        ("rsa2048", rsa.RSAPublicKey, 2048),
    ],
)
def test_the_job_chooses_the_key(world, wanted, kind, size):
    world.cloud.give(keyType=wanted)
    world.run()
    key = next(Requested(body["csr"]).public_key() for _topic, body, _principal in world.cloud.said if "csr" in body)
    assert isinstance(key, kind)
    assert key.key_size == size


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"operation": "REBOOT"}, "operation 'REBOOT' is unknown here; known: ROTATE_CERTIFICATE"),
        ({}, "operation '' is unknown here; known: ROTATE_CERTIFICATE"),
        (["ROTATE_CERTIFICATE"], "operation '' is unknown here; known: ROTATE_CERTIFICATE"),
        (
            {"operation": "ROTATE_CERTIFICATE", "keyType": "dsa"},
            "keyType 'dsa' is none of ec256, ec384, rsa2048, rsa3072, rsa4096",
        ),
    ],
)
def test_a_job_that_is_none_of_its_own_is_rejected_and_the_next_one_done(world, document, reason):
    world.cloud.jobs["other"] = ["QUEUED", document, ""]
    world.cloud.give()
    world.run()
    assert world.cloud.status("other") == ("REJECTED", reason)
    assert world.cloud.status() == ("SUCCEEDED", "")


@pytest.mark.parametrize("code", ["InvalidRequest", "NameDiffers", "KeyUnsuitable", "NotActive", "UnknownJob"])
def test_a_rejected_request(world, code):
    def create(body, _principal):
        world.cloud.answer("create", "rejected", jobId=body["jobId"], code=code, message="because\nof this")

    world.cloud.create = create
    world.cloud.give()
    world.run()
    keeps_the_old_one(world, f"{code}: because of this")


def test_what_was_rotated_before_is_reported(world):
    world.cloud.certificates[OLD.fingerprint] = JOB
    world.cloud.give()
    world.run()
    assert world.cloud.status() == ("SUCCEEDED", "")
    assert world.held == OLD.fingerprint
    assert not (world.directory / "next").exists()


def another(**changes):
    return lambda body: (
        issue(**{"common_name": THING, "signer": AUTHORITY, "key": Requested(body["csr"]), **changes}).pem
    )


FOREIGN = issue("Other Root", ca=True)
FALSE_AUTHORITY = issue("Issuing CA", ca=True, signer=FOREIGN)


@pytest.mark.parametrize(
    ("pem", "problem"),
    [
        (lambda _body: "no certificate", "it is not a PEM certificate"),
        (another(key=new_key()), "it is for another key"),
        (another(common_name="dev-2"), "it is for CN=dev-2"),
        (lambda body: another(signer=FALSE_AUTHORITY)(body) + AUTHORITY.pem, "CN=Issuing CA has not signed it"),
        (
            lambda body: another(signer=FALSE_AUTHORITY)(body) + FALSE_AUTHORITY.pem,
            "its issuers do not lead to the root",
        ),
    ],
)
def test_a_certificate_that_is_not_for_it(world, pem, problem):
    def create(body, _principal):
        world.cloud.answer("create", "accepted", jobId=body["jobId"], certificateId="0", certificatePem=pem(body))

    world.cloud.create = create
    world.cloud.give()
    world.run()
    keeps_the_old_one(world, f"certificate refused by the device: {problem}")


@pytest.mark.parametrize("where", ["answer", "current certificate"])
def test_issuers_that_are_known_are_kept_with_the_certificate(world, where):
    certificate = world.directory / "dev-1.cert.pem"
    if where == "answer":
        real = world.cloud.sign
        world.cloud.sign = lambda csr, job: Chained(real(csr, job))
    else:
        certificate.write_text(OLD.pem + AUTHORITY.pem)
    world.cloud.give()
    world.run()
    assert world.cloud.status() == ("SUCCEEDED", "")
    assert certificate.read_text().endswith(AUTHORITY.pem)
    assert ROOT.pem not in certificate.read_text()


class Chained:
    """A certificate that is sent with its issuers."""

    def __init__(self, issued):
        self.fingerprint, self.pem = issued.fingerprint, issued.pem + AUTHORITY.pem + ROOT.pem


def test_a_certificate_that_is_signed_later(world):
    """The device asks again with the same request, also after it was switched off, and takes it when it comes."""
    asked = []

    def create(body, _principal):
        asked.append((world.cloud.clock.time, body["csr"]))
        world.cloud.answer("create", "pending", jobId=body["jobId"])
        if len(asked) == 3:
            device.stop()
        if len(asked) == 5:
            new = world.cloud.sign(body["csr"], body["jobId"])
            world.cloud.answer("create", "accepted", jobId=body["jobId"], certificatePem=new.pem)

    world.cloud.create = create
    world.cloud.give()
    device = world.device()
    device.run()
    assert len(asked) == 3
    world.run()
    assert world.cloud.status() == ("SUCCEEDED", "")
    assert len({csr for _time, csr in asked}) == 1
    pauses = [later[0] - earlier[0] for earlier, later in itertools.pairwise(asked[:3])]
    assert pauses == [PATIENCE.pending] * 2


def test_no_answer_at_all(world):
    answers = iter([False, True])
    real = world.cloud.create
    world.cloud.create = lambda *request: real(*request) if next(answers) else None
    world.cloud.give()
    world.run()
    assert world.cloud.status() == ("SUCCEEDED", "")
    assert world.cloud.topics().count("certificate/create") == 2


def test_a_new_certificate_that_is_refused(world):
    world.cloud.sign = lambda csr, _job: issue(THING, signer=AUTHORITY, key=Requested(csr))
    world.cloud.give()
    world.run()
    keeps_the_old_one(world, "the new certificate was refused 3 times: unknown certificate")
    times = [time for time, _principal in world.cloud.connects]
    assert len(times) == 5
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize("power", ["stays", "goes"])
@pytest.mark.parametrize("rotated", [True, False])
def test_a_commit_without_an_answer_may_have_been_heard(world, rotated, power):
    """The new certificate is refused afterwards: the device takes turns, and is not wrong about who has won."""
    cloud = world.cloud
    heard = cloud.commit

    def commit(body, principal):
        if rotated:
            cloud.current = principal
        cloud.active.discard(principal)
        cloud.line = None
        cloud.commit = late
        if power == "goes":
            raise PowerCut

    def late(body, principal):
        assert principal != OLD.fingerprint, "a commit over the old certificate means nothing"
        heard(body, principal)

    class Patient(Device):
        def open(self, presented):
            if presented == "current" and len(cloud.connects) > 5:
                cloud.active.update(cloud.certificates)
            return super().open(presented)

    cloud.commit = commit
    cloud.give()
    if power == "goes":
        with pytest.raises(PowerCut):
            world.run()
    world.run(Patient)
    assert cloud.status() == ("SUCCEEDED", "")
    assert world.held == cloud.current != OLD.fingerprint
    assert OLD.fingerprint in [principal for _time, principal in cloud.connects[2:]]


def test_a_commit_of_another_certificate_is_not_believed(world):
    cloud, real = world.cloud, world.cloud.commit

    def commit(body, principal):
        cloud.answer("commit", "accepted", jobId=body["jobId"], certificateId=OLD.fingerprint)
        cloud.commit = real

    cloud.commit = commit
    cloud.give()
    world.run()
    assert cloud.topics().count("certificate/commit") == 2
    assert world.held == cloud.current != OLD.fingerprint


def test_a_job_that_comes_in_between_has_to_wait(world):
    cloud, real = world.cloud, world.cloud.commit

    def commit(body, principal):
        cloud.give("fleet-rotate-2")
        execution = {"jobId": "fleet-rotate-2", "jobDocument": cloud.jobs["fleet-rotate-2"][1]}
        cloud.tell(f"$aws/things/{THING}/jobs/start-next/accepted", {"execution": execution})
        cloud.commit = real
        real(body, principal)

    cloud.commit = commit
    cloud.give()
    world.run()
    assert [cloud.status(job) for job in cloud.jobs] == [("SUCCEEDED", "")] * 2
    assert cloud.certificates[world.held] == "fleet-rotate-2"
    assert cloud.topics().count("certificate/create") == 2


def test_a_request_that_was_deleted_is_made_anew(world):
    class Deleted(Device):
        def send(self, message):
            super().send(message)
            if "csr" in message.payload:
                raise PowerCut

    world.cloud.give()
    with pytest.raises(PowerCut):
        world.run(Deleted)
    world.cloud.line = None
    shutil.rmtree(world.directory / "next")
    world.run()
    assert world.cloud.status() == ("SUCCEEDED", "")


@pytest.mark.parametrize(
    ("full", "problem"),
    [
        ("dev-1.key.pem", "a new key cannot be stored: No space left on device"),
        ("dev-1.csr.pem", "a new key cannot be stored: No space left on device"),
        ("dev-1.cert.pem", "the new certificate cannot be stored: No space left on device"),
    ],
)
def test_a_full_disk(world, monkeypatch, full, problem):
    real = files.write

    def write(path, data, **options):
        if path == world.directory / "next" / full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, data, **options)

    monkeypatch.setattr(files, "write", write)
    world.cloud.give()
    world.run()
    keeps_the_old_one(world, problem)


def test_a_disk_that_is_full_when_the_pairs_change_places(world, monkeypatch):
    real = files.write

    def write(path, data, **options):
        if "previous" in path.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, data, **options)

    monkeypatch.setattr(files, "write", write)
    world.cloud.give()
    world.run()
    assert world.cloud.status() == ("SUCCEEDED", "")
    assert world.held == world.cloud.current != OLD.fingerprint


def test_a_rejected_commit(world):
    world.cloud.commit = lambda body, _principal: world.cloud.answer(
        "commit", "rejected", jobId=body["jobId"], code="NotNew", message="an old one"
    )
    world.cloud.give()
    world.run()
    keeps_the_old_one(world, "NotNew: an old one")


def test_a_device_that_is_suspended_when_it_commits_keeps_both_pairs_until_it_is_resumed(world):
    cloud, real, told = world.cloud, world.cloud.commit, []

    def commit(body, principal):
        told.append(principal)
        if len(told) < 3:
            cloud.answer("commit", "rejected", jobId=body["jobId"], code="NotActive", message="suspended")
        else:
            real(body, principal)

    cloud.commit = commit
    cloud.give()
    world.run()
    assert cloud.status() == ("SUCCEEDED", "")
    assert world.held == cloud.current != OLD.fingerprint


def test_a_report_that_is_throttled_is_repeated(world):
    cloud, real = world.cloud, world.cloud.update

    def update(topic, job_id, body):
        cloud.tell(f"{topic}/rejected", {"code": "RequestThrottled"})
        cloud.update = real

    cloud.update = update
    cloud.give()
    world.run()
    assert cloud.status() == ("SUCCEEDED", "")


def test_a_job_that_was_taken_back_leaves_the_device_idle_and_the_next_one_gets_a_key_of_its_own(world):
    cloud, requests = world.cloud, []

    def create(body, _principal):
        requests.append(body)
        cloud.jobs[JOB][0] = "CANCELED"
        cloud.line = None
        del cloud.create

    cloud.create = create
    cloud.give()
    device = world.run()
    assert device.rotation.state == State(JOB, Step.ASK)
    cloud.give("fleet-rotate-2")
    world.run()
    assert cloud.status("fleet-rotate-2") == ("SUCCEEDED", "")
    sent = [body for _topic, body, _principal in cloud.said if "csr" in body]
    assert [body["jobId"] for body in sent] == [JOB, "fleet-rotate-2"]
    assert sent[0]["csr"] != sent[1]["csr"]


def test_a_job_that_comes_later_is_heard_of(world):
    class Later(Device):
        def heard(self, message):
            super().heard(message)
            if message.topic.endswith("start-next/accepted") and JOB not in world.cloud.jobs:
                world.cloud.give()
            if message.topic.endswith(f"{JOB}/update/accepted"):
                self.stop()

    world.device(Later, telemetry=10).run()
    assert world.cloud.status() == ("SUCCEEDED", "")
    topics = world.cloud.topics()
    assert topics[0] == "telemetry"
    assert topics.count("jobs/start-next") == 2, "an idle device does not poll"


def test_attempts_are_ever_further_apart(world):
    cloud = world.cloud
    cloud.active.clear()

    class Counting(Device):
        def open(self, presented):
            if len(cloud.connects) == 12:
                self.stop()
            return super().open(presented)

    world.device(Counting).run()
    waits = cloud.clock.waits[:-1]
    assert all(1 <= wait <= min(60, 2 ** (number + 1)) for number, wait in enumerate(waits))
    assert max(waits) > 4


@pytest.mark.parametrize("content", ["", "{}", "[]", json.dumps({"jobId": "j", "step": "dance", "reason": ""})])
def test_a_state_of_somebody_else(world, content):
    (world.directory / "rotation.json").write_text(content)
    with pytest.raises(DeviceError, match=r"rotation\.json cannot be read: remove it"):
        world.device()
