# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sandbox seeds is what convergence writes: converging it changes nothing, and its devices connect."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.deployment import Deployment, eventually
from tests.integration.sandbox.mqtt import Device


@pytest.fixture(scope="module")
def keys(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of three devices, the last of which is revoked."""
    directory = tmp_path_factory.mktemp("seeded")
    certificate, key = deployment.ca.files(directory)
    deployment.sandbox.seed(
        devices=3,
        revoked=1,
        prefix="sown-",
        regions=list(deployment.regions),
        application=deployment.application,
        authority=[str(certificate), str(key)],
        keys=str(directory / "keys"),
    )
    return directory / "keys"


@pytest.mark.parametrize("name", ["sown-1", "sown-3"])
def test_convergence_finds_nothing_to_do(deployment: Deployment, keys: Path, name: str) -> None:
    for region in deployment.regions:
        client = deployment.sandbox.client("iot", region)
        thing, before = client.describe_thing(thingName=name), deployment.status(region, name)
        row, began = deployment.row(region, name), datetime.now(UTC)
        deployment.start(region, "converge-device", {"ThingName": name, "Force": True})
        eventually(lambda region=region, old=before: deployment.status(region, name)["AppliedAt"] != old["AppliedAt"])
        after = deployment.status(region, name)
        same = ("Applied", "AppliedWriteId", "AppliedVersion", "ThingId")
        assert {each: after[each] for each in same} == {each: before[each] for each in same}
        assert client.describe_thing(thingName=name) | {"ResponseMetadata": None} == thing | {"ResponseMetadata": None}
        assert deployment.row(region, name) == row
        certificate = client.describe_certificate(certificateId=row["CertificateId"])["certificateDescription"]
        assert certificate["status"] == ("ACTIVE" if name == "sown-1" else "REVOKED")
        calls = deployment.sandbox.journal(began, region=region, service="iot")
        assert "UpdateThing" not in {call["operation"] for call in calls}


def test_devices_connect_that_may(deployment: Deployment, keys: Path) -> None:
    def connects(region: str, name: str) -> bool:
        files = keys / f"{name}.cert.pem", keys / f"{name}.key.pem"
        device = Device(deployment.sandbox.regions[region]["mqtt"], deployment.trust, files, name)
        accepted = device.connect()
        device.close()
        return accepted

    for region in deployment.regions:
        assert connects(region, "sown-2")
        assert not connects(region, "sown-3")
