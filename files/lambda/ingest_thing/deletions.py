"""The deletion of a thing: it deletes the device everywhere, up to a number of devices an hour."""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import UTC, datetime
from typing import Any

import merging
from aws import aws, code
from botocore.exceptions import ClientError
from looks import Look, converge, is_applied
from observing import describe
from rows_table import APPLICATION, REGION, change, read

LIMIT = int(os.environ["DELETE_LIMIT"])
Row = dict[str, Any]
log = logging.getLogger(__name__)


class Deletion:
    """The event of a deletion, which counts only when it is that of the thing which convergence made last."""

    def __init__(self, name: str, event: dict[str, Any]) -> None:
        self._name = name
        self._event = event
        self._is_confirmed = bool(event.get("confirmed"))
        self._again = self._converge = False

    def take(self) -> bool:
        """Delete the device everywhere; whether to look again."""
        if not self._is_confirmed and describe(self._name):
            return Look(self._name, kind="THING_EVENT").take()  # somebody made another one meanwhile
        change("device-inventory", self._decide, ThingName=self._name)
        if self._converge:
            converge(self._name)
        return self._again

    def _decide(self, row: Row) -> Row | None:
        self._again = self._converge = False
        # The row of a REVOKED device is what keeps it out.
        if not row or row["State"] in ("DELETED", "REVOKED"):
            return None
        status = read("device-status", ThingName=self._name)
        if not self._is_confirmed and status.get("ThingId") != self._event["thingId"]:
            return None
        if not is_applied(row, status):
            self._again = self._converge = True
            return None
        if not self._is_confirmed and not _is_within_limit():
            self._hold()
            return None
        self._converge = True
        return merging.tombstone(row, region=REGION, now=datetime.now(UTC))

    def _hold(self) -> None:
        log.warning("Deletion held: %s, the limit is %s an hour", self._name, LIMIT)
        held = {**self._event, "held": f"more than {LIMIT} deletions an hour in {REGION}"}
        aws("sqs").send_message(QueueUrl=os.environ["DEAD_LETTERS_URL"], MessageBody=json.dumps(held))


def _is_within_limit() -> bool:
    """Count one more deletion in this hour, unless that would be too many."""
    hour = datetime.now(UTC).strftime("%Y-%m-%dT%H")
    try:
        aws("dynamodb").update_item(
            TableName=f"{APPLICATION}-device-status",
            Key={"ThingName": {"S": f"ingestion/deletions/{hour}"}},
            UpdateExpression="ADD Deletions :one SET ExpiresAt = :expires",
            ConditionExpression="attribute_not_exists(Deletions) OR Deletions < :limit",
            ExpressionAttributeValues={
                ":one": {"N": "1"},
                ":limit": {"N": str(LIMIT)},
                ":expires": {"N": str(int(time.time()) + 86400)},
            },
        )
    except ClientError as error:
        if code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True
