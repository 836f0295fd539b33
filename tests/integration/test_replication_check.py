# SPDX-License-Identifier: GPL-3.0-or-later
"""A check finds exactly what is wrong with a fleet, and says what it is."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import KINDS, ROLE, found_at
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment
from tests.integration.drifting import ALLOW, EXTRA_POLICY, PLANTERS, Drift, Seen
from tests.integration.modules import run_module
from tests.integration.operators import AWAY, BOTH, HOME, at

DEVICES = 150


@pytest.fixture(scope="module")
def drift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drift]:
    """A seeded fleet in which two faults of each kind were planted in either region."""
    sandbox = Sandbox(tmp_path_factory.mktemp("drift-sandbox")).start()
    drift = Drift(Deployment(sandbox, tmp_path_factory.mktemp("drift"), BOTH), DEVICES)
    for region in (HOME, AWAY, HOME, AWAY):
        drift.plant(PLANTERS, region)
    yield drift
    sandbox.stop()


def check(drift: Drift, directory: Path, *, regions: tuple[str, ...] = BOTH, **options: Any) -> dict[str, Any]:
    """The answers by region."""
    return {
        region: at(drift.fleet, region).run(
            "fleet_replication_info",
            **{
                "application": drift.fleet.application,
                "store": str(directory / f"{region}.sqlite"),
                "share": 1.0,
                "sample": 0,
                "settling": 0,
                **options,
            },
        )
        for region in regions
    }


def seen(directory: Path, regions: tuple[str, ...] = BOTH) -> set[Seen]:
    """What the checks of the regions have found."""
    return {
        (region, fault.name, fault.thing_name or fault.certificate_id or fault.detail)
        for region in regions
        for fault in Store(str(directory / f"{region}.sqlite")).faults()
    }


@pytest.mark.defect("D-3", "D-4")
@pytest.mark.parametrize("depth", ["rows", "registry", "full"])
def test_a_check_finds_what_its_depth_promises_and_nothing_else(drift: Drift, tmp_path: Path, depth: str) -> None:
    answers = check(drift, tmp_path, depth=depth)
    promised = {each for each in drift.planted if each[1] in found_at(depth)}
    if depth != "full":  # which alone sees whose it is
        extra = {each for each in seen(tmp_path) - promised if each[1] == "orphan_certificate"}
        assert len(extra) == (4 if depth == "registry" else 0)
        promised |= extra
    assert seen(tmp_path) == promised
    for region, answer in answers.items():
        found = answer["replication"]
        assert found["devices"] == DEVICES
        assert found["in_motion"] == 0
        assert sum(found["faults"].values()) == len([each for each in promised if each[0] == region])


def test_a_shallow_check_does_not_call_aws_iot_at_all(drift: Drift, tmp_path: Path) -> None:
    began = drift.fleet.sandbox.now()
    check(drift, tmp_path, depth="rows")
    assert not [call for call in drift.fleet.sandbox.journal(since=began) if call["service"] == "iot"]


@pytest.mark.long
def test_the_calls_are_those_of_the_estimate(drift: Drift, tmp_path: Path) -> None:
    began = drift.fleet.sandbox.now()
    answer = check(drift, tmp_path, regions=(HOME,), depth="full")[HOME]
    calls = [call["operation"] for call in drift.fleet.sandbox.journal(since=began, region=HOME)]
    for operation, estimated in answer["estimate"]["calls"].items():
        assert calls.count(operation) == pytest.approx(estimated, rel=0.1, abs=3), operation


def test_a_sample_says_how_sure_it_is(drift: Drift, tmp_path: Path) -> None:
    found = check(drift, tmp_path, regions=(HOME,), depth="full", sample=100)[HOME]["replication"]
    assert found["looked_at"] == 100
    assert found["confidence"]["confidence"] == 0.95
    assert 0 < found["confidence"]["at_most_faulty"] < 0.3


def test_who_changed_lately_is_in_motion_and_not_judged(drift: Drift, tmp_path: Path) -> None:
    settled = check(drift, tmp_path, regions=(HOME,), depth="rows")[HOME]["replication"]
    moving = check(drift, tmp_path, regions=(HOME,), depth="rows", settling=86400)[HOME]["replication"]
    assert (settled["in_motion"], moving["in_motion"]) == (0, DEVICES)
    assert moving["faults"] == {}


def test_a_check_that_was_interrupted_goes_on_and_finds_the_same(drift: Drift, tmp_path: Path) -> None:
    check(drift, tmp_path, regions=(HOME,))
    whole = seen(tmp_path, (HOME,))
    directory = tmp_path / "interrupted"
    drift.fleet.sandbox.fault(region=HOME, service="iot", operation="ListCertificates", effect="refuse")
    broken = {"retries": {"max_attempts": 0}, "connect_timeout": 2, "read_timeout": 2}
    asked = {"application": drift.fleet.application, "store": str(directory / f"{HOME}.sqlite"), "sample": 0}
    settings: dict[str, Any] = {**asked, "share": 1.0, "settling": 0, "aws_config": broken}
    try:
        at(drift.fleet).refusal("fleet_replication_info", **settings)
    finally:
        drift.fleet.sandbox.clear_faults()
    began = drift.fleet.sandbox.now()
    assert check(drift, directory, regions=(HOME,))[HOME]["replication"]["resumed"]
    calls = [call["operation"] for call in drift.fleet.sandbox.journal(since=began, region=HOME)]
    assert "ListCertificates" in calls
    assert calls.count("Scan") == 1, "of the definitions: the tables were read before"
    assert seen(directory, (HOME,)) == whole


def test_rows_that_one_region_lacks_are_found_and_all_is_reported(drift: Drift, tmp_path: Path) -> None:
    fleet = drift.fleet
    fleet.sandbox.seed(devices=2, regions=[AWAY], application=fleet.application, prefix="lonely-")
    try:
        check(drift, tmp_path)
        stores = {region: str(tmp_path / f"{region}.sqlite") for region in BOTH}
        reports = {"json_path": str(tmp_path / "report.json"), "csv_path": str(tmp_path / "faults.csv")}
        answer = run_module("fleet_replication_report", stores=stores, **reports)
        assert answer["faults"][AWAY]["row_missing"] == 2
        assert "row_missing" not in answer["faults"][HOME]
        lines = list(csv.DictReader((tmp_path / "faults.csv").open()))
        report = json.loads((tmp_path / "report.json").read_text())
        assert lines == report["faults"]
        assert len(lines) == sum(sum(each.values()) for each in answer["faults"].values())
        [lonely] = [each for each in lines if each["thing_name"] == "lonely-1"]
        assert (lonely["region"], lonely["fault"], lonely["detail"]) == (AWAY, "row_missing", f"not in {HOME}")
        assert lonely["repaired_by"] == KINDS["row_missing"].repair
    finally:
        for name in ("lonely-1", "lonely-2"):
            certificate = fleet.row(AWAY, name)["CertificateId"]
            drift.iot(AWAY).detach_thing_principal(thingName=name, principal=drift.arn(AWAY, certificate))
            drift.iot(AWAY).detach_policy(policyName=drift.device_policy(), target=drift.arn(AWAY, certificate))
            drift.iot(AWAY).delete_thing(thingName=name)
            for table in ("device-inventory", "device-status"):
                key = {"ThingName": {"S": name}}
                drift.dynamodb(AWAY).delete_item(TableName=f"{fleet.application}-{table}", Key=key)


def test_faults_of_the_region_itself_are_found(drift: Drift, tmp_path: Path) -> None:
    iot, policy, ca = drift.iot(HOME), drift.device_policy(), tmp_path / "ca.pem"
    ca.write_text(drift.fleet.ca.pem)
    unknown = tmp_path / "unknown.pem"
    unknown.write_text(drift.fleet.root.pem)
    iot.update_event_configurations(eventConfigurations={"JOB": {"Enabled": False}})
    iot.update_ca_certificate(certificateId=drift.fleet.ca_ids[HOME], newAutoRegistrationStatus="DISABLE")
    iot.create_policy_version(policyName=policy, policyDocument=ALLOW, setAsDefault=False)
    definition = {"Name": f"policy#{EXTRA_POLICY}", "Document": ALLOW.replace("iot:*", "iot:Connect"), "Region": HOME}
    table = f"{drift.fleet.application}-definitions"
    drift.dynamodb(HOME).put_item(TableName=table, Item=drift.fleet.image({**definition, "State": "ACTIVE"}))
    try:
        asked = {"ca_certificate_paths": [str(ca), str(unknown)], "event_types": ["JOB"], "regions": (HOME,)}
        check(drift, tmp_path, **asked)
        faults = {each[1:] for each in seen(tmp_path, (HOME,)) if KINDS[each[1]].repair == ROLE}
        assert faults == {
            ("ca_inactive", f"{ca}: ACTIVE, auto-registration DISABLE"),
            ("ca_missing", str(unknown)),
            ("event_configuration", "JOB"),
            ("policy_version", f"{policy}: 1 instead of 2"),
            ("policy_document", EXTRA_POLICY),
        }
    finally:
        iot.update_ca_certificate(certificateId=drift.fleet.ca_ids[HOME], newAutoRegistrationStatus="ENABLE")
        iot.delete_policy_version(policyName=policy, policyVersionId="2")
        drift.dynamodb(HOME).delete_item(TableName=table, Key={"Name": {"S": definition["Name"]}})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"share": 0}, "share=0 is not a part of a quota"),
        ({"segments": 0}, "segments=0 is less than 1"),
        ({"event_types": ["THINGS"]}, "event_types=THINGS is not known"),
        ({"application": "nobody"}, "application=nobody has no table nobody-device-inventory in eu-west-1"),
        ({"store": "/proc/nowhere/store"}, "store=/proc/nowhere/store cannot be used"),
    ],
)
def test_what_cannot_be_meant_is_refused(drift: Drift, option: dict[str, Any], message: str, tmp_path: Path) -> None:
    asked = {"application": drift.fleet.application, "store": str(tmp_path / "store"), **option}
    assert at(drift.fleet).refusal("fleet_replication_info", **asked).startswith(message)


@pytest.mark.long
@pytest.mark.defect("D-5")
def test_shadows_that_differ_are_found_when_asked_for(drift: Drift, tmp_path: Path) -> None:
    """The table says what each shadow is to be; a tombstone, that there is none."""
    data, table = drift.fleet.sandbox.client("iot-data", HOME), f"{drift.fleet.application}-shadows"
    shadows = {
        ("same", "$classic"): ({"desired": {"on": 1}}, {"desired": {"on": 1}}),
        ("other", "$classic"): ({"desired": {"on": 1}}, {"desired": {"on": 2}}),
        ("gone", "named"): ({"desired": {"on": 1}}, None),
        ("buried", "named"): (None, {"reported": {"on": 1}}),
    }
    things = dict(zip(("same", "other", "gone", "buried"), (drift.take()[0] for _each in shadows), strict=True))
    for (who, name), (wanted, there) in shadows.items():
        item = {"ThingName": things[who], "ShadowName": name, "UpdatedAtMs": 1, "UpdatedRegion": AWAY}
        state = {"State": json.dumps(wanted)} if wanted else {"ExpiresAt": 2**31}
        drift.dynamodb(HOME).put_item(TableName=table, Item=drift.fleet.image({**item, **state}))
        if there:
            named = {} if name == "$classic" else {"shadowName": name}
            data.update_thing_shadow(thingName=things[who], payload=json.dumps({"state": there}), **named)
    check(drift, tmp_path, regions=(HOME,), depth="full", shadows=True)
    found = {(fault.thing_name, fault.detail) for fault in Store(str(tmp_path / f"{HOME}.sqlite")).faults(["shadow"])}
    assert found == {
        (things["other"], "$classic: desired differ"),
        (things["gone"], "named: is not there"),
        (things["buried"], "named: is there, and was deleted"),
    }
