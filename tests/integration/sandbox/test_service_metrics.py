# SPDX-License-Identifier: GPL-3.0-or-later
"""Alarms on queues, functions and logs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, eventually, function, queue, role, unique

LAMBDA = "lambda.amazonaws.com"
CODE = """
def handler(event, context):
    print(event["say"])
    if event.get("fail"):
        raise ValueError("told to")
"""


def alarm(sandbox: Sandbox, namespace: str, metric: str, **more: Any) -> str:
    """An alarm that anything above zero raises."""
    name = unique("alarm")
    dimensions = [{"Name": key, "Value": value} for key, value in more.pop("dimensions", {}).items()]
    sandbox.client("cloudwatch", REGION).put_metric_alarm(
        AlarmName=name,
        Namespace=namespace,
        MetricName=metric,
        Dimensions=dimensions,
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        **{"Period": 60, "Statistic": "Sum", "Threshold": 0, **more},
    )
    return name


def state(sandbox: Sandbox, name: str) -> str:
    (found,) = sandbox.client("cloudwatch", REGION).describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(found["StateValue"])


def test_a_dead_letter_raises_the_alarm_of_its_queue_and_no_other(sandbox: Sandbox) -> None:
    sqs = sandbox.client("sqs", REGION)
    names = []
    for _ in range(2):
        url, arn = queue(sandbox)
        names.append(
            alarm(
                sandbox,
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                dimensions={"QueueName": arn.rsplit(":", 1)[-1]},
                Statistic="Maximum",
                Period=3,
            )
        )
    sqs.send_message(QueueUrl=url, MessageBody="dead")
    assert eventually(lambda: state(sandbox, names[1]) == "ALARM")
    assert state(sandbox, names[0]) != "ALARM"
    sqs.purge_queue(QueueUrl=url)
    assert eventually(lambda: state(sandbox, names[1]) == "OK")


def test_an_alarm_is_raised_without_being_asked(sandbox: Sandbox) -> None:
    """Its action, a message to a topic, is taken although nobody describes it."""
    sns, sqs = sandbox.client("sns", REGION), sandbox.client("sqs", REGION)
    told, told_arn = queue(sandbox, sender="sns.amazonaws.com")
    topic = sns.create_topic(Name=unique("alarms"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=told_arn)
    url, arn = queue(sandbox)
    alarm(
        sandbox,
        "AWS/SQS",
        "ApproximateAgeOfOldestMessage",
        dimensions={"QueueName": arn.rsplit(":", 1)[-1]},
        Statistic="Maximum",
        AlarmActions=[topic],
    )
    sqs.send_message(QueueUrl=url, MessageBody="late")
    assert eventually(lambda: "Messages" in sqs.receive_message(QueueUrl=told), 8)


def test_a_phrase_may_have_quotes_in_it(sandbox: Sandbox) -> None:
    logs, cloudwatch = sandbox.client("logs", REGION), sandbox.client("cloudwatch", REGION)
    namespace, group = unique("fleet"), f"/fleet/{unique('group')}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    pattern = {"filterPattern": r'"\"code\": \"Late\""', "logGroupName": group, "filterName": "late"}
    change = {"metricNamespace": namespace, "metricName": "Late", "metricValue": "1"}
    logs.put_metric_filter(**pattern, metricTransformations=[change])
    lines = ['[INFO] {"code": "Late", "status": 503}', '{"code": "Later"}', "code: Late", '{"thing": "code Late"}']
    now = datetime.now(UTC)
    events = [{"timestamp": int(now.timestamp() * 1000), "message": line} for line in lines]
    logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)
    [point] = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="Late", Statistics=["Sum"], Period=3600,
        StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1),
    )["Datapoints"]  # fmt: skip
    assert point["Sum"] == 1


def test_what_a_function_throws_and_says_is_measured(sandbox: Sandbox) -> None:
    logs, functions = sandbox.client("logs", REGION), sandbox.client("lambda", REGION)
    namespace, group = unique("fleet"), f"/fleet/{unique('group')}"
    logs.create_log_group(logGroupName=group)
    pattern = {"filterPattern": '"Deletion held"', "logGroupName": group, "filterName": "held"}
    change = {"metricNamespace": namespace, "metricName": "Held", "metricValue": "1"}
    logs.put_metric_filter(**pattern, metricTransformations=[change])
    writes = {"logs:CreateLogStream": "*", "logs:PutLogEvents": f"arn:aws:logs:*:*:log-group:{group}:*"}
    arn = function(sandbox, CODE, role(sandbox, LAMBDA, writes), LoggingConfig={"LogGroup": group})
    silent = function(sandbox, CODE, role(sandbox, LAMBDA, {}), LoggingConfig={"LogGroup": group})
    errors = alarm(sandbox, "AWS/Lambda", "Errors", dimensions={"FunctionName": arn.rsplit(":", 1)[-1]})
    held = alarm(sandbox, namespace, "Held")
    functions.invoke(FunctionName=arn, Payload='{"say": "held: Deletion"}')
    functions.invoke(FunctionName=silent, Payload='{"say": "Deletion held"}')
    assert (state(sandbox, errors), state(sandbox, held)) != ("ALARM", "ALARM")
    said = [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
    assert "held: Deletion" in said and "Deletion held" not in said
    functions.invoke(FunctionName=arn, Payload='{"say": "Deletion held: 7", "fail": true}')
    assert eventually(lambda: (state(sandbox, errors), state(sandbox, held)) == ("ALARM", "ALARM"))
