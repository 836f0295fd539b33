"""A device that knows nothing of us: mosquitto_pub with three files and a name."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet

DOMAIN = "iot.example.com"
REGIONS = ("eu-west-1", "us-west-2")
WITH_OWN_HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"'
PATIENCE_SECONDS = 30


def own_namespace_allowed() -> bool:
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.skipif(
        not shutil.which("mosquitto_pub"), reason="mosquitto_pub is absent: apt-get install mosquitto-clients"
    ),
    pytest.mark.skipif(not own_namespace_allowed(), reason="unshare -rm is not allowed: no private /etc/hosts"),
]


def publish(fleet: Fleet, region: str, thing: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run mosquitto_pub with the name resolved to the region's listener."""
    host, _, port = fleet.sandbox.regions[region]["mqtt"].partition(":")
    hosts = directory / f"hosts-{region}"
    hosts.write_text(f"{host} {DOMAIN}\n")
    files = fleet.pki / "clients" / thing / thing
    command = ["mosquitto_pub", "-h", DOMAIN, "-p", port, "--cafile", str(fleet.pki / "rootCA/certs/root.cert.pem")]
    command += ["--cert", f"{files}.cert.pem", "--key", f"{files}.key.pem"]
    command += ["-i", thing, "-t", f"i/{thing}/m", "-q", "1", "-m", '{"from": "mosquitto"}']
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", WITH_OWN_HOSTS, str(hosts), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def stored_in(fleet: Fleet, reader: str, thing: str) -> list[str]:
    answer = fleet.sandbox.client("dynamodb", reader).query(
        TableName="multi-region-iot-data",
        KeyConditionExpression="PK = :thing",
        ExpressionAttributeValues={":thing": {"S": thing}},
    )
    return sorted(item["region"]["S"] for item in answer["Items"])


def wait_until_stored(fleet: Fleet, reader: str, thing: str, regions: list[str]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while (found := stored_in(fleet, reader, thing)) != regions and time.monotonic() < end:
        time.sleep(0.2)
    assert found == regions


def test_mosquitto_is_dropped_once_and_then_accepted_everywhere(fleet: Fleet, tmp_path: Path) -> None:
    thing = "mosquitto-1"
    fleet.run("playbooks/issue_devices.yml", "-e", f"fleet_devices={thing}").ok()
    home, away = REGIONS

    first = publish(fleet, home, thing, tmp_path)
    assert first.returncode != 0
    assert "connection was lost" in first.stderr

    end = time.monotonic() + PATIENCE_SECONDS
    while (later := publish(fleet, home, thing, tmp_path)).returncode != 0 and time.monotonic() < end:
        time.sleep(1)
    assert later.returncode == 0, later.stderr
    wait_until_stored(fleet, away, thing, [home])

    status = fleet.sandbox.client("dynamodb", away)
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        item = status.get_item(TableName="multi-region-iot-device-status", Key={"ThingName": {"S": thing}}).get(
            "Item", {}
        )
        if "AppliedWriteId" in item:
            break
        time.sleep(0.2)
    assert publish(fleet, away, thing, tmp_path).returncode == 0
    for reader in REGIONS:
        wait_until_stored(fleet, reader, thing, sorted(REGIONS))
