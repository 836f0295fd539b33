# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/device_hosts.yml over SSH: a Linux host becomes a device of the fleet, and a host like any other again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.hosts import Host, inventory, obstacle
from tests.integration.deployment import Deployment, eventually
from tests.integration.managed_host import NAME, UNIT, USER, Managed, asked, booted, changed, everything, join
from tests.integration.revocable import Revocable
from tests.integration.sandbox.mqtt import issue
from tests.wheels import wheel

REQUIREMENTS = Path(__file__).parents[2] / "roles/device_host/files/requirements.txt"
OTHERS = ("edge-revoked", "edge-expired", "edge-mistaken")
DIRECTORY = f"/var/lib/iotops-device/{NAME}"

pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "-")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: the program, in a folder of its own, and what it needs."""
    directory = tmp_path_factory.mktemp("wheels")
    for line in REQUIREMENTS.read_text().splitlines():
        if not line.startswith("#"):
            wheel(line.split("==")[0], directory)
    wheel("iotops", directory.with_name("program"))
    return directory


@pytest.fixture(scope="module")
def bare(deployment: Deployment, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A host with nothing on it; beside it in the inventory three devices on it that have their files already."""
    directory = tmp_path_factory.mktemp("managed")
    fleet, host = Revocable(deployment, directory), Host(directory / NAME)
    others = {name: {**host.variables, "endpoint_check_directory": f"/srv/{name}"} for name in OTHERS}
    path = inventory(
        fleet.inventory,
        directory / "all.json",
        {NAME: host.variables, **others},
        ansible_ssh_pipelining=True,
        iotops_program_package=str(next(wheels.with_name("program").glob("iotops-*.whl"))),
        iotops_program_wheelhouse=str(wheels),
        device_host_telemetry=1,
    )
    yield Managed(fleet, host, path, directory)
    host.close()


@pytest.fixture(scope="module")
def managed(bare: Managed) -> Managed:
    """The host as a device, which has not connected yet."""
    bare.said = bare.run("-vvv", "--diff")
    return bare


@pytest.mark.long
def test_check_mode_tells_what_a_bare_host_would_become_and_changes_nothing(bare: Managed) -> None:
    assert changed(bare.run("--check", "--diff")) > 5
    assert bare.left() == set()


@pytest.mark.defect("S4-4")
def test_a_second_run_changes_nothing(managed: Managed) -> None:
    assert "the service of edge-1 is enabled, and starts when the host boots" in " ".join(managed.said.split())
    assert changed(managed.run()) == 0


def test_the_key_is_on_the_host_and_nowhere_else(managed: Managed, deployment: Deployment) -> None:
    host, files = managed.host, [DIRECTORY, *(f"{DIRECTORY}/{NAME}.{kind}.pem" for kind in ("key", "cert"))]
    assert host.run("stat", "-c", "%n %a %U:%G", *files).splitlines() == [
        f"{DIRECTORY} 700 {USER}:{USER}",
        f"{DIRECTORY}/{NAME}.key.pem 600 {USER}:{USER}",
        f"{DIRECTORY}/{NAME}.cert.pem 644 {USER}:{USER}",
    ]
    secret = host.run("cat", files[1]).splitlines()[1].encode()
    assert len(secret) == 64
    assert secret not in everything(managed.directory)
    assert secret not in everything(deployment.sandbox.directory)
    assert secret not in managed.said.encode()


@pytest.mark.defect("S4-3")
def test_what_the_unit_starts_sends_telemetry_and_nobody_else_reads_the_key(
    managed: Managed, deployment: Deployment
) -> None:
    join(managed, deployment)
    refused = managed.host.run("setpriv", "--reuid", "nobody", "--clear-groups", "ls", DIRECTORY, check=False)
    assert refused == ""
    assert managed.host.run("cat", f"{DIRECTORY}/root.cert.pem") == deployment.root.pem


def test_an_endpoint_is_green_or_red_and_says_why(managed: Managed, deployment: Deployment) -> None:
    """From the controller and from hosts, in both regions: one that is well, one revoked, one expired, one mistaken."""
    home, away = deployment.regions
    fleet, host = managed.fleet, managed.host
    [canary, revoked] = fleet.issue("edge-canary", "edge-revoked")
    join(managed, deployment)
    for each in (canary, revoked):
        deployment.admit(each, home)
    for name in ("edge-canary", "edge-revoked"):
        eventually(partial(deployment.settled, away, name))
    expired = issue("edge-expired", deployment.ca, start=-3, days=-1)
    stranger = issue("Another Root", authority=True)
    for name, made, root in (("edge-revoked", revoked, deployment.root), ("edge-expired", expired, deployment.root),
                             ("edge-mistaken", canary, stranger)):  # fmt: skip
        parts = {"root.cert": root.pem, f"{name}.cert": made.pem, f"{name}.key": made.key_pem}
        for part, content in parts.items():
            host.put(f"/srv/{name}/{part}.pem", content)

    fleet.revoke(names=["edge-revoked"])
    eventually(lambda: all(deployment.certificate(region, revoked) == "REVOKED" for region in deployment.regions))
    code, seen = managed.look("-e", "fleet_thing=edge-revoked")
    assert code == 2
    for region in deployment.regions:
        well = {key: seen[NAME, region][key] for key in ("state", "connect", "device")}
        assert well == {"state": "green", "connect": "accepted", "device": NAME}
        for who in ("controller", "edge-revoked"):
            assert seen[who, region]["connect"] == "closed"
            assert "revoked in this region" in seen[who, region]["reason"]
            assert "the registry says: edge-revoked REVOKED, this certificate REVOKED" in seen[who, region]["reason"]
        assert re.search(
            "edge-expired.cert.pem ended at 20.*give the device another", seen["edge-expired", region]["reason"]
        )
        assert (
            "see that /srv/edge-mistaken/root.cert.pem is the fleet's root" in seen["edge-mistaken", region]["reason"]
        )


@pytest.mark.long
def test_endpoints_that_are_all_green_end_well(managed: Managed, deployment: Deployment) -> None:
    home, away = deployment.regions
    [canary] = managed.fleet.issue("edge-green")
    join(managed, deployment)
    deployment.admit(canary, home)
    eventually(lambda: deployment.settled(away, "edge-green"))
    code, green = managed.look("-e", "fleet_thing=edge-green", limit=f"regions,{NAME}")
    assert [(who, region, row["state"], row["connect"]) for (who, region), row in sorted(green.items())] == [
        (who, region, "green", "accepted") for who in ("controller", NAME) for region in (home, away)
    ], green
    assert code == 0


@pytest.mark.long
def test_a_host_that_cannot_be_this_device_is_left_alone_and_named(managed: Managed) -> None:
    """It is another device already, and its Python is too old."""
    managed.host.put("/srv/python", "#!/bin/sh\necho 3.10.12\n")
    managed.host.run("chmod", "755", "/srv/python")
    for given, why in (
        ("device_host_thing=edge-other", f"{NAME} is the device {NAME}, and one host is one device: remove that first"),
        (
            "iotops_program_python=/srv/python",
            f"/srv/python of {NAME} is 3.10.12, and the program needs 3.11 or later",
        ),
    ):
        said = managed.refused("-e", given)
        assert why in said
        assert changed(said) == 0


@pytest.mark.long
def test_a_run_that_was_killed_before_the_restart_is_finished_by_the_next(managed: Managed) -> None:
    """It has installed, and not written down what the service was started with."""
    host, unit = managed.host, f"iotops-device@{NAME}.service"
    booted(host)
    managed.run()
    assert asked(host, "restart") == []
    host.run("rm", "/opt/iotops/started")
    assert changed(managed.run()) == 2
    assert asked(host, "restart") == [unit]
    assert changed(managed.run()) == 0
    assert asked(host, "restart") == [unit]


@pytest.mark.long
def test_uninstalled_nothing_is_left_and_the_run_says_what_to_revoke(managed: Managed) -> None:
    """The last but one test of this file: the others want the device. The host had another name once."""
    host = managed.host
    host.put("/var/lib/iotops-device/edge-former/edge-former.key.pem", "the key of another time")
    host.run("ln", "-s", UNIT, "/etc/systemd/system/multi-user.target.wants/iotops-device@edge-former.service")
    booted(host)
    said = managed.run("-e", "device_host_state=absent")
    assert set(asked(host, "stop")) == {f"iotops-device@{name}.service" for name in (NAME, "edge-former")}
    host.run("rm", "-r", "/usr/local/bin/systemctl", "/run/systemd")
    assert f"playbooks/revoke_devices.yml -e fleet_devices={NAME},edge-former" in " ".join(said.split())
    assert {path for path in managed.left() if not path.startswith("/srv")} == set()
    assert USER not in host.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")
    assert not list((managed.fleet.pki / "device_hosts").rglob(f"{NAME}*"))


@pytest.mark.long
def test_uninstalled_again_nothing_changes(managed: Managed) -> None:
    managed.run("-e", "device_host_state=absent")
    assert changed(managed.run("-e", "device_host_state=absent")) == 0


@pytest.fixture
def lacking(deployment: Deployment, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Managed]:
    """A host without mosquitto's clients, for which AWS IoT is to sign."""
    name = "edge-aws"
    fleet, host = Revocable(deployment, tmp_path), Host(tmp_path / name)
    path = inventory(
        fleet.inventory,
        tmp_path / "all.json",
        {name: host.variables},
        ansible_ssh_pipelining=True,
        iotops_program_build_dir=str(tmp_path / "built"),
        iotops_program_wheelhouse=str(wheels),
        device_host_signer="aws",
        device_host_telemetry=1,
        device_host_system_trust=True,
        device_host_remove_packages=True,
        fleet_allow_list=True,
    )
    host.run("apt-get", "remove", "--yes", "mosquitto-clients")
    yield Managed(fleet, host, path, tmp_path, name)
    host.close()


@pytest.mark.long
def test_aws_iot_signs_for_names_that_are_free_and_listed(lacking: Managed, deployment: Deployment) -> None:
    """The program is built from the checkout; a package is fetched, goes with the device, and is fetched again."""
    host, name, taken = lacking.host, lacking.name, "edge-taken"
    [other] = lacking.fleet.issue(taken)
    deployment.admit(other, deployment.regions[0])

    said = lacking.refused("-e", f"device_host_thing={taken}")
    assert f"AWS IoT was not asked for {taken}: the name is taken: the registry has a device of it" in said
    assert host.run("mosquitto_pub", "--help", check=False)
    lacking.run("-e", f"device_host_thing={taken}", "-e", "device_host_state=absent")
    status = host.run("dpkg-query", "-W", "-f", "${db:Status-Status}", "mosquitto-clients", check=False)
    assert status in ("", "not-installed")
    assert "test-fleet" not in host.run("ls", "/etc/ssl/certs", "/usr/local/share/ca-certificates")

    assert f"AWS IoT was not asked for {name}: it is not on the allow-list" in lacking.refused()
    dynamodb = deployment.sandbox.client("dynamodb", deployment.regions[0])
    dynamodb.put_item(TableName=f"{deployment.application}-allow-list", Item={"ThingName": {"S": name}})
    lacking.run()
    assert host.run("mosquitto_pub", "--help", check=False)
    assert [deployment.row(region, name)["State"] for region in deployment.regions] == ["ACTIVE", "ACTIVE"]
    assert deployment.row(deployment.regions[0], name)["Certificates"].popitem()[1]["IssuerFingerprint"] == "aws"
    assert changed(lacking.run("--check")) == 0
    host.run("openssl", "verify", "-CApath", "/etc/ssl/certs", f"/var/lib/iotops-device/{name}/root.cert.pem")
    join(lacking, deployment)
