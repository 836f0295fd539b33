# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that site.yml has built in two regions and that devices are in already; a third region comes and goes."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from boto3.dynamodb.types import TypeSerializer

from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import following
from iotops.sandbox.client import Sandbox
from tests.e2e.fleet import ROOT, Fleet, Run
from tests.e2e.listing import resources

HOME, AWAY, NEW = "eu-west-1", "us-west-2", "ap-southeast-2"
APPLICATION, DOMAIN = "multi-region-iot", "iot.example.com"
IN_NEW = ("-e", f"fleet_region={NEW}")
GLOBAL_SERVICES = {"iam", "route53", "sts"}
READS = ("BatchGet", "Describe", "Get", "List", "Query", "Scan")
DEVICE_CALLS = ("CreateThing", "RegisterCertificate", "AttachThingPrincipal", "AttachPolicy", "UpdateCertificate")
AT_ONCE = 40  # connections
REFUSED = (OSError, asyncio.IncompleteReadError)  # ssl.SSLError is an OSError

Call = dict[str, Any]


class GrowingFleet:
    """``devices`` things, the last ``revoked`` of them REVOKED, each with a key of its own."""

    def __init__(self, directory: Path, devices: int, revoked: int) -> None:
        self.directory, self.devices, self.revoked = directory, devices, revoked
        self.sandbox = Sandbox(directory / "sandbox").start()
        inventory = directory / "inventory"
        shutil.copytree(ROOT / "inventories/sandbox", inventory)
        self.playbooks = Fleet(self.sandbox, inventory)
        self.inventory(HOME, AWAY)
        self.playbooks.run("site.yml").ok()
        authority = self.playbooks.pki / "intermediateCA"
        self.sandbox.seed(
            devices=devices,
            revoked=revoked,
            regions=[HOME, AWAY],
            keys=str(directory / "keys"),
            authority=[str(authority / "certs/issuing.cert.pem"), str(authority / "private/issuing.key.pem")],
        )
        self.nothing = self.standing(NEW)  # of the fleet: what an account has from the beginning

    @property
    def live(self) -> list[str]:
        """The devices that may connect."""
        return [f"seed-{number}" for number in range(1, self.devices - self.revoked + 1)]

    @property
    def ended(self) -> list[str]:
        """Those that are REVOKED."""
        return [f"seed-{number}" for number in range(self.devices - self.revoked + 1, self.devices + 1)]

    def inventory(self, *regions: str) -> None:
        """Write the regions into the inventory, as an operator does."""
        hosts = {"regions": {"hosts": dict.fromkeys(regions), "vars": {"ansible_pipelining": True}}}
        (self.playbooks.inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))

    def run(self, playbook: str, *arguments: str) -> Run:
        """Run a playbook to its end."""
        return self.playbooks.run(playbook, *arguments)

    def client(self, service: str, region: str) -> Any:
        """boto3's client."""
        return self.sandbox.client(service, region)

    def in_dns(self) -> list[str]:
        """The regions that the name leads to."""
        zone = self.sandbox.hosted_zone_id
        found = self.client("route53", HOME).list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        return sorted(
            each["SetIdentifier"] for each in found if (each["Name"], each["Type"]) == (f"{DOMAIN}.", "CNAME")
        )

    def reach(self, region: str, reach: str) -> None:
        """Publish or hide the region, as roles do by the stack of its endpoint."""
        cloudformation, stack = self.client("cloudformation", region), f"{APPLICATION}-endpoint"
        known = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Parameters"]
        values = {each["ParameterKey"]: each["ParameterValue"] for each in known} | {"Reach": reach}
        cloudformation.update_stack(
            StackName=stack,
            UsePreviousTemplate=True,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        )
        cloudformation.get_waiter("stack_update_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})

    def admitted(self, names: Iterable[str], region: str) -> set[str]:
        """Those that are let in at their one attempt."""
        return asyncio.run(self._admitted(list(names), region))

    def registry(self, region: str) -> dict[str, Any]:
        """All that AWS IoT has of devices: things with attributes and version, certificates with their status."""
        iot = self.client("iot", region)
        things = [each for page in iot.get_paginator("list_things").paginate() for each in page["things"]]
        pages = iot.get_paginator("list_certificates").paginate()
        certificates = {each["certificateId"]: each["status"] for page in pages for each in page["certificates"]}
        return {"things": sorted(things, key=lambda each: str(each["thingName"])), "certificates": certificates}

    def statuses(self, region: str) -> Counter[str]:
        """How many certificates the region has, by status."""
        return Counter(self.registry(region)["certificates"].values())

    def standing(self, *regions: str) -> dict[str, list[str]]:
        """What stands in the account, as far as it is the regions'; not how the stack of the tables came about."""
        shown = [name for name in resources(self.sandbox, list(regions)).items() if name[0].startswith(regions)]
        return {
            name: [each for each in entries if f"{APPLICATION}-global" not in each]
            for name, entries in shown
            if not name.endswith(" iot events")  # a setting of the account
        }

    def calls(self, since: datetime, region: str) -> list[Call]:
        """The calls to the region since then."""
        return [call for call in self.sandbox.journal(since=since) if call["region"] == region]

    def writes_elsewhere(self, since: datetime) -> list[str]:
        """Calls to other regions than the new one that change something, but for what schedules there do."""
        found = [call for call in self.sandbox.journal(since=since) if call["region"] not in (NEW, "us-east-1")]
        return [
            f"{call['region']} {call['service']} {call['operation']}"
            for call in found
            if not call["operation"].startswith(READS)
            and call["service"] not in GLOBAL_SERVICES
            and not re.search(r"Sweep|Schedule|CheckCertificates|ConvergeDefinition", call["caller"])
        ]

    def device_calls(self, since: datetime) -> Counter[str]:
        """How often AWS IoT was called in the new region to make devices."""
        found = (call["operation"] for call in self.calls(since, NEW) if call["service"] == "iot")
        return Counter(operation for operation in found if operation in DEVICE_CALLS)

    def row(self, thing: str, region: str = HOME) -> dict[str, Any]:
        """The row in plain values."""
        table, key = f"{APPLICATION}-device-inventory", {"ThingName": {"S": thing}}
        return plain_item(self.client("dynamodb", region).get_item(TableName=table, Key=key)["Item"])

    def write(self, thing: str, **changes: Any) -> dict[str, Any]:
        """Change a row as a controller does; the row as written."""
        row = following(self.row(thing), changes, writer="controller", now=datetime.now(UTC))
        item = {name: TypeSerializer().serialize(value) for name, value in row.items()}
        self.client("dynamodb", HOME).put_item(TableName=f"{APPLICATION}-device-inventory", Item=item)
        return row

    def status_of(self, thing: str, region: str) -> str:
        """That of its certificate in the region."""
        described = self.client("iot", region).describe_certificate(certificateId=self.row(thing)["CertificateId"])
        return str(described["certificateDescription"]["status"])

    async def _admitted(self, names: list[str], region: str) -> set[str]:
        free = asyncio.Semaphore(AT_ONCE)

        async def knock(name: str) -> bool:
            async with free:
                return await self._knock(name, region)

        outcomes = await asyncio.gather(*map(knock, names))
        return {name for name, admitted in zip(names, outcomes, strict=True) if admitted}

    async def _knock(self, name: str, region: str) -> bool:
        context = ssl.create_default_context(cafile=str(self.playbooks.pki / "rootCA/certs/root.cert.pem"))
        keys = self.directory / "keys"
        context.load_cert_chain(keys / f"{name}.cert.pem", keys / f"{name}.key.pem")
        host, _, port = self.sandbox.regions[region]["mqtt"].rpartition(":")
        try:
            reader, writer = await asyncio.open_connection(
                host, int(port), ssl=context, server_hostname=DOMAIN, ssl_handshake_timeout=120
            )
        except REFUSED:
            return False
        body = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name.encode()
        try:
            writer.write(b"\x10" + bytes([len(body)]) + body)
            return await reader.readexactly(4) == b"\x20\x02\x00\x00"
        except REFUSED:
            return False
        finally:
            writer.close()
