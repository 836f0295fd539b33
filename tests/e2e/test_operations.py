"""What an operator does from day to day, by the commands of the runbooks."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.e2e.fleet import Fleet
from tests.integration.deployment import eventually

APPLICATION = "multi-region-iot"
HOME, AWAY = REGIONS = ("eu-west-1", "us-west-2")
DEVICE = "operated"


def lines(shown: str, region: str) -> list[str]:
    """The line of each table that is the region's."""
    return [line.strip() for line in shown.splitlines() if re.match(rf"\s+{region}  ", line)]


def reject(fleet: Fleet, pem: str) -> str:
    """Leave a certificate as register-device leaves one that may not come in; its id."""
    certificate_id = hashlib.sha256(x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)).hexdigest()
    fleet.sandbox.client("iot", HOME).register_certificate_without_ca(certificatePem=pem, status="INACTIVE")
    item = {"CertificateId": certificate_id, "Pem": pem, "Reason": "not allowed", "ThingName": DEVICE, "Region": HOME}
    fleet.sandbox.client("dynamodb", HOME).put_item(
        TableName=f"{APPLICATION}-rejections",
        Item={name: {"S": value} for name, value in {**item, "RejectedAt": "2026-01-31T12:00:00Z"}.items()},
    )
    return certificate_id


@pytest.fixture(scope="module")
def certificate(fleet: Fleet) -> str:
    """A certificate that was rejected and then released; its id."""
    fleet.run("playbooks/issue_devices.yml", "-e", f"fleet_devices={DEVICE}").ok()
    certificate_id = reject(fleet, (fleet.pki / f"clients/{DEVICE}/{DEVICE}.cert.pem").read_text())
    shown = fleet.run("playbooks/release_device.yml").ok().output
    assert f"not allowed  {certificate_id}" in shown
    fleet.run("playbooks/release_device.yml", "-e", f"fleet_thing={DEVICE}").ok()
    return certificate_id


def status_of(fleet: Fleet, certificate: str) -> list[str]:
    return [
        fleet.sandbox.client("iot", region).describe_certificate(certificateId=certificate)["certificateDescription"][
            "status"
        ]
        for region in REGIONS
    ]


def test_a_released_device_is_in_and_a_suspended_one_is_out_everywhere(fleet: Fleet, certificate: str) -> None:
    assert status_of(fleet, certificate) == ["ACTIVE", "ACTIVE"]
    wanted = {
        "fleet_thing": DEVICE,
        "fleet_state": "SUSPENDED",
        "fleet_reason": "lost",
        "fleet_attributes": {"site": "3"},
    }
    changed = fleet.run("playbooks/change_device.yml", "-e", json.dumps(wanted)).ok()
    assert changed.changed == {HOME: 1, AWAY: 0}
    assert status_of(fleet, certificate) == ["INACTIVE", "INACTIVE"]
    shown = fleet.run("playbooks/fleet_status.yml", "-e", f"fleet_thing={DEVICE}").ok().output
    for region in REGIONS:
        [line] = lines(shown, region)
        assert re.search(rf"SUSPENDED +\d+ .* yes +{APPLICATION}-device +{certificate[:8]} INACTIVE  ", line), line


def test_a_region_that_is_cut_off_does_not_hide_the_others(fleet: Fleet, certificate: str) -> None:
    fleet.sandbox.cut(AWAY)
    try:
        shown = fleet.run("playbooks/fleet_status.yml").ok().output
        strict = fleet.run("playbooks/fleet_status.yml", "-e", "fleet_status_strict=true")
    finally:
        fleet.sandbox.restore(AWAY)
    assert re.search(r"\d+ +.*\d+ (ACTIVE|SUSPENDED)", lines(shown, HOME)[0])
    assert "not reached" in lines(shown, AWAY)[0]
    assert strict.code != 0
    assert "is not well in every region" in strict.output


def test_all_that_can_expire_is_one_report_also_while_a_region_is_cut_off(
    fleet: Fleet, certificate: str, tmp_path: Path
) -> None:
    fleet.sandbox.cut(AWAY)
    try:
        checked = fleet.run("playbooks/check_certificates.yml", "-e", f"fleet_report={tmp_path}/report.json")
    finally:
        fleet.sandbox.restore(AWAY)
    assert checked.code != 0
    report = json.loads((tmp_path / "report.json").read_text())
    first, *others = report["entries"]
    assert (first["level"], first["kind"], first["place"]) == ("error", "region", AWAY)
    assert first["note"] in checked.output
    ends = [each["ends"] for each in others if each["ends"]]
    assert ends == sorted(ends)
    assert [each for each in others if each["level"] == "error"] == []
    assert {(each["kind"], each["place"]) for each in others} >= {
        *(("root", "controller"), ("issuing", "controller"), ("server", "controller")),
        *((kind, HOME) for kind in ("issuing", "server", "acm", "validation", "domain", "device")),
    }
    assert DEVICE in [each["name"] for each in others if each["kind"] == "device"]
    assert report["devices"]["in_use"] >= 1


def test_dead_letters_are_shown_replayed_and_gone(fleet: Fleet, certificate: str) -> None:
    sqs = fleet.sandbox.client("sqs", AWAY)
    url = sqs.get_queue_url(QueueName=f"{APPLICATION}-dead-letters")["QueueUrl"]
    letter = {"Machine": f"{APPLICATION}-converge-device", "Input": {"ThingName": DEVICE, "Force": True}, "Error": "E"}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(letter))
    assert f"machine  {APPLICATION}-converge-device  {DEVICE}" in fleet.run("playbooks/redrive.yml").ok().output
    replayed = fleet.run("playbooks/redrive.yml", "-e", "fleet_redrive=replay").ok()
    assert replayed.changed == {HOME: 0, AWAY: 1}
    assert "replayed: converge-device" in replayed.output
    assert sqs.receive_message(QueueUrl=url).get("Messages", []) == []


def test_names_are_put_on_the_allow_list(fleet: Fleet) -> None:
    fleet.run("playbooks/allow_devices.yml", "-e", "fleet_allow_devices=new-1,new-2").ok()
    replica = fleet.sandbox.client("dynamodb", AWAY)

    def names() -> set[str]:
        return {item["ThingName"]["S"] for item in replica.scan(TableName=f"{APPLICATION}-allow-list")["Items"]}

    eventually(lambda: names() >= {"new-1", "new-2"})
