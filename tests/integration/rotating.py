# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet whose server certificate is rotated: its PKI, its devices under way, and what is served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._device.errors import DeviceError
from ansible_collections.iotops.fleet.plugins.module_utils._device.served import Server
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint
from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_authority, ensure_server_certificate
from tests.e2e.fleet import Fleet as Playbooks
from tests.e2e.fleet import Run
from tests.integration.deployment import Deployment

DOMAIN = "iot.example.com"


@dataclass
class RotatingFleet(Deployment):
    """A deployment whose server certificate comes from a PKI as playbooks make it."""

    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def pki(self) -> Path:
        """The PKI of the server certificate."""
        return self.directory / "pki"

    def serve(self, region: str, domain: str = DOMAIN) -> str:
        """Import the server certificate of the PKI and serve the domain with it; the certificate's ARN."""
        if not self.pki.exists():
            self._build()
        acm, iot = self.sandbox.client("acm", region), self.sandbox.client("iot", region)
        arn: str = acm.import_certificate(
            Certificate=self.present.read_bytes(),
            PrivateKey=(self.pki / "server/private/server.key.pem").read_bytes(),
            CertificateChain=(self.pki / "intermediateCA/certs/ca-chain.cert.pem").read_bytes(),
            Tags=[{"Key": "Name", "Value": f"{self.application}-server"}],
        )["CertificateArn"]
        endpoint = iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
        self.stack(
            region,
            "endpoint",
            DomainName=domain,
            HostedZoneId=self.sandbox.hosted_zone_id,
            ServerCertificateArn=arn,
            DeviceEndpoint=endpoint,
        )
        return arn

    def in_dns(self) -> list[str]:
        """The regions that the name leads to."""
        route53 = self.sandbox.client("route53", self.regions[0])
        found = route53.list_resource_record_sets(HostedZoneId=self.sandbox.hosted_zone_id)["ResourceRecordSets"]
        ours = [each for each in found if each["Name"] == f"{DOMAIN}." and each["Type"] == "CNAME"]
        return sorted(each["SetIdentifier"] for each in ours)

    @property
    def present(self) -> Path:
        """The present server certificate."""
        return self.pki / "server/certs/server.cert.pem"

    @property
    def successor(self) -> Path:
        """Its successor, while there is one."""
        return self.pki / "server/next/certs/server.cert.pem"

    def imported(self, region: str) -> tuple[str, str]:
        """ARN and fingerprint of the one server certificate in the region's ACM."""
        acm = self.sandbox.client("acm", region)
        listed = acm.list_certificates(Includes={"keyTypes": ["EC_prime256v1", "RSA_2048"]})["CertificateSummaryList"]
        arns = [each["CertificateArn"] for each in listed if each["Type"] == "IMPORTED"]
        assert len(arns) == 1, arns
        return arns[0], fingerprint(acm.get_certificate(CertificateArn=arns[0])["Certificate"])

    def server(self, region: str) -> Server:
        """What a device dials in the region."""
        host, _, port = self.sandbox.regions[region]["mqtt"].rpartition(":")
        return Server(host, int(port), DOMAIN, self.trust, 60)

    def rotate(self, *arguments: str) -> Run:
        """Run the playbook that rotates."""
        return self.playbooks().run("playbooks/rotate_server_certificate.yml", *arguments)

    def replace(self, *arguments: str) -> Run:
        """Run the playbook that replaces."""
        return self.playbooks().run("playbooks/replace_server_certificate.yml", *arguments)

    def playbooks(self) -> Playbooks:
        """The playbooks on this fleet, for those who want to stop one."""
        return Playbooks(self.sandbox, self._inventory())

    def _build(self) -> None:
        shared: dict[str, Any] = {
            "key_profile": "ec",
            "organization": self.application,
            "serial_policy": "random",
            "passphrase": None,
            "issuer_passphrase": None,
            "check_mode": False,
        }
        root, issuing = str(self.pki / "rootCA"), str(self.pki / "intermediateCA")
        ensure_authority(
            path=root,
            authority_type="root",
            common_name=f"{self.application} Root CA",
            days=7300,
            issuer_path=None,
            **shared,
        )
        ensure_authority(
            path=issuing,
            authority_type="issuing",
            common_name=f"{self.application} Issuing CA G1",
            days=3650,
            issuer_path=root,
            **shared,
        )
        ensure_server_certificate(
            path=str(self.pki / "server"),
            authority_path=issuing,
            names=[DOMAIN],
            days=375,
            renew_before=30,
            renew=False,
            passphrase=None,
            check_mode=False,
        )
        self.trust = self.pki / "rootCA/certs/root.cert.pem"

    def _inventory(self) -> Path:
        hosts = {
            region: {"fleet_device_address": self.addresses.get(region, self.sandbox.regions[region]["mqtt"])}
            for region in self.regions
        }
        variables = {
            "ansible_connection": "local",
            "ansible_pipelining": True,  # fewer processes for each task
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "fleet_application": self.application,
            "fleet_home_region": self.regions[0],
            "fleet_write_region": self.regions[0],
            "fleet_domain": DOMAIN,
            "fleet_key_profile": "ec",
            "fleet_state_machine_type": "EXPRESS",
            "fleet_tags": {},
            "fleet_pki_dir": str(self.pki),
            "fleet_hosted_zone_id": self.sandbox.hosted_zone_id,
            "fleet_account_id": self.sandbox.account_id,
            "fleet_aws": {
                "region": "{{ inventory_hostname }}",
                "endpoint_url": self.sandbox.gateway,
                "access_key": "test",
                "secret_key": "any-will-do",
            },
            "server_rotation_timeout": 60,
            "server_replacement_timeout": 60,
            "server_replacement_drain": 3,
        }
        path = self.directory / "inventory.yml"
        path.write_text(json.dumps({"regions": {"hosts": hosts, "vars": variables}}))
        return path

    def stored(self, region: str) -> dict[tuple[str, str], set[int]]:
        """What the region's data table holds: (device, region it was sent in) -> numbers of its messages."""
        found: dict[tuple[str, str], set[int]] = defaultdict(set)
        pages = (
            self.sandbox.client("dynamodb", region).get_paginator("scan").paginate(TableName=f"{self.application}-data")
        )
        for item in (plain_item(item) for page in pages for item in page["Items"]):
            found[item["PK"], item["region"]].add(int(item["message"]["n"]))
        return found


@dataclass
class Session:
    """A device's connection to one region; it publishes with QoS 1 and remembers what was acknowledged."""

    name: str
    region: str
    address: str
    files: tuple[Path, Path]
    trust: Path
    sent: int = 0
    acknowledged: set[int] = field(default_factory=set)
    lost: str = ""

    async def connect(self) -> None:
        """Connect; raises when the broker refuses."""
        context = ssl.create_default_context(cafile=str(self.trust))
        context.load_cert_chain(*self.files)
        host, _, port = self.address.rpartition(":")
        self._reader, self._writer = await asyncio.open_connection(
            host, int(port), ssl=context, server_hostname=DOMAIN, ssl_handshake_timeout=60
        )
        body = b"\x00\x04MQTT\x04\x02\x04\xb0" + _text(self.name)
        self._writer.write(b"\x10" + _length(len(body)) + body)
        assert await self._reader.readexactly(4) == b"\x20\x02\x00\x00", f"{self.name} was refused in {self.region}"
        self._listening = asyncio.create_task(self._listen())

    def publish(self) -> None:
        """Send the next message."""
        self.sent += 1
        body = _text(f"i/{self.name}/load") + self.sent.to_bytes(2, "big") + json.dumps({"n": self.sent}).encode()
        self._writer.write(b"\x32" + _length(len(body)) + body)

    async def close(self, expected: int | None = None) -> None:
        """Wait until all that was sent, or ``expected`` messages, are acknowledged, and leave."""
        expected = self.sent if expected is None else expected
        deadline = time.monotonic() + 300
        while len(self.acknowledged) < expected and not self.lost and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self._listening.cancel()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            self._writer.write(b"\xe0\x00")
            self._writer.close()
            await self._listening

    async def _listen(self) -> None:
        try:
            while True:
                packet = await self._reader.readexactly(4)
                assert packet[:2] == b"\x40\x02", packet
                self.acknowledged.add(int.from_bytes(packet[2:], "big"))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.lost = repr(error)


class Caller:
    """A device that asks DNS where to go before each message, and leaves after it."""

    def __init__(self, fleet: RotatingFleet, name: str) -> None:
        self.fleet, self.name = fleet, name
        issued = fleet.issue(name)
        self._files = issued.files(fleet.directory, chain=fleet.ca.pem)
        for region in fleet.regions:
            fleet.activate(region, issued)
        self.acknowledged: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._sent = 0

    async def call(self) -> None:
        """One message; raises when the device is refused or would not trust what it is shown."""
        regions = await asyncio.to_thread(self.fleet.in_dns)
        region = regions[self._sent % len(regions)]
        address = self.fleet.sandbox.regions[region]["mqtt"]
        session = Session(self.name, region, address, self._files, self.fleet.trust, self._sent)
        await session.connect()
        session.publish()
        await session.close(1)
        self._sent = session.sent
        self.acknowledged[self.name, region] |= session.acknowledged

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """A message after the other within; raises at the end what went wrong."""
        end = threading.Event()

        async def go_on() -> None:
            while not end.is_set():
                await self.call()
                await asyncio.sleep(0.2)

        failures: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(go_on())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
        if failures:
            raise AssertionError(f"{self.name} after {self._sent} messages") from failures[0]


class Load:
    """Devices with a session in every region, each publishing once a second in each of them."""

    def __init__(self, fleet: RotatingFleet, devices: int) -> None:
        self.sessions: dict[str, list[Session]] = defaultdict(list)
        for number in range(devices):
            name = f"load-{devices}-{number:03}"
            issued = fleet.issue(name)
            files = issued.files(fleet.directory, chain=fleet.ca.pem)
            for region in fleet.regions:
                fleet.activate(region, issued)
                address = fleet.sandbox.regions[region]["mqtt"]
                self.sessions[name].append(Session(name, region, address, files, fleet.trust))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def all(self) -> list[Session]:
        """Every session."""
        return [session for each in self.sessions.values() for session in each]

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Connected and publishing within; at the end every message sent is acknowledged."""
        self._thread.start()
        self._run(self._connect())
        publishing = asyncio.run_coroutine_threadsafe(self._publish(), self._loop)
        try:
            yield self
        finally:
            publishing.cancel()
            self._run(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=600)

    async def _connect(self) -> None:
        for session in self.all:
            await session.connect()

    async def _publish(self) -> None:
        start = time.monotonic()
        for second in itertools.count():
            for position, sessions in enumerate(self.sessions.values()):
                due = start + second + position / len(self.sessions)
                await asyncio.sleep(max(0, due - time.monotonic()))
                for session in sessions:
                    session.publish()

    async def _close(self) -> None:
        await asyncio.gather(*(session.close() for session in self.all))


@contextlib.contextmanager
def watching(fleet: RotatingFleet, pause: float = 0.2) -> Iterator[dict[str, list[str]]]:
    """Region -> fingerprints of the leaf that it served, one after the other, each as often as it came back."""
    seen: dict[str, list[str]] = {region: [] for region in fleet.regions}
    end = threading.Event()

    def watch(region: str) -> None:
        server = fleet.server(region)
        while not end.wait(pause):
            shown = _shown(server)
            if seen[region][-1:] != [shown]:
                seen[region].append(shown)

    threads = [threading.Thread(target=watch, args=(region,), daemon=True) for region in fleet.regions]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        time.sleep(2 * pause)
        end.set()
        for thread in threads:
            thread.join()


def _shown(server: Server) -> str:
    """Fingerprint of the leaf that a device is shown, or why it would not go on."""
    try:
        served = next(server.visits(1))
    except DeviceError as error:
        return str(error)
    return served.distrust or served.fingerprints[0]


def _text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


def _length(number: int) -> bytes:
    """A remaining length below 16,384."""
    return bytes([number]) if number < 128 else bytes([number % 128 | 128, number // 128])
