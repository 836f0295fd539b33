# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL of topic rules, not of a database
from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import (
    REGION,
    eventually,
    get,
    machine,
    put,
    queue,
    received,
    role,
    table,
    unique,
)

IOT = "iot.amazonaws.com"


def rule(sandbox: Sandbox, sql: str, *actions: dict[str, Any], error_action: dict[str, Any] | None = None) -> str:
    name = unique("rule").replace("-", "_")
    payload: dict[str, Any] = {"sql": sql, "actions": list(actions), "awsIotSqlVersion": "2016-03-23"}
    if error_action:
        payload["errorAction"] = error_action
    sandbox.client("iot", REGION).create_topic_rule(ruleName=name, topicRulePayload=payload)
    return name


def publish(sandbox: Sandbox, topic: str, payload: Any) -> None:
    sandbox.client("iot-data", REGION).publish(topic=topic, qos=1, payload=json.dumps(payload))


def to_queue(sandbox: Sandbox) -> tuple[str, dict[str, Any]]:
    url, arn = queue(sandbox)
    return url, {"sqs": {"roleArn": role(sandbox, IOT, {"sqs:SendMessage": arn}), "queueUrl": url, "useBase64": False}}


def test_rule_starts_a_state_machine_as_its_role(sandbox: Sandbox) -> None:
    arn = machine(sandbox, {"End": {"Type": "Succeed"}}, role(sandbox, "states.amazonaws.com", {}))
    action = {
        "stepFunctions": {
            "roleArn": role(sandbox, IOT, {"states:StartExecution": arn}),
            "stateMachineName": arn.rsplit(":", 1)[-1],
            "executionNamePrefix": "from-rule-",
        }
    }
    topic = unique("start")
    rule(sandbox, f"SELECT *, topic() AS topic FROM '{topic}/#'", action)
    publish(sandbox, f"{topic}/a", {"n": 1})
    states = sandbox.client("stepfunctions", REGION)
    (execution,) = eventually(lambda: states.list_executions(stateMachineArn=arn)["executions"])
    assert execution["name"].startswith("from-rule-")
    given = json.loads(states.describe_execution(executionArn=execution["executionArn"])["input"])
    assert given == {"n": 1, "topic": f"{topic}/a"}


def test_message_goes_into_columns_under_keys_of_the_rule(sandbox: Sandbox) -> None:
    rows = table(sandbox)
    action = {
        "dynamoDBv2": {
            "roleArn": role(sandbox, IOT, {"dynamodb:PutItem": rows["TableArn"]}),
            "putItem": {"tableName": rows["TableName"]},
        }
    }
    topic = unique("store")
    sql = f"SELECT * AS message, topic(2) + '#' + 7 AS Name, 'eu-west-1' AS region FROM '{topic}/+'"
    rule(sandbox, sql, action)
    publish(sandbox, f"{topic}/thing-1", {"Name": "forged", "temperature": 21.5, "nested": {"on": True}})
    dynamodb = sandbox.client("dynamodb", REGION)
    key = {"Name": {"S": "thing-1#7"}}
    item = eventually(lambda: dynamodb.get_item(TableName=rows["TableName"], Key=key).get("Item"))
    assert item["region"] == {"S": "eu-west-1"}
    assert item["message"]["M"] == {
        "Name": {"S": "forged"},
        "temperature": {"N": "21.5"},
        "nested": {"M": {"on": {"BOOL": True}}},
    }


def test_row_action_fills_templates(sandbox: Sandbox) -> None:
    rows = table(sandbox)
    action = {
        "dynamoDB": {
            "roleArn": role(sandbox, IOT, {"dynamodb:PutItem": rows["TableArn"]}),
            "tableName": rows["TableName"],
            "hashKeyField": "Name",
            "hashKeyValue": "${topic(2)}",
            "payloadField": "Body",
        }
    }
    topic = unique("row")
    rule(sandbox, f"SELECT * FROM '{topic}/+'", action)
    publish(sandbox, f"{topic}/x", {"a": "b"})
    assert eventually(lambda: get(sandbox, rows["TableName"], "x")) == {"Name": "x", "Body": {"a": {"S": "b"}}}


def test_object_and_log_actions(sandbox: Sandbox) -> None:
    s3, logs = sandbox.client("s3", REGION), sandbox.client("logs", REGION)
    bucket, group, topic = unique("bucket"), unique("group"), unique("both")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    logs.create_log_group(logGroupName=group)
    arn = role(
        sandbox,
        IOT,
        {"s3:PutObject": f"arn:aws:s3:::{bucket}/*", "logs:CreateLogStream": "*", "logs:PutLogEvents": "*"},
    )
    rule(
        sandbox,
        f"SELECT * FROM '{topic}'",
        {"s3": {"roleArn": arn, "bucketName": bucket, "key": "in/${a}.json"}},
        {"cloudwatchLogs": {"roleArn": arn, "logGroupName": group}},
    )
    publish(sandbox, topic, {"a": "1"})
    assert eventually(lambda: [o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]) == [
        "in/1.json"
    ]
    lines = eventually(lambda: logs.filter_log_events(logGroupName=group)["events"])
    assert [json.loads(line["message"]) for line in lines] == [{"a": "1"}]


def test_failed_action_reaches_the_error_action(sandbox: Sandbox) -> None:
    url, error_action = to_queue(sandbox)
    topic = unique("fail")
    action = {"dynamoDBv2": {"roleArn": role(sandbox, IOT, {}), "putItem": {"tableName": "nowhere"}}}
    name = rule(sandbox, f"SELECT * FROM '{topic}'", action, error_action=error_action)
    publish(sandbox, topic, {"a": 1})
    (note,) = received(sandbox, url)
    assert (note["ruleName"], note["topic"]) == (name, topic)
    assert json.loads(base64.b64decode(note["base64OriginalPayload"])) == {"a": 1}
    assert note["clientId"] and note["cloudwatchTraceId"]
    (failure,) = note["failures"]
    assert (failure["failedAction"], failure["failedResource"]) == ("DynamoDBv2Action", "nowhere")
    assert "is not authorized to perform: dynamodb:PutItem" in failure["errorMessage"]


def test_role_must_trust_the_rules_engine(sandbox: Sandbox) -> None:
    arn = role(sandbox, "lambda.amazonaws.com", {"*": "*"})
    action = {"dynamoDBv2": {"roleArn": arn, "putItem": {"tableName": "any"}}}
    with pytest.raises(ClientError, match="not authorized to assume role"):
        rule(sandbox, "SELECT * FROM 'trust'", action)


def test_throttled_action_is_tried_again(sandbox: Sandbox) -> None:
    rows, topic = table(sandbox), unique("again")
    arn = role(sandbox, IOT, {"dynamodb:PutItem": rows["TableArn"]})
    rule(
        sandbox,
        f"SELECT * FROM '{topic}'",
        {"dynamoDBv2": {"roleArn": arn, "putItem": {"tableName": rows["TableName"]}}},
    )
    fault = sandbox.fault(service="dynamodb", operation="PutItem", effect="throttle", times=2)
    try:
        publish(sandbox, topic, {"Name": "x"})
        assert eventually(lambda: get(sandbox, rows["TableName"], "x"))
    finally:
        sandbox.clear_faults(fault)


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("* AS message", {"message": {"a": 1, "s": "x", "o": {"deep": [1]}}}),
        ("concat('k', '#', a) AS v", {"v": "k#1"}),
        ("s + '/' + topic(2) AS v", {"v": "x/there"}),
        ("1 + 2 AS v, 'lit' AS w", {"v": 3, "w": "lit"}),
        ("o.deep AS v", {"v": [1]}),
        ("upper(s) AS v, lower('ABC') AS w, startswith(s, 'x') AS y", {"v": "X", "w": "abc", "y": True}),
        ("clientid() AS v", {"v": "n/a"}),
        ("topic() AS v, topic(1) + topic(2) AS w", None),
    ],
)
def test_select(sandbox: Sandbox, select: str, expected: dict[str, Any] | None) -> None:
    url, action = to_queue(sandbox)
    base = unique("select")
    rule(sandbox, f"SELECT {select} FROM '{base}/there'", action)
    publish(sandbox, f"{base}/there", {"a": 1, "s": "x", "o": {"deep": [1]}})
    assert received(sandbox, url) == [expected or {"v": f"{base}/there", "w": f"{base}there"}]


def test_time_and_identity_of_a_message(sandbox: Sandbox) -> None:
    url, action = to_queue(sandbox)
    topic = unique("time")
    rule(
        sandbox,
        f"SELECT timestamp() AS t, timestamp() + '#' + newuuid() AS sk, principal() AS p FROM '{topic}'",
        action,
    )
    publish(sandbox, topic, {})
    (event,) = received(sandbox, url)
    stamp, _, identity = event["sk"].partition("#")
    assert abs(int(stamp) - event["t"]) < 1000 and len(identity) == 36
    assert event["p"]


def test_where_chooses_messages(sandbox: Sandbox) -> None:
    url, action = to_queue(sandbox)
    topic = unique("where")
    rule(sandbox, f"SELECT * FROM '{topic}' WHERE status = 'PENDING_ACTIVATION' AND n <> 2", action)
    for message in ({"status": "ACTIVE", "n": 1}, {"status": "PENDING_ACTIVATION", "n": 2}, {"n": 3}):
        publish(sandbox, topic, message)
    publish(sandbox, topic, {"status": "PENDING_ACTIVATION", "n": 4})
    assert received(sandbox, url) == [{"status": "PENDING_ACTIVATION", "n": 4}]
    assert received(sandbox, url, seconds=0.3) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT get_thing_shadow('a', 'b') AS x FROM 't'",
        "SELECT a[0] AS x FROM 't'",
        "SELECT CASE a WHEN 1 THEN 2 END AS x FROM 't'",
        "SELECT topic(1) + cast(a AS String) AS x FROM 't'",
        "SELECT a + 'b' FROM 't'",
        "SELECT (SELECT b FROM c) AS x FROM 't'",
        "SELECT * FROM 't' WHERE get(a, 0) = 1",
    ],
)
def test_sql_that_cannot_be_evaluated_is_refused(sandbox: Sandbox, sql: str) -> None:
    _url, action = to_queue(sandbox)
    with pytest.raises(ClientError, match="SqlParseException"):
        rule(sandbox, sql, action)


def test_action_and_template_that_cannot_be_performed_are_refused(sandbox: Sandbox) -> None:
    kinesis = {"kinesis": {"roleArn": role(sandbox, IOT, {}), "streamName": "s", "partitionKey": "k"}}
    url, action = to_queue(sandbox)
    with pytest.raises(ClientError, match="no kinesis action"):
        rule(sandbox, "SELECT * FROM 't'", kinesis)
    with pytest.raises(ClientError, match="cannot evaluate"):
        rule(sandbox, "SELECT * FROM 't'", {"sqs": {**action["sqs"], "queueUrl": url + "${get(a, 1)}"}})


def test_republish_needs_permission_on_the_topic(sandbox: Sandbox) -> None:
    url, to_sqs = to_queue(sandbox)
    source, target = unique("in"), unique("out")
    topics = f"arn:aws:iot:{REGION}:{sandbox.account_id}:topic/{target}/*"
    allowed = role(sandbox, IOT, {"iot:Publish": topics})
    rule(sandbox, f"SELECT * FROM '{target}/#'", to_sqs)
    for name, arn in (("yes", allowed), ("no", role(sandbox, IOT, {}))):
        republish = {"republish": {"roleArn": arn, "topic": f"{target}/${{topic(2)}}", "qos": 1}}
        rule(sandbox, f"SELECT topic(2) AS via FROM '{source}/{name}'", republish, error_action=to_sqs)
    publish(sandbox, f"{source}/yes", {})
    assert received(sandbox, url) == [{"via": "yes"}]
    publish(sandbox, f"{source}/no", {})
    (note,) = received(sandbox, url)
    assert "iot:Publish" in note["failures"][0]["errorMessage"]


def test_rule_made_by_a_stack_keeps_its_error_action(sandbox: Sandbox) -> None:
    url, error_action = to_queue(sandbox)
    topic, rows = unique("stack"), table(sandbox)
    put(sandbox, rows["TableName"], "unused")
    template = {
        "Resources": {
            "Rule": {
                "Type": "AWS::IoT::TopicRule",
                "Properties": {
                    "TopicRulePayload": {
                        "Sql": f"SELECT * FROM '{topic}'",
                        "Actions": [
                            {
                                "DynamoDBv2": {
                                    "RoleArn": role(sandbox, IOT, {}),
                                    "PutItem": {"TableName": rows["TableName"]},
                                }
                            }
                        ],
                        "ErrorAction": {
                            "Sqs": {
                                "RoleArn": error_action["sqs"]["roleArn"],
                                "QueueUrl": error_action["sqs"]["queueUrl"],
                                "UseBase64": False,
                            }
                        },
                    }
                },
            }
        }
    }
    stacks, name = sandbox.client("cloudformation", REGION), unique("rules")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    publish(sandbox, topic, {"Name": "x"})
    assert received(sandbox, url)[0]["topic"] == topic
