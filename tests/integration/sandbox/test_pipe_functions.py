# SPDX-License-Identifier: GPL-3.0-or-later
"""DynamoDB stream -> pipe -> Lambda function."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, allow, eventually, function, get, queue, received, role, table
from tests.integration.sandbox.test_pipes import pipe, reader

# Writes a row for each record; raises for one called ``raise-...``, reports one called ``report-...``.
CODE = """
import boto3, os, time

dynamodb = boto3.client("dynamodb")

def handler(records, context):
    failures = []
    for record in records:
        name = record["dynamodb"]["NewImage"]["Name"]["S"]
        if name.startswith("raise"):
            raise ValueError(name)
        if name.startswith("report"):
            failures.append({"itemIdentifier": record["dynamodb"]["SequenceNumber"]})
            break
        item = {"Name": {"S": name}, "Batch": {"S": str(len(records))}, "At": {"S": repr(time.time())}}
        dynamodb.put_item(TableName=os.environ["TABLE"], Item=item)
    return {"batchItemFailures": failures}
"""


class Chain:
    """Rows whose stream goes to a function, which writes into another table."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.rows, self.seen = sandbox, table(sandbox), table(sandbox)
        self.dead_url, self.dead_arn = queue(sandbox)
        self.function = function(
            sandbox,
            CODE,
            role(sandbox, "lambda.amazonaws.com", {"dynamodb:PutItem": self.seen["TableArn"]}),
            Environment={"Variables": {"TABLE": self.seen["TableName"]}},
        )
        stream = self.rows["LatestStreamArn"]
        self.may = {"lambda:InvokeFunction": self.function, "sqs:SendMessage": self.dead_arn}
        self.role = reader(sandbox, stream, self.may)
        self.pipe = pipe(
            sandbox,
            stream,
            self.function,
            self.role,
            parameters={"LambdaFunctionParameters": {"InvocationType": "REQUEST_RESPONSE"}},
            BatchSize=10,
            MaximumBatchingWindowInSeconds=1,
            MaximumRetryAttempts=3,
            OnPartialBatchItemFailure="AUTOMATIC_BISECT",
            DeadLetterConfig={"Arn": self.dead_arn},
        )

    def put(self, *names: str) -> None:
        """At once, so that they are one batch."""
        requests = [{"PutRequest": {"Item": {"Name": {"S": name}}}} for name in names]
        items = {self.rows["TableName"]: requests}
        self.sandbox.client("dynamodb", REGION).batch_write_item(RequestItems=items)

    def row(self, name: str) -> dict[str, str] | None:
        found: dict[str, str] | None = eventually(lambda: get(self.sandbox, self.seen["TableName"], name), 15)
        return found

    def dead(self) -> list[Any]:
        return received(self.sandbox, self.dead_url, seconds=20)


@pytest.fixture(scope="module")
def chain(sandbox: Sandbox) -> Chain:
    return Chain(sandbox)


def test_a_batch_is_one_invocation(chain: Chain) -> None:
    chain.put("a", "b", "c")
    rows = [chain.row(name) for name in ("a", "b", "c")]
    assert [row and row["Batch"] for row in rows] == ["3", "3", "3"]
    calls = chain.sandbox.journal(service="lambda", operation="Invoke")
    session = f"assumed-role/{chain.role.rsplit('/', 1)[-1]}/"
    assert [call["status"] for call in calls if session in call["caller"]] == [200]


@pytest.mark.parametrize("how", ["raise", "report"])
def test_what_always_fails_is_found_by_halving_and_left_in_the_dead_letters(chain: Chain, how: str) -> None:
    names = [f"good-{how}-1", f"{how}-bad", f"good-{how}-2", f"good-{how}-3"]
    chain.put(*names)
    (note,) = chain.dead()
    assert note["DDBStreamBatchInfo"]["batchSize"] == 1
    assert note["DDBStreamBatchInfo"]["streamArn"] == chain.rows["LatestStreamArn"]
    assert note["context"]["condition"] == "RetryAttemptsExhausted"
    assert all(chain.row(name) for name in names if name != f"{how}-bad")
    now = datetime.datetime.now(datetime.UTC)
    failed = chain.sandbox.client("cloudwatch", REGION).get_metric_statistics(
        Namespace="AWS/EventBridge/Pipes",
        MetricName="ExecutionFailed",
        Dimensions=[{"Name": "PipeName", "Value": chain.pipe}],
        StartTime=now - datetime.timedelta(minutes=5),
        EndTime=now + datetime.timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    assert sum(point["Sum"] for point in failed) >= 3


def test_without_permission_nothing_is_called(chain: Chain) -> None:
    document = {**dict.fromkeys(("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"), "*")}
    allow(chain.sandbox, chain.role, {**document, "sqs:SendMessage": chain.dead_arn})
    chain.put("refused")
    (note,) = chain.dead()
    assert note["DDBStreamBatchInfo"]["batchSize"] == 1
    allow(chain.sandbox, chain.role, {**document, **chain.may})
    sent = time.time()
    chain.put("allowed")
    row = chain.row("allowed")
    assert row and float(row["At"]) - sent < 3
    assert get(chain.sandbox, chain.seen["TableName"], "refused") is None
    refused = [call for call in chain.sandbox.journal(service="lambda", operation="Invoke") if call["status"] == 403]
    assert refused and json.dumps(refused).count("AccessDenied") == len(refused)
