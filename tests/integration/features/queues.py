# SPDX-License-Identifier: GPL-3.0-or-later
"""Queues of messages, with the consumer of the collection or one that fails on some of them."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment

# What an operator's own consumer may look like: it cannot stand every twentieth message.
FASTIDIOUS = """
import json
import consumer

def handler(event, context):
    good, bad = [], []
    for record in event["Records"]:
        (bad if json.loads(record["body"])["message"]["number"] % 20 == 0 else good).append(record)
    answer = consumer.handler({"Records": good}, context)
    failed = [{"itemIdentifier": record["messageId"]} for record in bad]
    return {"batchItemFailures": answer["batchItemFailures"] + failed}
"""


def package(deployment: Deployment, region: str, *, fastidious: bool) -> str:
    """Upload a consumer; its key."""
    from tests.integration.deployment import FILES

    files = {"aws.py": FILES / "lambda/shared/aws.py", "consumer.py": FILES / "lambda/consume_messages/handler.py"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, path in files.items():
            made.writestr(name, path.read_text())
        made.writestr("handler.py", FASTIDIOUS if fastidious else "from consumer import handler\n")
    key = "consumer-fastidious" if fastidious else "consumer"
    bucket = f"{deployment.application}-{deployment.sandbox.account_id}-{region}-artifacts"
    deployment.sandbox.client("s3", region).put_object(Bucket=bucket, Key=key, Body=buffer.getvalue())
    return key


def parameters(deployment: Deployment, region: str, name: str, topic: str, **more: str) -> dict[str, str]:
    """A queue's parameters: what fails comes again soon, and dies soon."""
    fastidious = more.pop("fastidious", "") == "true"
    return {
        "Name": name,
        "Topic": topic,
        "ConsumerPackage": package(deployment, region, fastidious=fastidious),
        "ConsumerTimeout": "6",
        "VisibilityTimeout": "6",
        "MaximumReceives": "2",  # a busy machine may take longer than the time that a batch has
        **more,
    }


def deploy(deployment: Deployment, region: str, name: str, topic: str, **more: str) -> None:
    """Make the stack of a queue."""
    from tests.integration.deployment import FILES

    body = (FILES / "cloudformation/message_queue.yaml").read_text()
    deployment.stack(region, f"queue-{name}", body=body, **parameters(deployment, region, name, topic, **more))
