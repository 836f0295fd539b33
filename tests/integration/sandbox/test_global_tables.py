# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import OTHER, REGION, eventually, get, put, unique

THIRD = "ap-southeast-2"


@pytest.fixture(autouse=True)
def quick_replication(sandbox: Sandbox) -> Iterator[None]:
    sandbox.replication(delay=0.2, jitter=0.1, reorder=0, source_table_lock_seconds=0)
    yield
    sandbox.replication(delay=0.2, jitter=0.1, reorder=0, source_table_lock_seconds=0)


def template(name: str, *regions: str, **more: Any) -> str:
    properties = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": "S"} for n in ("Name", "Colour")],
        "KeySchema": [{"AttributeName": "Name", "KeyType": "HASH"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "Colour",
                "KeySchema": [{"AttributeName": "Colour", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
        "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ExpiresAt"},
        "Replicas": [
            {
                "Region": region,
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": region == REGION},
                "DeletionProtectionEnabled": False,
                "Tags": [{"Key": "where", "Value": region}],
            }
            for region in regions
        ],
        **more,
    }
    resources = {"Table": {"Type": "AWS::DynamoDB::GlobalTable", "Properties": properties}}
    outputs = {key: {"Value": {"Fn::GetAtt": ["Table", key]}} for key in ("Arn", "StreamArn", "TableId")}
    return json.dumps({"Resources": resources, "Outputs": outputs})


def deploy(sandbox: Sandbox, name: str, body: str, *, update: bool = False) -> dict[str, Any]:
    stacks = sandbox.client("cloudformation", REGION)
    (stacks.update_stack if update else stacks.create_stack)(StackName=name, TemplateBody=body)
    eventually(lambda: not stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"].endswith("PROGRESS"))
    described: dict[str, Any] = stacks.describe_stacks(StackName=name)["Stacks"][0]
    return described


def failures(sandbox: Sandbox, name: str) -> list[str]:
    events = sandbox.client("cloudformation", REGION).describe_stack_events(StackName=name)["StackEvents"]
    return [event["ResourceStatusReason"] for event in events if event["ResourceStatus"].endswith("_FAILED")]


def make(sandbox: Sandbox, *regions: str) -> str:
    name = unique("global")
    assert deploy(sandbox, name, template(name, *regions))["StackStatus"] == "CREATE_COMPLETE"
    return name


def described(sandbox: Sandbox, name: str, region: str) -> dict[str, Any]:
    table: dict[str, Any] = sandbox.client("dynamodb", region).describe_table(TableName=name)["Table"]
    return table


def changes(sandbox: Sandbox, name: str, region: str) -> list[tuple[str, str | None]]:
    """What the replica's stream says: the event and the new item's Colour."""
    streams, arn = sandbox.client("dynamodbstreams", region), described(sandbox, name, region)["LatestStreamArn"]
    found = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found += streams.get_records(ShardIterator=iterator)["Records"]
    return [(r["eventName"], r["dynamodb"].get("NewImage", {}).get("Colour", {}).get("S")) for r in found]


def test_stack_makes_every_replica_with_its_settings(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER)
    outputs = {
        entry["OutputKey"]: entry["OutputValue"]
        for entry in sandbox.client("cloudformation", REGION).describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    }
    home, away = described(sandbox, name, REGION), described(sandbox, name, OTHER)
    assert outputs == {"Arn": home["TableArn"], "StreamArn": home["LatestStreamArn"], "TableId": home["TableId"]}
    assert home["LatestStreamArn"].endswith(f"/stream/{home['LatestStreamLabel']}")
    assert away["LatestStreamArn"].startswith(f"arn:aws:dynamodb:{OTHER}:") and away["TableId"] != home["TableId"]
    assert [replica["RegionName"] for replica in home["Replicas"]] == [OTHER]
    assert away["GlobalSecondaryIndexes"][0]["IndexArn"] == f"{away['TableArn']}/index/Colour"
    for region, recovery in ((REGION, "ENABLED"), (OTHER, "DISABLED")):
        dynamodb = sandbox.client("dynamodb", region)
        backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == recovery
        expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ExpiresAt"}
        tags = dynamodb.list_tags_of_resource(ResourceArn=described(sandbox, name, region)["TableArn"])["Tags"]
        assert {"Key": "where", "Value": region} in tags


def test_write_arrives_later_in_every_replica_and_its_stream(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER, THIRD)
    sandbox.replication(delay=0.5)
    put(sandbox, name, "a", Colour="red")
    assert get(sandbox, name, "a") and get(sandbox, name, "a", OTHER) is None
    for region in (OTHER, THIRD):
        assert eventually(lambda region=region: get(sandbox, name, "a", region)) == {"Name": "a", "Colour": "red"}
        assert changes(sandbox, name, region) == [("INSERT", "red")]
    sandbox.client("dynamodb", THIRD).delete_item(TableName=name, Key={"Name": {"S": "a"}})
    assert eventually(lambda: get(sandbox, name, "a") is None)
    assert changes(sandbox, name, REGION) == [("INSERT", "red"), ("REMOVE", None)]


def test_last_writer_wins_everywhere(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER)
    sandbox.replication(delay=0.5)
    put(sandbox, name, "a", Colour="first")
    put(sandbox, name, "a", OTHER, Colour="second")
    assert get(sandbox, name, "a") != get(sandbox, name, "a", OTHER)
    assert eventually(lambda: get(sandbox, name, "a") == {"Name": "a", "Colour": "second"})
    time.sleep(0.7)
    assert get(sandbox, name, "a", OTHER) == {"Name": "a", "Colour": "second"}


def test_conditions_see_the_local_replica_only(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER)
    sandbox.replication(delay=1)
    item = {"TableName": name, "Item": {"Name": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(#n)"}
    for region in (REGION, OTHER):
        sandbox.client("dynamodb", region).put_item(**item, ExpressionAttributeNames={"#n": "Name"})


def test_writes_overtake_each_other_and_the_last_still_wins(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER)
    sandbox.replication(delay=0.1, jitter=0, reorder=0.5)
    for number in range(30):
        put(sandbox, name, "a", Colour=str(number))
    assert eventually(lambda: get(sandbox, name, "a", OTHER) == {"Name": "a", "Colour": "29"})
    time.sleep(1)
    assert get(sandbox, name, "a", OTHER) == {"Name": "a", "Colour": "29"}
    assert len(changes(sandbox, name, OTHER)) < 30


def test_deletion_is_not_undone_by_an_older_write(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER)
    put(sandbox, name, "a", Colour="red")
    assert eventually(lambda: get(sandbox, name, "a", OTHER))
    sandbox.replication(delay=0.6, jitter=0)
    put(sandbox, name, "a", Colour="blue")
    sandbox.client("dynamodb", OTHER).delete_item(TableName=name, Key={"Name": {"S": "a"}})
    time.sleep(1.5)
    assert get(sandbox, name, "a") is None and get(sandbox, name, "a", OTHER) is None


def test_region_that_is_cut_off_catches_up(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER)
    sandbox.cut(OTHER)
    try:
        for number in range(5):
            put(sandbox, name, str(number))
        time.sleep(0.8)
    finally:
        sandbox.restore(OTHER)
    assert eventually(lambda: all(get(sandbox, name, str(number), OTHER) for number in range(5)))


def test_one_way_between_two_regions_stands_still(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER, THIRD)
    sandbox.replication(delay=0.1, lanes=[f"{REGION}:{OTHER}"])
    try:
        put(sandbox, name, "from-home")
        put(sandbox, name, "from-other", OTHER)
        assert eventually(lambda: get(sandbox, name, "from-home", THIRD) and get(sandbox, name, "from-other"))
        time.sleep(0.5)
        assert get(sandbox, name, "from-home", OTHER) is None
    finally:
        sandbox.replication(lanes=[])
    assert eventually(lambda: get(sandbox, name, "from-home", OTHER))


def test_nothing_on_its_way_is_lost_by_a_kill(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path).start()
    try:
        name = make(sandbox, REGION, OTHER)
        sandbox.replication(delay=60)
        put(sandbox, name, "a", Colour="red")
        sandbox.snapshot()
        sandbox.kill()
        sandbox.start()
        assert eventually(lambda: get(sandbox, name, "a", OTHER)) == {"Name": "a", "Colour": "red"}
        assert changes(sandbox, name, OTHER) == [("INSERT", "red")]
        assert changes(sandbox, name, REGION) == [("INSERT", "red")]
    finally:
        sandbox.stop()


def test_new_replica_has_the_items_and_what_is_still_on_its_way(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER)
    put(sandbox, name, "old")
    sandbox.replication(delay=1.5)
    put(sandbox, name, "late", OTHER)
    assert deploy(sandbox, name, template(name, REGION, OTHER, THIRD), update=True)["StackStatus"] == "UPDATE_COMPLETE"
    assert get(sandbox, name, "old", THIRD)
    assert eventually(lambda: get(sandbox, name, "late", THIRD))


def test_update_changes_one_replica_at_a_time(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION)
    body = template(name, REGION, OTHER, THIRD)
    assert deploy(sandbox, name, body, update=True)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "Only one replica" in failures(sandbox, name)[0]
    assert described(sandbox, name, REGION).get("Replicas", []) == []
    for regions in ((REGION, OTHER), (REGION, OTHER, THIRD), (REGION, THIRD)):
        assert deploy(sandbox, name, template(name, *regions), update=True)["StackStatus"] == "UPDATE_COMPLETE"
        replicas = [replica["RegionName"] for replica in described(sandbox, name, REGION)["Replicas"]]
        assert sorted(replicas) == sorted(regions[1:])
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        described(sandbox, name, OTHER)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"StreamSpecification": {"StreamViewType": "KEYS_ONLY"}}, "NEW_AND_OLD_IMAGES"),
        ({"Replicas": [{"Region": OTHER}]}, "Region of the stack"),
        ({"BillingMode": "PROVISIONED"}, "WriteProvisionedThroughputSettings"),
    ],
)
def test_template_that_aws_refuses_is_refused(sandbox: Sandbox, more: dict[str, Any], reason: str) -> None:
    name = unique("global")
    assert deploy(sandbox, name, template(name, REGION, OTHER, **more))["StackStatus"] == "ROLLBACK_COMPLETE"
    assert reason in failures(sandbox, name)[0]


def test_table_that_is_there_is_not_overwritten(sandbox: Sandbox) -> None:
    name, second = make(sandbox, REGION, OTHER), unique("stack")
    put(sandbox, name, "a")
    assert deploy(sandbox, second, template(name, REGION, OTHER))["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "already exists" in failures(sandbox, second)[0]
    assert get(sandbox, name, "a")


def test_deleting_the_stack_deletes_every_replica(sandbox: Sandbox) -> None:
    name, stacks = make(sandbox, REGION, OTHER), sandbox.client("cloudformation", REGION)
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    for region in (REGION, OTHER):
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            described(sandbox, name, region)


def test_protected_replica_keeps_the_stack(sandbox: Sandbox) -> None:
    name = unique("global")
    replicas = [{"Region": REGION}, {"Region": OTHER, "DeletionProtectionEnabled": True}]
    deploy(sandbox, name, template(name, REGION, OTHER, Replicas=replicas))
    assert described(sandbox, name, OTHER)["DeletionProtectionEnabled"]
    stacks = sandbox.client("cloudformation", REGION)
    stacks.delete_stack(StackName=name)
    status = lambda: stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]  # noqa: E731
    assert eventually(lambda: status() == "DELETE_FAILED")
    assert any("protected against deletion" in reason for reason in failures(sandbox, name))


def test_source_of_a_new_replica_cannot_be_deleted_for_a_while(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER)
    sandbox.replication(source_table_lock_seconds=3600)
    with pytest.raises(ClientError, match="last 24 hours"):
        sandbox.client("dynamodb", REGION).delete_table(TableName=name)
    sandbox.replication(source_table_lock_seconds=0)
    sandbox.client("dynamodb", REGION).delete_table(TableName=name)


def test_expired_item_leaves_every_replica_and_is_seen_in_the_stream(sandbox: Sandbox) -> None:
    name = make(sandbox, REGION, OTHER)
    item = {"Name": {"S": "a"}, "ExpiresAt": {"N": str(int(time.time()) - 5)}}
    sandbox.client("dynamodb", REGION).put_item(TableName=name, Item=item)
    for region in (REGION, OTHER):
        assert eventually(lambda region=region: ("REMOVE", None) in changes(sandbox, name, region), 15)
        assert get(sandbox, name, "a", region) is None
