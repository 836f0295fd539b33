# SPDX-License-Identifier: GPL-3.0-or-later
"""Three regions in which things happen out of order: what devices, operators and events do, and how it all ends."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.queue import require_queue, waiting
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.replay import KeptError, Replay
from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import Wanted
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica, change
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError
from tests import invariants
from tests.integration.deployment import Deployment
from tests.integration.sandbox.mqtt import Issued

REGIONS = ("eu-west-1", "us-west-2", "ap-southeast-2")
ENDED = ("DELETED", "REVOKED")  # states in which every certificate is REVOKED
QUIET = 0.5  # seconds without a call by which nothing is under way: longer than a replication and a look at a stream
PATIENCE = 90.0  # seconds in which everything has to come to rest; attempts of bus rules are up to 5 s apart


@dataclass
class Stream:
    """The records of one region's replica of ``device-inventory``, each read once."""

    client: Any
    arn: str
    iterators: dict[str, str] = field(default_factory=dict)

    def records(self) -> Iterator[dict[str, Any]]:
        """Those that came since the last call."""
        for shard in self.client.describe_stream(StreamArn=self.arn)["StreamDescription"]["Shards"]:
            name = shard["ShardId"]
            if name not in self.iterators:
                self.iterators[name] = self.client.get_shard_iterator(
                    StreamArn=self.arn, ShardId=name, ShardIteratorType="TRIM_HORIZON"
                )["ShardIterator"]
            while True:
                answer = self.client.get_records(ShardIterator=self.iterators[name])
                self.iterators[name] = answer["NextShardIterator"]
                if not answer["Records"]:
                    break
                yield from answer["Records"]


class Stage:
    """The fleet of the test; every method is one thing that somebody does, or one look."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.sandbox, self.application = deployment, deployment.sandbox, deployment.application
        self.streams = {
            region: Stream(
                self.sandbox.client("dynamodbstreams", region), deployment.stream(region, "device-inventory")
            )
            for region in REGIONS
        }
        self.cut_off: set[str] = set()
        self._journal = self.sandbox.directory / "journal.jsonl"
        self._read = 0
        self._busy_at = time.monotonic()

    # --- operators -------------------------------------------------------------------------------------------------

    def reachable(self, region: str) -> str:
        """The region, or the next one that is not cut off: a controller writes through any replica."""
        position = REGIONS.index(region)
        return next(each for each in REGIONS[position:] + REGIONS[:position] if each not in self.cut_off)

    def change(self, region: str, thing: str, wanted: Wanted) -> str:
        """What an operator is told of a change: "" when it was made."""
        replica = Replica(self.sandbox.client("dynamodb", region), self.application, region)
        try:
            change(replica, thing, wanted, check_mode=False)
        except FleetError as error:
            return str(error)
        return ""

    # --- events ----------------------------------------------------------------------------------------------------

    def news(self, region: str) -> list[dict[str, Any]]:
        """The records of the region's stream since the last call."""
        return list(self.streams[region].records())

    def publish(self, region: str, record: dict[str, Any]) -> None:
        """Put a stream's record on the region's bus, as its pipe does."""
        entry = {
            "EventBusName": f"{self.application}-{region}-event-bus",
            "Source": f"{self.application}.devices",
            "DetailType": "DeviceTableUpdate",
            "Detail": json.dumps(record, default=str),
        }
        self.sandbox.client("events", region).put_events(Entries=[entry])

    def registered(self, region: str, device: Issued) -> None:
        """The event of a certificate that waits for activation, once more."""
        event = {
            "certificateId": device.id,
            "caCertificateId": self.deployment.ca_ids[region],
            "certificateStatus": "PENDING_ACTIVATION",
        }
        self.deployment.start(region, "register-device", event)

    def redrive(self, region: str) -> int:
        """Replay the region's dead letters as playbooks/redrive.yml does; how many there were."""
        sqs, count = self.sandbox.client("sqs", region), 0
        if not waiting(sqs, f"{self.application}-dead-letters"):
            return 0
        replay = Replay(
            client=lambda service: self.sandbox.client(service, region),
            application=self.application,
            region=region,
            partition="aws",
            account=self.sandbox.account_id,
            confirm_deletions=False,
        )
        queue = require_queue(sqs, self.application, region)
        for letter in itertools.chain.from_iterable(queue.batches(most=1000)):
            count += 1
            with contextlib.suppress(KeptError):
                replay.attempt(letter)
                queue.delete(letter)
        return count

    # --- time ------------------------------------------------------------------------------------------------------

    def leases_run_out(self, region: str, keys: Iterable[str]) -> int:
        """Let the leases under these keys of ``device-status`` run out; how many were held."""
        held = 0
        for key in keys:
            status = self.deployment.status(region, key)
            if status.get("LeaseUntil", 0) <= time.time():
                continue
            held += 1
            with contextlib.suppress(ClientError):  # let go meanwhile
                self.sandbox.client("dynamodb", region).update_item(
                    TableName=f"{self.application}-device-status",
                    Key={"ThingName": {"S": key}},
                    UpdateExpression="SET LeaseUntil = :past",
                    ConditionExpression="LeaseOwner = :owner",
                    ExpressionAttributeValues={":past": {"N": "1"}, ":owner": {"S": status["LeaseOwner"]}},
                )
        return held

    def sweep(self, region: str, things: Iterable[str]) -> int:
        """Wake what is late, failed or due, as sweep-devices does once its grace is over; how many there were."""
        woken = 0
        for thing in things:
            row, status = self.deployment.row(region, thing), self.deployment.status(region, thing)
            is_due = 0 < status.get("DueAt", 0) <= time.time()
            if not row or status.get("LeaseUntil", 0) > time.time():
                continue
            if is_due or "Error" in status:
                event = {"ThingName": thing, "Force": True}
            elif row["WriteId"] != status.get("AppliedWriteId"):
                event = {"ThingName": thing}
            else:
                continue
            woken += 1
            self.deployment.start(region, "converge-device", event)
        return woken

    def has(self, region: str, thing: str, device: Issued) -> bool:
        """Whether the region has registered the certificate and its row knows it."""
        known = self.deployment.row(region, thing).get("Certificates", {})
        return device.id in known and bool(self.deployment.certificate(region, device))

    # --- rest ------------------------------------------------------------------------------------------------------

    def cut(self, region: str) -> None:
        """Cut a region off."""
        self.sandbox.cut(region)
        self.cut_off.add(region)

    def restore(self) -> None:
        """End every cut."""
        for region in sorted(self.cut_off):
            self.sandbox.restore(region)
        self.cut_off.clear()

    def until_quiet(self, until: float, quiet: float = QUIET) -> bool:
        """Wait until no role called anything for a while; False when that was not before ``until``."""
        while True:
            if self._is_busy():
                self._busy_at = time.monotonic()
            if time.monotonic() - self._busy_at >= quiet:
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.05)

    def _is_busy(self) -> bool:
        """Whether a role called something since the last look. Our own looks are root's."""
        if self._journal.stat().st_size < self._read:  # a new file was begun
            self._read = 0
        with self._journal.open("rb") as journal:
            journal.seek(self._read)
            lines = journal.read()
        self._read += len(lines)
        return b":assumed-role/" in lines

    def look(self, region: str, things: Iterable[str], devices: Iterable[Issued]) -> invariants.Region:
        """What the region holds of these devices."""
        iot = self.sandbox.client("iot", region)
        names, issued = list(things), list(devices)
        status = {device.id: self.deployment.certificate(region, device) for device in issued}
        known = [device for device in issued if status[device.id]]
        revocations = self.sandbox.client("dynamodb", region).scan(
            TableName=f"{self.application}-revocations", ConsistentRead=True
        )["Items"]
        return invariants.Region(
            name=region,
            rows={name: row for name in names if (row := self.deployment.row(region, name))},
            status={name: item for name in names if (item := self.deployment.status(region, name))},
            revocations=frozenset(item["Key"]["S"] for item in revocations),
            rejected=frozenset(device.id for device in known if self.deployment.rejection(region, device)),
            things={name: thing for name in names if (thing := _described(iot, name))},
            certificates={device.id: status[device.id] for device in known},
            things_of={device.id: frozenset(self.deployment.things_of(region, device)) for device in known},
            policies_of={device.id: frozenset(self.deployment.policies_of(region, device)) for device in known},
        )


def _described(iot: Any, thing: str) -> dict[str, Any] | None:
    try:
        return dict(iot.describe_thing(thingName=thing))
    except iot.exceptions.ResourceNotFoundException:
        return None


def lost(old: rows.Row, row: rows.Row, written: Sequence[rows.Row]) -> Iterator[str]:
    """What ``old`` had, must not be lost, and is missing in the row as it is now; ``written``: every row there was.

    Only somebody who knew may make a device's state less severe. Nobody in this test does so with a certificate's.
    """
    if _severity(row) < _severity(old):
        knew = any(each["State"] == row["State"] and rows.descends(each, old) for each in written)
        if not knew or (old["State"] in ENDED and row["State"] not in ENDED):
            yield f"it was {old['State']} and is {row['State']}"
    for key, certificate in old["Certificates"].items():
        kept = row["Certificates"].get(key)
        if kept is None:
            yield f"certificate {key[:8]} is lost"
            continue
        if rows.STATUSES.index(kept["Status"]) < rows.STATUSES.index(certificate["Status"]):
            yield f"certificate {key[:8]} was {certificate['Status']} and is {kept['Status']}"
        if not {"RetireAt", "RevokeAt"} & certificate.keys() <= kept.keys():
            yield f"certificate {key[:8]} retires no more"


def _severity(row: rows.Row) -> int:
    return rows.STATES.index(row["State"])


def image(record: dict[str, Any], name: str = "NewImage") -> rows.Row:
    """The row before (``OldImage``) or after a stream's record; {} when there was none."""
    return plain_item(record["dynamodb"].get(name, {}))
