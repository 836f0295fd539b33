# SPDX-License-Identifier: GPL-3.0-or-later
"""provision-device: who gets a certificate, of which region, and what is said to the others."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.certificates import new_key
from tests.provisioning import (
    AMERICA,
    AUSTRALIA,
    AWAY,
    CHINA,
    EUROPE,
    FAR,
    HOME,
    KOREA,
    S2,
    Cloud,
    Device,
    KilledError,
    ask,
    csr,
    event,
    packaged,
)  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    with packaged(tmp_path_factory.mktemp("package")) as loaded:
        yield loaded


@pytest.fixture
def cloud(package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = Cloud(package)
    made.patch(monkeypatch)
    return made


@pytest.fixture
def old_lamp(cloud: Cloud) -> Device:
    """One that has the key of all."""
    device = Device()
    cloud.list["lamp"] = device.item(public_key=None)
    return device


@pytest.fixture
def lamp(cloud: Cloud) -> Device:
    """A device that is on the list."""
    device = Device()
    cloud.list["lamp"] = device.item()
    return device


def entry(package: SimpleNamespace, pem: str = "", **changes: str) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "Pem": pem, "Status": "ACTIVE", "NotAfter": package.rows.timestamp(now + timedelta(days=9)),
        "IssuerFingerprint": "f", "Serial": "1f", "RegisteredAt": package.rows.timestamp(now), "RegisteredIn": HOME,
        **changes,
    }  # fmt: skip


def known(package: SimpleNamespace, cloud: Cloud, region: str = HOME, **changes: Any) -> None:
    """A row of the device that is there before."""
    row = {"ThingName": "lamp", "State": "ACTIVE", "WriteId": "w1", "Version": 1, "Certificates": {}, **changes}
    cloud.tables[region, "fleet-device-inventory"] = {"lamp": row}


# --- a device gets its certificate


def test_a_device_gets_a_certificate_of_its_key_and_a_row_in_its_region(
    package: SimpleNamespace, cloud: Cloud, lamp: Device
) -> None:
    status, answer, headers = ask(package, event(lamp.request(), source=AMERICA))
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert {name: answer[name] for name in ("thingName", "region", "endpointAddress", "port", "serverName")} == {
        "thingName": "lamp", "region": AWAY, "endpointAddress": f"a1-ats.iot.{AWAY}.amazonaws.com", "port": 8883,
        "serverName": "iot.example.com",
    }  # fmt: skip
    assert 1500 < answer["distanceKm"] < 2000, "from the middle of the United States"
    assert "privateKey" not in answer
    made = x509.load_pem_x509_certificate(answer["certificatePem"].encode())
    made.verify_directly_issued_by(cloud.ca.certificate)
    assert made.public_key() == lamp.key.public_key()
    row = cloud.row(AWAY, "lamp")
    assert row["CertificateId"] == answer["certificateId"]
    assert (row["State"], row["HomeRegion"], row["UpdatedRegion"], row["Version"]) == ("ACTIVE", AWAY, AWAY, 1)
    assert row["CertificateArn"] == f"arn:aws:iot:{AWAY}:123456789012:cert/{answer['certificateId']}"
    assert row["ThingArn"] == f"arn:aws:iot:{AWAY}:123456789012:thing/lamp"
    assert row["PolicyNames"] == ["fleet-device"]
    assert row["ThingTypeName"] == "fleet-device"
    assert row["Certificates"][answer["certificateId"]] == {
        "Pem": answer["certificatePem"], "Status": "ACTIVE", "NotAfter": row["NotAfter"],
        "IssuerFingerprint": cloud.ca.fingerprint, "Serial": format(made.serial_number, "x"),
        "RegisteredAt": row["UpdatedAt"], "RegisteredIn": AWAY,
    }  # fmt: skip
    assert cloud.rows() == [(AWAY, "lamp")]
    assert cloud.list["lamp"]["prov_status"] == "provisioned"
    assert cloud.list["lamp"]["aws_region"] == AWAY
    datetime.strptime(cloud.list["lamp"]["prov_datetime"], "%Y-%m-%dT%H:%M:%S")


@pytest.mark.parametrize(
    "make",
    [lambda: ec.generate_private_key(ec.SECP384R1()), lambda: new_key("rsa"), ed25519.Ed25519PrivateKey.generate],
    ids=["ec384", "rsa2048", "ed25519"],
)
def test_a_device_signs_with_any_usual_key(package: SimpleNamespace, cloud: Cloud, make: Callable[[], Any]) -> None:
    device = Device(key=make())
    cloud.list["lamp"] = device.item()
    assert ask(package, event(device.request(csr=csr(new_key(), "lamp"))))[0] == 200


def test_who_lost_the_answer_gets_the_same_again_and_nobody_else(
    package: SimpleNamespace, cloud: Cloud, lamp: Device
) -> None:
    first = ask(package, event(lamp.request()))[1]
    row, again = cloud.row(HOME, "lamp"), ask(package, event(lamp.request()))[1]
    assert again == first
    assert cloud.row(HOME, "lamp") == row
    status, answer, _headers = ask(package, event(lamp.request(csr=csr(new_key(), "lamp"))))
    assert (status, answer["code"]) == (409, "AlreadyProvisioned")


def test_the_answer_does_not_wait_for_a_region_for_ever(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAIT_SECONDS", "0.6")
    cloud.converges, began = False, time.monotonic()
    assert ask(package, event(lamp.request()))[0] == 200
    assert time.monotonic() - began >= 0.6
    assert cloud.list["lamp"]["prov_status"] == "provisioned"


def test_a_list_that_another_system_wrote_is_taken_as_it_is(package: SimpleNamespace, cloud: Cloud) -> None:
    cloud.list["lamp"] = {"thing_name": "lamp", "prov_status": "unprovisioned"}
    assert ask(package, event(Device().old_request(), route=S2))[1]["status"] == "success"
    assert cloud.list["lamp"]["revision"] >= 1
    cloud.list["lamp"] = {"thing_name": "lamp", "prov_status": "provisioned", "aws_region": HOME}
    assert ask(package, event(Device().old_request(), route=S2))[1] == {"status": "error", "message": "you not"}


@pytest.mark.defect("S2-3")
def test_of_many_requests_at_once_one_key_gets_the_name(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    keys = [new_key() for _ in range(5)]
    events = [event(lamp.request(csr=csr(key, "lamp"))) for key in keys * 8]
    answers: list[tuple[int, dict[str, Any], dict[str, str]]] = []
    threads = [threading.Thread(target=lambda sent=sent: answers.append(ask(package, sent))) for sent in events]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 40
    given = {answer["certificateId"] for status, answer, _headers in answers if status == 200}
    assert len(given) == 1
    assert {status for status, _answer, _headers in answers} <= {200, 409, 503}
    assert list(cloud.row(HOME, "lamp")["Certificates"]) == list(given)


# --- who is refused


@pytest.mark.defect("S2-5")
@pytest.mark.parametrize(
    "changes",
    [
        {"thingName": "nobody"},
        {"nonce": "another-nonce-of-22-chars"},
        {"timestamp": 1},
        {"csr": csr(new_key(), "lamp")},
        {"csr": None},
        {"signature": base64.b64encode(b"x" * 70).decode()},
        {"signature": ""},
    ],
    ids=["name", "nonce", "timestamp", "csr", "no-csr", "signature", "no-signature"],
)
def test_a_signature_covers_every_part_of_a_request(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, changes: dict[str, Any]
) -> None:
    sent = {name: value for name, value in {**lamp.request(), **changes}.items() if value is not None}
    if changes.get("thingName"):
        sent["csr"] = csr(lamp.key, "nobody")
    status, answer, _headers = ask(package, event(sent))
    assert (status, answer["code"]) == (401, "NotAuthorized")
    require_nothing(cloud)


def test_strangers_do_not_learn_which_names_are_listed(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    cloud.list["bulb"] = {"thing_name": "bulb", "prov_status": "unprovisioned", "revision": 1}
    stranger = new_key()
    answers = [ask(package, event(Device(thing, stranger).request())) for thing in ("lamp", "bulb", "nobody")]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 401


@pytest.mark.defect("S2-5")
def test_nothing_is_good_for_a_second_time(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    request = lamp.request()
    assert ask(package, event(request))[0] == 200
    status, answer, _headers = ask(package, event(request))
    assert (status, answer["code"]) == (409, "Replayed")


@pytest.mark.parametrize("seconds", [-3600, -301, 301, 3600])
def test_who_is_of_another_time_is_told_what_time_it_is(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, seconds: int
) -> None:
    status, answer, _headers = ask(package, event(lamp.request(timestamp=int(time.time()) + seconds)))
    assert (status, answer["code"]) == (401, "ClockDiffers")
    assert abs(answer["serverTime"] - time.time()) < 5
    require_nothing(cloud)
    assert ask(package, event(lamp.request(timestamp=answer["serverTime"])))[0] == 200


@pytest.mark.defect("S2-6")
def test_a_request_is_for_the_name_that_asks(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    status, answer, _headers = ask(package, event(lamp.request(csr=csr(lamp.key, "other"))))
    assert (status, answer["code"]) == (422, "NameDiffers")
    old = lamp.old_request(CSR=csr(lamp.key, "other"))
    assert ask(package, event(old, route=S2))[1] == {"status": "error", "message": "invalid request"}
    require_nothing(cloud)


def test_a_weak_key_is_not_certified(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    weak = ec.generate_private_key(ec.SECP256K1())
    status, answer, _headers = ask(package, event(lamp.request(csr=csr(weak, "lamp"))))
    assert (status, answer["code"]) == (422, "KeyUnsuitable")
    require_nothing(cloud)


BROKEN = "-----BEGIN CERTIFICATE REQUEST-----\nMIHJMHECAQAwDzENMAsGA1UEAwwEbGFt\n-----END CERTIFICATE REQUEST-----\n"


@pytest.mark.defect("S2-9")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("null", 400),
        ("[" * 5000, 400),
        ('{"thingName": "\\ud800"}', 400),
        ('{"thingName": "lamp"}', 400),
        ('{"thingName": ["lamp"], "nonce": "1", "timestamp": 1, "signature": "x"}', 400),
        ("x" * (16 * 1024 + 1), 413),
        ("ä" * (8 * 1024 + 1), 413),
    ],
)
def test_what_is_no_request_is_told_so(package: SimpleNamespace, cloud: Cloud, body: str, expected: int) -> None:
    status, answer, _headers = ask(package, event(body))
    assert status == expected
    assert answer["code"] == ("TooLarge" if expected == 413 else "InvalidRequest")
    assert not cloud.calls


@pytest.mark.defect("S2-9")
@pytest.mark.parametrize(
    "changes",
    [
        {"thingName": "no name"}, {"thingName": "x" * 65}, {"thingName": 7}, {"nonce": "short"}, {"nonce": "ä" * 30},
        {"timestamp": "1"}, {"timestamp": True}, {"timestamp": 1.5}, {"timestamp": -1}, {"timestamp": 10**30},
        {"csr": "no pem"}, {"csr": BROKEN}, {"csr": 1}, {"signature": "not base64!"}, {"signature": None},
    ],
    ids=str,
)  # fmt: skip
def test_each_member_is_of_its_kind(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, changes: dict[str, Any]
) -> None:
    sent = {name: value for name, value in {**lamp.request(), **changes}.items() if value is not None}
    status, answer, _headers = ask(package, event(sent))
    assert (status, answer["code"]) == (400, "InvalidRequest")
    assert not cloud.calls


def test_a_body_in_base64_is_read_and_measured_as_it_is(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    body = base64.b64encode(json.dumps(lamp.request()).encode()).decode()
    assert ask(package, {**event(body), "isBase64Encoded": True})[0] == 200
    large = base64.b64encode(b"x" * (16 * 1024 + 1)).decode()
    assert ask(package, {**event(large), "isBase64Encoded": True})[0] == 413


@pytest.mark.parametrize("state", ["SUSPENDED", "REVOKED", "DELETED"])
def test_the_registry_has_the_last_word(package: SimpleNamespace, cloud: Cloud, lamp: Device, state: str) -> None:
    known(package, cloud, State=state)
    status, answer, _headers = ask(package, event(lamp.request()))
    assert (status, answer["code"]) == (403, "NotAllowed")
    assert cloud.list["lamp"]["prov_status"] == "unprovisioned", "the name was given back"
    assert cloud.row(HOME, "lamp")["Certificates"] == {}
    assert not [call for call in cloud.calls if call[1] == "start_execution"]


def test_a_name_that_is_revoked_stays_out(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    cloud.tables[HOME, "fleet-revocations"] = {"thing:lamp": {"Key": "thing:lamp"}}
    assert ask(package, event(lamp.request()))[0] == 403
    assert cloud.rows() == []


def test_a_name_that_nobody_may_have_is_refused(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    cloud.list["lamp"]["prov_status"] = "blocked"
    assert ask(package, event(lamp.request()))[1]["code"] == "NotAllowed"
    require_nothing(cloud)


def test_a_device_that_was_in_before_changes_to_its_new_certificate(
    package: SimpleNamespace, cloud: Cloud, lamp: Device
) -> None:
    known(package, cloud, Certificates={"old": entry(package)}, CertificateId="old", Attributes={"site": "harbour"})
    new = ask(package, event(lamp.request()))[1]["certificateId"]
    row = cloud.row(HOME, "lamp")
    assert (row["CertificateId"], row["Attributes"], row["Version"]) == (new, {"site": "harbour"}, 2)
    old = row["Certificates"]["old"]
    assert old["Status"] == "ACTIVE"
    grace = datetime.fromisoformat(old["RetireAt"]) - datetime.fromisoformat(row["UpdatedAt"])
    assert grace == timedelta(days=1)


def test_a_device_with_too_many_certificates_gets_no_more(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    known(package, cloud, Certificates={f"c{number}": entry(package) for number in range(20)}, CertificateId="c1")
    status, answer, _headers = ask(package, event(lamp.request()))
    assert (status, answer["code"]) == (403, "NotAllowed")
    assert "too many certificates" in answer["message"]


def test_many_requests_of_one_device_are_too_many(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    now = int(time.time())
    cloud.list["lamp"]["nonces"] = {f"n{number}": now for number in range(100)}
    status, answer, headers = ask(package, event(lamp.request()))
    assert (status, answer["code"]) == (429, "TooManyRequests")
    assert int(headers["retry-after"]) > 0
    cloud.list["lamp"]["nonces"] = {f"n{number}": now - 661 for number in range(100)}
    assert ask(package, event(lamp.request()))[0] == 200
    assert len(cloud.list["lamp"]["nonces"]) == 1, "what no request can bring again is forgotten"


# --- keys that the cloud makes


def test_the_cloud_makes_no_key_unless_it_may(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    assert ask(package, event(lamp.request(csr=None)))[1]["code"] == "NotAllowed"
    require_nothing(cloud)


@pytest.mark.defect("S2-10")
@pytest.mark.parametrize(("route", "member"), [("v1", "privateKey"), ("s2", "PrivateKey")])
def test_a_key_of_the_cloud_is_in_the_answer_and_nowhere_else(  # noqa: PLR0913, RUF100
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, route: str, member: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("CLOUD_KEYS", "allowed")
    caplog.set_level("DEBUG")
    cloud.list["lamp"] = lamp.item(**({} if route == "v1" else {"public_key": None}))
    sent = event(lamp.request(csr=None)) if route == "v1" else event(lamp.old_request(CSR=None), route=S2)
    answer = ask(package, sent)[1]
    certificate = x509.load_pem_x509_certificate(answer["certificatePem"].encode())
    key: Any = load_pem_private_key(answer[member].encode(), None)
    assert key.public_key() == certificate.public_key()
    lines = "".join(answer[member].splitlines()[1:-1])
    everywhere = caplog.text + json.dumps(cloud.list) + repr(cloud.tables)
    assert "PRIVATE KEY" not in everywhere
    assert lines[:40] not in everywhere
    again = event(lamp.request(csr=None)) if route == "v1" else event(lamp.old_request(CSR=None), route=S2)
    refusal = ask(package, again)[1]
    assert refusal.get("code", refusal.get("message")) == ("AlreadyProvisioned" if route == "v1" else "you not")


def test_a_key_that_was_lost_on_the_way_is_replaced_and_revoked(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_KEYS", "allowed")
    ask(package, event(lamp.request(csr=None)))
    lost = cloud.row(HOME, "lamp")["CertificateId"]
    cloud.list["lamp"]["prov_status"] = "provisioning"  # it died before it had answered
    status, answer, headers = ask(package, event(lamp.request(csr=None)))
    assert (status, answer["code"]) == (409, "InProgress")
    assert 0 < int(headers["retry-after"]) <= 60
    cloud.list["lamp"]["claim"]["until"] = int(time.time()) - 1
    new = ask(package, event(lamp.request(csr=None)))[1]["certificateId"]
    row = cloud.row(HOME, "lamp")
    assert row["CertificateId"] == new
    assert {key: each["Status"] for key, each in row["Certificates"].items()} == {lost: "REVOKED", new: "ACTIVE"}


# --- where to


@pytest.mark.parametrize(("source", "region"), [(EUROPE, HOME), (AMERICA, AWAY), (AUSTRALIA, FAR), (CHINA, FAR)])
def test_each_device_is_sent_to_its_region(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, source: str, region: str
) -> None:
    assert ask(package, event(lamp.request(), source=source))[1]["region"] == region
    assert cloud.rows() == [(region, "lamp")]


@pytest.mark.defect("S2-4")
@pytest.mark.parametrize("name", ["x_forwarded_for", "forwarded", "x_real_ip", "cloudfront_viewer_address"])
def test_a_device_cannot_say_where_it_is(package: SimpleNamespace, cloud: Cloud, lamp: Device, name: str) -> None:
    sent = event(
        lamp.request(),
        source=EUROPE,
        **{name: AMERICA},
        cloudfront_viewer_latitude="40",
        cloudfront_viewer_longitude="-75",
    )
    assert ask(package, sent)[1]["region"] == HOME


def test_the_law_of_a_country_leaves_no_region(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    status, answer, _headers = ask(package, event(lamp.request(), source=KOREA))
    assert (status, answer["code"]) == (451, "NoRegionAllowed")
    assert cloud.list["lamp"]["prov_status"] == "unprovisioned"
    cloud.list["lamp"] = lamp.item(public_key=None)
    old = ask(package, event(lamp.old_request(), route=S2, source=KOREA))[1]
    assert old == {"status": "error", "message": "no location"}
    assert cloud.rows() == []


@pytest.mark.defect("S2-1")
def test_a_device_that_nobody_can_locate_goes_to_the_default_region(
    package: SimpleNamespace, cloud: Cloud, old_lamp: Device
) -> None:
    answer = ask(package, event(old_lamp.old_request(), route=S2, source="10.1.2.3"))[1]
    assert (answer["status"], answer["region"]) == ("success", HOME)
    assert "default" in answer["message"]
    assert "distance" not in answer
    assert cloud.list["lamp"]["prov_status"] == "provisioned"
    bulb = Device("bulb")
    cloud.list["bulb"] = bulb.item()
    answer = ask(package, event(bulb.request(), source="127.0.0.1"))[1]
    assert answer["region"] == HOME
    assert "distanceKm" not in answer


@pytest.mark.parametrize("how", ["evacuated", "failing"])
def test_only_regions_that_are_well_are_offered(package: SimpleNamespace, cloud: Cloud, lamp: Device, how: str) -> None:
    if how == "evacuated":
        cloud.published.discard(HOME)
    else:
        cloud.failing.add(HOME)
    assert ask(package, event(lamp.request(), source=EUROPE))[1]["region"] == AWAY


def test_who_asks_again_when_its_region_is_gone_is_sent_elsewhere(
    package: SimpleNamespace, cloud: Cloud, lamp: Device
) -> None:
    first = ask(package, event(lamp.request()))[1]
    cloud.published.discard(HOME)
    cloud.list["regions#fleet"]["read_at"] = 0
    package.offered._known[:] = []
    again = ask(package, event(lamp.request()))[1]
    assert again["certificateId"] == first["certificateId"]
    assert (first["region"], again["region"]) == (HOME, AWAY)


def test_without_a_region_that_is_well_it_is_later(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    cloud.published.clear()
    status, answer, headers = ask(package, event(lamp.request()))
    assert (status, answer["code"], headers["retry-after"]) == (503, "Unavailable", "60")
    assert cloud.list["lamp"]["prov_status"] == "unprovisioned"


def test_a_region_that_does_not_answer_is_passed_over(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    cloud.away.add(FAR)
    assert ask(package, event(lamp.request(), source=AUSTRALIA))[1]["region"] == AWAY
    assert cloud.rows() == [(AWAY, "lamp")]
    assert cloud.list["lamp"]["aws_region"] == AWAY


def test_without_the_list_nothing_happens(package: SimpleNamespace, cloud: Cloud, lamp: Device) -> None:
    cloud.away.add(HOME)
    status, answer, headers = ask(package, event(lamp.request()))
    assert (status, answer["code"]) == (503, "Unavailable")
    assert int(headers["retry-after"]) > 0
    assert cloud.rows() == []


def test_all_instances_together_ask_route_53_once_in_a_while(package: SimpleNamespace, cloud: Cloud) -> None:
    for number in range(5):
        device = Device(f"lamp-{number}")
        cloud.list[device.thing] = device.item()
        package.offered._known[:] = []  # as in a new process
        assert ask(package, event(device.request()))[0] == 200
    assert [call[1] for call in cloud.calls].count("list_resource_record_sets") == 1


def test_behind_a_distribution_nobody_passes_it_by(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_ONLY", "true")
    for headers in ({}, {"x_origin_verify": ""}, {"x_origin_verify": "guess"}, {"x_origin_verify": "\ud800"}):
        status, answer, _headers = ask(package, event(lamp.request(), **headers))
        assert (status, answer["code"]) == (403, "NotAllowed")
    require_nothing(cloud)
    assert ask(package, event(lamp.request(), x_origin_verify="edge-secret"))[0] == 200


# --- the protocol of devices that are in the field


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thing-name": None}, "no thing name"),
        ({"thing-name": ""}, "no thing name"),
        ({"thing-name-sig": None}, "no sig"),
        ({"thing-name-sig": "bm8="}, "wrong sig"),
        ({"thing-name-sig": "no base64!"}, "wrong sig"),
        ({"thing-name-sig": 7}, "wrong sig"),
        ({"thing-name": "bulb"}, "wrong sig"),
        ({"CSR": "no pem"}, "invalid request"),
    ],
)
def test_its_errors_are_worded_as_its_devices_know_them(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, changes: dict[str, Any], message: str
) -> None:
    sent = {name: value for name, value in {**lamp.old_request(), **changes}.items() if value is not None}
    status, answer, _headers = ask(package, event(sent, route=S2))
    assert (status, answer) == (200, {"status": "error", "message": message})
    require_nothing(cloud)


def test_its_success_is_worded_as_its_devices_know_it(package: SimpleNamespace, cloud: Cloud, old_lamp: Device) -> None:
    status, answer, _headers = ask(package, event(old_lamp.old_request(), route=S2, source=AMERICA))
    assert status == 200
    assert set(answer) == {"status", "endpointAddress", "certificatePem", "region", "distance"}
    assert (answer["status"], answer["region"]) == ("success", AWAY)
    assert answer["endpointAddress"] == f"a1-ats.iot.{AWAY}.amazonaws.com"
    unknown = ask(package, event(Device("bulb").old_request(), route=S2))[1]
    assert unknown == {"status": "error", "message": "you not"}
    assert ask(package, event("[]", route=S2))[1] == {"status": "error", "message": "invalid request"}


def test_the_key_of_all_is_nothing_to_a_device_that_has_its_own(
    package: SimpleNamespace, cloud: Cloud, lamp: Device
) -> None:
    answer = ask(package, event(Device("lamp").old_request(), route=S2))[1]
    assert answer == {"status": "error", "message": "you not"}
    require_nothing(cloud)


# --- what changed meanwhile


@pytest.mark.parametrize("how", ["REVOKED", "DELETED", "SUSPENDED", "thing", "id", "serial", "retired"])
def test_who_may_not_use_its_certificate_any_more_does_not_get_it_again(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, how: str
) -> None:
    given = ask(package, event(lamp.request()))[1]
    row = cloud.tables[HOME, "fleet-device-inventory"]["lamp"]
    certificate = row["Certificates"][given["certificateId"]]
    if how.isupper():
        row["State"] = how
    elif how == "retired":
        certificate["RetireAt"] = package.rows.timestamp(datetime.now(UTC))
    else:
        serial = f"serial:{certificate['IssuerFingerprint']}:{certificate['Serial']}"
        key = {"thing": "thing:lamp", "id": f"id:{given['certificateId']}", "serial": serial}[how]
        cloud.tables[HOME, "fleet-revocations"] = {key: {"Key": key}}
    status, answer, _headers = ask(package, event(lamp.request()))
    assert (status, answer["code"]) == (403, "NotAllowed")
    assert "certificatePem" not in answer


def test_a_certificate_that_has_expired_is_replaced(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFETIME_DAYS", "0")
    old = ask(package, event(lamp.request()))[1]["certificateId"]
    monkeypatch.setenv("LIFETIME_DAYS", "365")
    status, answer, _headers = ask(package, event(lamp.request()))
    assert status == 200
    assert answer["certificateId"] != old
    assert list(cloud.row(HOME, "lamp")["Certificates"]) == [answer["certificateId"]], "what expired left the row"


def test_who_goes_on_with_a_claim_has_it_for_another_minute(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed(package, lamp, monkeypatch)
    cloud.list["lamp"]["claim"]["until"] = 0
    other = csr(new_key(), "lamp")
    seen = []
    bring_in = package.devices.bring_in

    def meanwhile(*arguments: Any) -> None:
        monkeypatch.setattr(package.devices, "bring_in", bring_in)
        seen.append(ask(package, event(lamp.request(csr=other)))[1]["code"])
        bring_in(*arguments)

    monkeypatch.setattr(package.devices, "bring_in", meanwhile)
    status, answer, _headers = ask(package, event(lamp.request()))
    assert (status, seen) == (200, ["InProgress"])
    assert list(cloud.row(HOME, "lamp")["Certificates"]) == [answer["certificateId"]]


def test_a_claim_that_became_somebody_elses_takes_its_certificate_back(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator may release a name at any moment."""
    bring_in = package.devices.bring_in
    answers = []

    def released(*arguments: Any) -> None:
        monkeypatch.setattr(package.devices, "bring_in", bring_in)
        bring_in(*arguments)
        cloud.list["lamp"] |= {"prov_status": "unprovisioned", "revision": 99}
        answers.append(ask(package, event(lamp.request(csr=csr(new_key(), "lamp"))))[1])

    monkeypatch.setattr(package.devices, "bring_in", released)
    status, answer, _headers = ask(package, event(lamp.request()))
    assert (status, answer["code"]) == (409, "InProgress")
    row = cloud.row(HOME, "lamp")
    assert row["CertificateId"] == answers[0]["certificateId"]
    assert [each["Status"] for key, each in row["Certificates"].items() if key != row["CertificateId"]] == ["REVOKED"]


def test_a_name_whose_certificate_is_in_the_registry_is_not_given_away(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(package.claims, "done", killed)
        with pytest.raises(KilledError):
            ask(package, event(lamp.request()))
    row = cloud.tables[HOME, "fleet-device-inventory"]["lamp"]
    row["State"] = "SUSPENDED"
    assert ask(package, event(lamp.request()))[0] == 403
    assert cloud.list["lamp"]["claim"]["certificate_id"] == row["CertificateId"]
    row["State"] = "ACTIVE"
    assert ask(package, event(lamp.request()))[1]["certificateId"] == row["CertificateId"]


def test_all_that_were_lost_on_the_way_are_revoked(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(package, event(lamp.request()))[1]["certificateId"]
    cloud.list["lamp"]["prov_status"] = "provisioning"  # it died before it had answered
    for _attempt in range(2):
        cloud.list["lamp"]["claim"]["until"] = 0
        claimed(package, lamp, monkeypatch, csr=csr(new_key(), "lamp"))
    cloud.list["lamp"]["claim"]["until"] = 0
    last = ask(package, event(lamp.request(csr=csr(new_key(), "lamp"))))[1]["certificateId"]
    statuses = {key: each["Status"] for key, each in cloud.row(HOME, "lamp")["Certificates"].items()}
    assert statuses == {first: "REVOKED", last: "ACTIVE"}


def test_a_key_of_the_cloud_is_not_lost_where_no_endpoint_is_known(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_KEYS", "allowed")
    with monkeypatch.context() as patch:
        patch.setattr(cloud, "describe_endpoint", throttled)
        assert ask(package, event(lamp.request(csr=None)))[0] == 503
    assert cloud.list["lamp"]["prov_status"] == "provisioning"
    cloud.list["lamp"]["claim"]["until"] = 0
    assert "privateKey" in ask(package, event(lamp.request(csr=None)))[1]


def test_a_row_that_keeps_changing_is_for_later(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = cloud.put_item

    def lost(region: str, TableName: str, **arguments: Any) -> None:
        if TableName.endswith("inventory"):
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "PutItem")
        put(region, TableName, **arguments)

    monkeypatch.setattr(cloud, "put_item", lost)
    status, answer, _headers = ask(package, event(lamp.request()))
    assert (status, answer["code"]) == (503, "Unavailable")


def test_a_request_of_a_fast_clock_is_not_forgotten_while_it_is_good(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = lamp.request(timestamp=int(time.time()) + 300)
    assert ask(package, event(request))[0] == 200

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=599)

    for module in (package.claims, package.v1):
        monkeypatch.setattr(module, "datetime", Later)
    assert ask(package, event(request))[1]["code"] == "Replayed"


def test_route_53_that_does_not_answer_takes_no_region_away(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "list_resource_record_sets", throttled)
    assert ask(package, event(lamp.request(), source=AMERICA))[1]["region"] == AWAY, "nobody could ever tell"
    monkeypatch.undo()
    cloud.patch(monkeypatch)
    cloud.published.discard(AWAY)
    cloud.list["regions#fleet"]["read_at"] = 0
    assert ask(package, event(lamp.request(), source=AMERICA))[1]["region"] == HOME
    cloud.list["regions#fleet"]["read_at"] = 0
    package.offered._known[:] = []
    monkeypatch.setattr(cloud, "get_metric_data", throttled)
    assert ask(package, event(lamp.request(), source=AMERICA))[1]["region"] == HOME, "as it was known"


def test_one_at_a_time_reads_route_53_anew(
    package: SimpleNamespace, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.list["regions#fleet"] = {"thing_name": "regions#fleet", "read_at": 0, "regions": [FAR], "revision": 1}
    listing = cloud.list_resource_record_sets

    def meanwhile(*arguments: Any, **zone: str) -> Any:
        package.offered._known[:] = []
        seen.append(package.offered.regions(()))
        return listing(*arguments, **zone)

    seen: list[frozenset[str]] = []
    monkeypatch.setattr(cloud, "list_resource_record_sets", meanwhile)
    assert package.offered.regions(()) == {HOME, AWAY, FAR}
    assert seen == [{FAR}], "who comes meanwhile goes by what was known"
    assert [call[1] for call in cloud.calls].count("list_resource_record_sets") == 1


def test_a_secret_that_cannot_be_read_now_refuses_nobody_for_good(
    package: SimpleNamespace, cloud: Cloud, lamp: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_ONLY", "true")
    with monkeypatch.context() as patch:
        patch.setattr(cloud, "get_secret_value", throttled)
        assert ask(package, event(lamp.request(), x_origin_verify="edge-secret"))[0] == 503
    package.location._secrets["provisioning-edge"] = (0.0, "")
    assert ask(package, event(lamp.request(), x_origin_verify="edge-secret"))[0] == 200
    package.location._secrets["provisioning-edge"] = (0.0, "edge-secret")
    with monkeypatch.context() as patch:
        patch.setattr(package.location, "_read", lambda _name: None)
        package.location.require_edge(event({}, x_origin_verify="edge-secret"))


def claimed(package: SimpleNamespace, device: Device, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """A request whose function is killed before the registry hears of it."""
    with monkeypatch.context() as patch:
        patch.setattr(package.devices, "bring_in", killed)
        with pytest.raises(KilledError):
            ask(package, event(device.request(**changes)))


def killed(*_arguments: Any) -> None:
    raise KilledError


def throttled(*_arguments: Any, **_named: Any) -> None:
    raise ClientError({"Error": {"Code": "Throttling"}, "ResponseMetadata": {"HTTPStatusCode": 429}}, "any")


# --- whoever dies leaves nothing behind


@pytest.mark.defect("S2-11")
@pytest.mark.parametrize("took_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["csr", "cloud-key"])
def test_killed_at_any_call_the_next_request_finishes_or_the_name_is_free(
    package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, took_effect: bool, kind: str
) -> None:
    monkeypatch.setenv("CLOUD_KEYS", "allowed")
    killed = 0
    for number in range(1, 40):
        cloud, device = Cloud(package), Device()
        cloud.patch(monkeypatch)
        cloud.list["lamp"] = device.item()
        changes = {} if kind == "csr" else {"csr": None}
        cloud.killed_at = (number, took_effect)
        try:
            ask(package, event(device.request(**changes)))
        except KilledError:
            killed += 1
        else:
            break
        cloud.killed_at = None
        package.offered._known[:] = []  # a new process
        require_whole(cloud)
        status, answer, _headers = ask(package, event(device.request(**changes)))
        if kind == "cloud-key" and status == 409 and answer["code"] == "InProgress":
            cloud.list["lamp"]["claim"]["until"] = 0
            status, answer, _headers = ask(package, event(device.request(**changes)))
        if (
            kind == "cloud-key" and status == 409
        ):  # it was done, and the answer with the key is lost: the operator resets
            assert cloud.list["lamp"]["prov_status"] == "provisioned"
            continue
        assert status == 200, (number, answer)
        row = cloud.row(HOME, "lamp")
        assert row["CertificateId"] == answer["certificateId"]
        usable = [key for key, each in row["Certificates"].items() if each["Status"] == "ACTIVE"]
        assert usable == [answer["certificateId"]], number
        assert cloud.list["lamp"]["prov_status"] == "provisioned"
    assert killed > 12


def require_whole(cloud: Cloud) -> None:
    """No certificate is in the registry that the list does not know of."""
    row = cloud.row(HOME, "lamp")
    if row:
        assert row["CertificateId"] == cloud.list["lamp"]["claim"]["certificate_id"]


def require_nothing(cloud: Cloud) -> None:
    """Nothing was made for anybody."""
    assert cloud.rows() == []
    assert all(item.get("prov_status") != "provisioning" and "claim" not in item for item in cloud.list.values())
    assert not [call for call in cloud.calls if call[1] == "start_execution"]
