# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of several regions, deployed from the collection's own templates and definitions by CloudFormation alone."""

from __future__ import annotations

import importlib
import io
import itertools
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from boto3.dynamodb.types import TypeSerializer

from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import following
from tests.integration.sandbox.fleet import Fleet
from tests.integration.sandbox.mqtt import Device, Issued, issue

FILES = Path(__file__).parents[2] / "files"
ATTEMPTS = 100


def eventually(look: Callable[[], Any], *, seconds: float = 60) -> Any:
    """What ``look`` answers as soon as that is true.

    Raises:
        AssertionError: it never was.

    """
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"not within {seconds} s; last seen: {found!r}"
        time.sleep(0.1)
    return found


@dataclass
class Deployment(Fleet):
    """All stacks but the endpoint's, in every region; the home region is the first one."""

    application: str = "test-fleet"
    machine_type: str = "EXPRESS"
    store: str = "TABLE"
    # Names of modules in tests.integration.features, whose deploy(deployment, region) adds a stack.
    features: tuple[str, ...] = ()
    # What a state machine's definition is turned into before it is uploaded: tests scale waits here.
    definitions: Callable[[dict[str, Any]], dict[str, Any]] = dict
    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.stack(self.regions[0], "global", body=self._global_template())
        for region in self.regions:
            self._deploy(region)

    def issue(self, name: str, issuer: Issued | None = None, **arguments: Any) -> Issued:
        """A device certificate of our CA, or of ``issuer``."""
        return issue(name, issuer or self.ca, **arguments)

    def chain(self, _issued: Issued) -> str:
        """What a device presents after its own certificate."""
        return self.ca.pem

    def knock(self, issued: Issued, region: str, name: str = "") -> bool:
        """One connection attempt; whether the device was let in."""
        device = self._device(issued, region, name)
        try:
            return device.connect(5)
        finally:
            device.close()

    def admit(self, issued: Issued, region: str, name: str = "") -> int:
        """Knock until the door opens; the number of attempts it took."""
        for attempt in range(1, ATTEMPTS + 1):
            if self.knock(issued, region, name):
                return attempt
            time.sleep(0.3)
        raise AssertionError(f"refused {ATTEMPTS} times in {region}; {self.status(region, name or _name(issued))}")

    def connected(self, issued: Issued, region: str) -> Device:
        """A device that was let in at the first try."""
        device = self._device(issued, region, "")
        assert device.connect(5), f"refused in {region}"
        return device

    def row(self, region: str, thing: str) -> dict[str, Any]:
        """The row of ``device-inventory`` in plain values; empty when there is none."""
        return self._item(region, "device-inventory", ThingName=thing)

    def status(self, region: str, thing: str) -> dict[str, Any]:
        """The item of ``device-status``."""
        return self._item(region, "device-status", ThingName=thing)

    def rejection(self, region: str, certificate: Issued) -> dict[str, Any]:
        """The item of ``rejections``."""
        return self._item(region, "rejections", CertificateId=certificate.id)

    def certificate(self, region: str, certificate: Issued) -> str:
        """Its status in the region; "" when it is not registered."""
        iot = self.sandbox.client("iot", region)
        try:
            described = iot.describe_certificate(certificateId=certificate.id)
        except iot.exceptions.ResourceNotFoundException:
            return ""
        return str(described["certificateDescription"]["status"])

    def things_of(self, region: str, certificate: Issued) -> list[str]:
        """The things that it is attached to."""
        arn = f"arn:aws:iot:{region}:{self.sandbox.account_id}:cert/{certificate.id}"
        return list(self.sandbox.client("iot", region).list_principal_things(principal=arn)["things"])

    def policies_of(self, region: str, certificate: Issued) -> list[str]:
        """The policies that are attached to it."""
        arn = f"arn:aws:iot:{region}:{self.sandbox.account_id}:cert/{certificate.id}"
        attached = self.sandbox.client("iot", region).list_attached_policies(target=arn)["policies"]
        return [policy["policyName"] for policy in attached]

    def settled(self, region: str, thing: str) -> bool:
        """Whether the region has applied the row that its replica holds."""
        row, status = self.row(region, thing), self.status(region, thing)
        return bool(row) and row["WriteId"] == status.get("AppliedWriteId") and "LeaseOwner" not in status

    def write(self, region: str, thing: str, **changes: Any) -> dict[str, Any]:
        """Change attributes of a row through the region's replica, as a controller does; the row as written."""
        row = self.row(region, thing)
        new = following(row, changes, writer="controller", now=datetime.now(UTC))
        self.put(region, new, row)
        return new

    @contextmanager
    def apart(self) -> Iterator[None]:
        """The regions do not learn of each other's writes until the end."""
        lanes = [f"{one}:{other}" for one, other in itertools.permutations(self.regions, 2)]
        self.sandbox.replication(lanes=lanes)
        try:
            yield
        finally:
            self.sandbox.replication(lanes=[])

    def put(self, region: str, new: dict[str, Any], old: dict[str, Any]) -> None:
        """Write a row in place of ``old``."""
        self.sandbox.client("dynamodb", region).put_item(
            TableName=f"{self.application}-device-inventory",
            Item=self.image(new),
            ConditionExpression="WriteId = :read",
            ExpressionAttributeValues={":read": {"S": old["WriteId"]}},
        )

    @staticmethod
    def image(row: dict[str, Any]) -> dict[str, Any]:
        """The row in DynamoDB's values, as streams and events carry it."""
        serialize = TypeSerializer().serialize
        return {name: serialize(value) for name, value in row.items()}

    def dead_letters(self, region: str) -> list[dict[str, Any]]:
        """Take all dead letters of the region."""
        sqs = self.sandbox.client("sqs", region)
        url = sqs.get_queue_url(QueueName=f"{self.application}-dead-letters")["QueueUrl"]
        letters = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                letters.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return letters

    def start(self, region: str, machine: str, event: dict[str, Any]) -> None:
        """Start an execution."""
        arn = f"arn:aws:states:{region}:{self.sandbox.account_id}:stateMachine:{self.application}-{machine}"
        self.sandbox.client("stepfunctions", region).start_execution(stateMachineArn=arn, input=json.dumps(event))

    def messages(self, region: str, thing: str) -> list[dict[str, Any]]:
        """What the data table holds of a thing."""
        answer = self.sandbox.client("dynamodb", region).query(
            TableName=f"{self.application}-data",
            KeyConditionExpression="PK = :thing",
            ExpressionAttributeValues={":thing": {"S": thing}},
        )
        return [plain_item(item) for item in answer["Items"]]

    def change_stack(self, region: str, name: str, **parameters: str) -> None:
        """Give a stack other parameters."""
        cloudformation = self.sandbox.client("cloudformation", region)
        stack = f"{self.application}-{name}"
        try:
            cloudformation.update_stack(
                StackName=stack,
                UsePreviousTemplate=True,
                Parameters=_parameters({"Application": self.application, **parameters}),
                Capabilities=["CAPABILITY_IAM"],
            )
        except cloudformation.exceptions.ClientError as error:
            assert "No updates" in str(error), error
        self._wait(region, stack, "UPDATE_COMPLETE", "CREATE_COMPLETE")

    def _device(self, issued: Issued, region: str, name: str) -> Device:
        own = Path(tempfile.mkdtemp(dir=self.directory))  # one device may knock at two regions at the same moment
        files = issued.files(own, chain=self.chain(issued))
        name = name or _name(issued)
        return Device(self.sandbox.regions[region]["mqtt"], self.trust, files, name, "iot.example.com")

    def _item(self, region: str, table: str, **key: str) -> dict[str, Any]:
        answer = self.sandbox.client("dynamodb", region).get_item(
            TableName=f"{self.application}-{table}",
            Key={name: {"S": value} for name, value in key.items()},
            ConsistentRead=True,
        )
        return plain_item(answer.get("Item", {}))

    def _global_template(self) -> str:
        template = yaml.safe_load((FILES / "cloudformation/global.yaml").read_text())
        for resource in template["Resources"].values():
            replicas = resource.get("Properties", {}).get("Replicas")
            if replicas:
                replicas += [{**replicas[0], "Region": region} for region in self.regions[1:]]
        return json.dumps(template)

    def _deploy(self, region: str) -> None:
        self.serve(region)
        self.stack(region, "foundation")
        bucket = f"{self.application}-{self.sandbox.account_id}-{region}-artifacts"
        s3 = self.sandbox.client("s3", region)
        for name in ("register-device", "converge-device", "store-message"):
            definition = self.definitions(yaml.safe_load((FILES / f"asl/{name}.asl.yaml").read_text()))
            s3.put_object(Bucket=bucket, Key=name, Body=json.dumps(definition).encode())
        self.upload(region, "certificate-identity", "certificate_identity", {"ca-bundle.pem": self.ca.pem})
        self.stack(
            region,
            "replication",
            ConvergeDeviceDefinition="converge-device",
            StreamArn=self.stream(region, "device-inventory"),
            StateMachineType=self.machine_type,
        )
        self.stack(
            region,
            "onboarding",
            RegisterDeviceDefinition="register-device",
            CertificateIdentityPackage="certificate-identity",
            StateMachineType=self.machine_type,
        )
        self.stack(region, "messages", StoreMessageDefinition="store-message", Store=self.store)
        for feature in self.features:
            importlib.import_module(f"tests.integration.features.{feature}").deploy(self, region)

    def upload(self, region: str, key: str, function: str, files: dict[str, str] | None = None) -> str:
        """Put the package of ``files/lambda/<function>``, with further files, into the artifact bucket; the key."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as package:
            for path in sorted((FILES / "lambda" / function).glob("*.py")):
                package.writestr(path.name, path.read_text())
            for name, content in (files or {}).items():
                package.writestr(name, content)
        self.sandbox.client("s3", region).put_object(
            Bucket=f"{self.application}-{self.sandbox.account_id}-{region}-artifacts", Key=key, Body=buffer.getvalue()
        )
        return key

    def stream(self, region: str, table: str) -> str:
        """ARN of the stream of the region's replica of ``<application>-<table>``."""
        described = self.sandbox.client("dynamodb", region).describe_table(TableName=f"{self.application}-{table}")
        return str(described["Table"]["LatestStreamArn"])

    def stack(self, region: str, name: str, body: str = "", **parameters: str) -> None:
        """Create the stack ``<application>-<name>`` and wait for it."""
        cloudformation = self.sandbox.client("cloudformation", region)
        stack = f"{self.application}-{name}"
        cloudformation.create_stack(
            StackName=stack,
            TemplateBody=body or (FILES / f"cloudformation/{name}.yaml").read_text(),
            Parameters=_parameters({"Application": self.application, **parameters}),
            Capabilities=["CAPABILITY_IAM"],
        )
        self._wait(region, stack, "CREATE_COMPLETE")

    def _wait(self, region: str, stack: str, *wanted: str) -> None:
        cloudformation = self.sandbox.client("cloudformation", region)

        def finished() -> Any:
            status = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
            return status if not status.endswith("IN_PROGRESS") else None

        status = eventually(finished, seconds=60)
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        failures = [
            f"{each['LogicalResourceId']}: {each.get('ResourceStatusReason')}"
            for each in events
            if each["ResourceStatus"].endswith("FAILED")
        ]
        assert status in wanted, f"{stack} in {region}: {failures}"


def _parameters(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


def _name(issued: Issued) -> str:
    return str(issued.certificate.subject.rdns[-1].rfc4514_string().removeprefix("CN="))
