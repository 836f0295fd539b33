# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import json
import random
import time
import zipfile

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import eventually
from tests.integration.sandbox.fleet import Fleet
from tests.integration.sandbox.mqtt import issue

REGION, FAR = "eu-west-1", "us-west-2"
SERVICES = ["lambda.amazonaws.com", "states.amazonaws.com"]
STATEMENTS = [
    {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    for principal in ({"Service": SERVICES}, {"AWS": "*"})
]
TRUST = json.dumps({"Version": "2012-10-17", "Statement": STATEMENTS})


@pytest.fixture
def own(tmp_path):
    """A sandbox of this test alone, for it is stopped and killed."""
    sandbox = Sandbox(tmp_path / "sandbox").start()
    yield sandbox
    sandbox.stop()


def stop_cleanly(sandbox):
    sandbox.stop()


def kill_after_the_snapshot(sandbox):
    now, current = time.time_ns(), sandbox.directory / "state" / "current"
    eventually(lambda: current.exists() and int(current.resolve().name.removeprefix("snapshot-")) > now, 60)
    sandbox.kill()


def fill(sandbox):
    """One of everything the project uses, in REGION."""
    c = lambda service: sandbox.client(service, REGION)  # noqa: E731
    iam = c("iam")
    role = iam.create_role(RoleName="kept", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="kept", PolicyName="all", PolicyDocument=json.dumps(allow))
    c("s3").create_bucket(Bucket="kept-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    c("s3").put_object(Bucket="kept-bucket", Key="a/b.txt", Body=b"kept", ContentType="text/x-kept")
    c("sqs").create_queue(QueueName="kept")
    url = c("sqs").get_queue_url(QueueName="kept")["QueueUrl"]
    c("sqs").send_message(QueueUrl=url, MessageBody="kept")
    dynamodb = c("dynamodb")
    dynamodb.create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "K", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "K", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    dynamodb.update_table(TableName="kept", ReplicaUpdates=[{"Create": {"RegionName": FAR}}])
    dynamodb.put_item(TableName="kept", Item={"K": {"S": "1"}, "B": {"B": b"\x00\xff"}})
    c("logs").create_log_group(logGroupName="kept")
    c("cloudwatch").put_metric_alarm(
        AlarmName="kept",
        MetricName="m",
        Namespace="n",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    c("events").create_event_bus(Name="kept")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("index.py", "def handler(event, context):\n    return {'kept': event}\n")
    c("lambda").create_function(
        FunctionName="kept",
        Runtime="python3.13",
        Handler="index.handler",
        Role=role,
        Code={"ZipFile": archive.getvalue()},
    )
    machine = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    c("stepfunctions").create_state_machine(name="kept", definition=json.dumps(machine), roleArn=role)
    body = {"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "kept-of-stack"}}}}
    c("cloudformation").create_stack(StackName="kept", TemplateBody=json.dumps(body))
    c("cloudformation").get_waiter("stack_create_complete").wait(StackName="kept", WaiterConfig={"Delay": 0.2})
    iot = c("iot")
    iot.create_thing(thingName="kept", attributePayload={"attributes": {"a": "b"}})
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
    return role


def listing(sandbox):
    """What ``fill`` made, as the API shows it."""
    c = lambda service: sandbox.client(service, REGION)  # noqa: E731
    s3 = c("s3").get_object(Bucket="kept-bucket", Key="a/b.txt")
    far = sandbox.client("dynamodb", FAR)
    return {
        "role": c("iam").get_role(RoleName="kept")["Role"]["Arn"],
        "inline": c("iam").get_role_policy(RoleName="kept", PolicyName="all")["PolicyDocument"],
        "object": (s3["Body"].read(), s3["ContentType"]),
        "queues": sorted(url.rsplit("/", 1)[-1] for url in c("sqs").list_queues()["QueueUrls"]),
        "depth": c("sqs").get_queue_attributes(
            QueueUrl=c("sqs").get_queue_url(QueueName="kept")["QueueUrl"],
            AttributeNames=["ApproximateNumberOfMessages"],
        )["Attributes"]["ApproximateNumberOfMessages"],
        "item": c("dynamodb").get_item(TableName="kept", Key={"K": {"S": "1"}})["Item"],
        "replica": far.get_item(TableName="kept", Key={"K": {"S": "1"}}).get("Item"),
        "streams": [d.describe_table(TableName="kept")["Table"]["LatestStreamArn"] for d in (c("dynamodb"), far)],
        "groups": [g["logGroupName"] for g in c("logs").describe_log_groups(logGroupNamePrefix="kept")["logGroups"]],
        "alarms": [a["AlarmName"] for a in c("cloudwatch").describe_alarms()["MetricAlarms"]],
        "buses": sorted(b["Name"] for b in c("events").list_event_buses()["EventBuses"]),
        "lambda": json.load(c("lambda").invoke(FunctionName="kept", Payload=b'{"n":1}')["Payload"]),
        "machine": [m["name"] for m in c("stepfunctions").list_state_machines()["stateMachines"]],
        "stack": c("cloudformation").describe_stacks(StackName="kept")["Stacks"][0]["StackStatus"],
        "thing": c("iot").describe_thing(thingName="kept")["attributes"],
        "events": c("iot").describe_event_configurations()["eventConfigurations"]["THING"],
        "zone": [z["Name"] for z in c("route53").list_hosted_zones()["HostedZones"]],
    }


@pytest.mark.parametrize("end", [pytest.param(stop_cleanly, marks=pytest.mark.long), kill_after_the_snapshot])
def test_every_service_we_use_survives(own, tmp_path, end):
    role = fill(own)
    session = own.client("sts", REGION).assume_role(RoleArn=role, RoleSessionName="kept")["Credentials"]
    fleet = Fleet(own, tmp_path, (REGION,))
    fleet.serve(REGION)
    known, loose = issue("known", fleet.ca), issue("loose", issue("Unregistered", authority=True))
    fleet.activate(REGION, known)
    iot = own.client("iot", REGION)
    arn = iot.register_certificate_without_ca(certificatePem=loose.pem, status="ACTIVE")["certificateArn"]
    iot.attach_policy(policyName="allow", target=arn)
    time.sleep(0.5)  # the replica's copy
    before, addresses = listing(own), (own.gateway, own.regions)

    end(own)
    own.start()

    assert (own.gateway, own.regions) == addresses
    assert listing(own) == before
    for issued in (known, loose):
        device = fleet.device(issued.certificate.subject.rfc4514_string()[3:], REGION, issued)
        assert device.connect()
        device.close()
    as_role = own.client(
        "s3",
        REGION,
        access_key=session["AccessKeyId"],
        secret_key=session["SecretAccessKey"],
        session_token=session["SessionToken"],
    )
    assert as_role.list_buckets()["Buckets"]


def test_state_is_readable_by_its_owner_only(own):
    own.client("iot", REGION).create_thing(thingName="private")
    own.snapshot()
    paths = [own.directory / "state", *(own.directory / "state").rglob("*")]
    assert [p for p in paths if not p.is_symlink() and p.stat().st_mode & 0o077] == []


def test_a_wiped_sandbox_has_forgotten(own):
    own.client("iot", REGION).create_thing(thingName="forgotten")
    (own.directory / "pki").mkdir()
    own.stop()
    own.wipe()
    assert [p.name for p in own.directory.iterdir()] == ["pki"]
    own.start()
    assert own.client("iot", REGION).list_things()["things"] == []


def test_a_kill_at_any_moment_leaves_a_whole_state(own):
    """What comes back is what had been written up to some moment: nothing torn, nothing out of order."""
    chance = random.Random(8)
    made = 0
    iot, dynamodb = own.client("iot", REGION), own.client("dynamodb", REGION)
    dynamodb.create_table(
        TableName="order",
        KeySchema=[{"AttributeName": "K", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "K", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    own.snapshot()
    for _ in range(3):
        deadline = time.monotonic() + 2 + chance.random() * 2
        while time.monotonic() < deadline:
            dynamodb.put_item(TableName="order", Item={"K": {"S": f"t-{made}"}})
            iot.create_thing(thingName=f"t-{made}")
            made += 1
        own.kill()
        own.start()
        pages = iot.get_paginator("list_things").paginate(PaginationConfig={"PageSize": 250})
        things = {thing["thingName"] for page in pages for thing in page["things"]}
        items = dynamodb.get_paginator("scan").paginate(TableName="order")
        rows = {item["K"]["S"] for page in items for item in page["Items"]}
        assert things == {f"t-{number}" for number in range(len(things))}
        assert rows - things <= {f"t-{len(things)}"}
        assert things <= rows
        made = len(things)
    assert made
