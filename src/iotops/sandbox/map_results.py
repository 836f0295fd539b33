# SPDX-License-Identifier: GPL-3.0-or-later
"""What the child executions of a Map Run ended with, and the files that ResultWriter makes of it in S3.

``<prefix>/<map run>/manifest.json`` names ``SUCCEEDED_0.json`` and ``FAILED_0.json`` beside it, arrays of executions.
Source: "ResultWriter (Map)" of the AWS Step Functions Developer Guide.
"""

from __future__ import annotations

import json
import tempfile
import threading
from typing import IO, Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.services import stepfunctions as sfn

from iotops.sandbox import service_tasks

__all__ = ["Written"]


class Written:
    """Collects executions on disk, since a fleet's results are longer than what one wants to hold, and uploads them."""

    def __init__(self) -> None:
        self._files: dict[str, IO[bytes]] = {}
        self._lock = threading.Lock()

    def add(self, child: dict[str, Any]) -> None:
        """One execution that has ended; its record."""
        kind = "SUCCEEDED" if child["status"] == "SUCCEEDED" else "FAILED"
        text = json.dumps(_shown(child), separators=(",", ":")).encode()
        with self._lock:
            file = self._files.get(kind)
            if file is None:
                file = self._files[kind] = tempfile.TemporaryFile()  # noqa: SIM115  # closed after the upload
            file.write((b"," if file.tell() else b"[") + text)

    def upload(self, bucket: str, prefix: str, map_run_arn: str) -> str:
        """The manifest's key.

        Raises:
            stepfunctions._ExecutionError: ``States.ResultWriterFailed``.

        """
        folder = "/".join([*([prefix.rstrip("/")] if prefix else []), map_run_arn.rpartition(":")[2]])
        manifest: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
        try:
            client = service_tasks.client("s3")
            for kind, file in self._files.items():
                file.write(b"]")
                size = file.tell()
                file.seek(0)
                key = f"{folder}/{kind}_0.json"
                client.put_object(Bucket=bucket, Key=key, Body=file, ContentType="application/json")
                file.close()
                manifest[kind] = [{"Key": key, "Size": size}]
            content = {"DestinationBucket": bucket, "MapRunArn": map_run_arn, "ResultFiles": manifest}
            body = json.dumps(content).encode()
            client.put_object(Bucket=bucket, Key=f"{folder}/manifest.json", Body=body, ContentType="application/json")
        except (ClientError, BotoCoreError) as error:
            raise sfn._ExecutionError("States.ResultWriterFailed", str(error)) from None
        return f"{folder}/manifest.json"


def _shown(child: dict[str, Any]) -> dict[str, Any]:
    shown = {
        "ExecutionArn": child["executionArn"],
        "Input": child["input"],
        "InputDetails": {"Included": True},
        "Name": child["name"],
        "RedriveCount": 0,
        "RedriveStatus": "NOT_REDRIVABLE",
        "StartDate": child["startDate"],
        "StateMachineArn": child["stateMachineArn"],
        "Status": child["status"],
        "StopDate": child["stopDate"],
    }
    if child["status"] == "SUCCEEDED":
        return {**shown, "Output": child["output"], "OutputDetails": {"Included": True}}
    return {**shown, "Error": child.get("error") or "", "Cause": child.get("cause") or ""}
