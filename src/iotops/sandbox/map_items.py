# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Distributed Map works on: its fields, the items that it reads, and the inputs of its child executions.

Sources: "ItemReader (Map)", "ItemSelector (Map)" and "ItemBatcher (Map)" of the AWS Step Functions Developer Guide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.services import stepfunctions as sfn

from iotops.sandbox import service_tasks

__all__ = ["Fields", "inputs", "read"]

_LONGEST_INPUT = 256 * 1024  # bytes of a child's input
_INPUT_TYPES = ("JSON", "JSONL", "CSV")


@dataclass(frozen=True)
class Fields:
    """The fields of a Map state, evaluated in its query language.

    ``given`` is the state's input, ``effective`` what InputPath left of it.
    """

    state: dict[str, Any]
    given: Any
    effective: Any
    context: dict[str, Any]

    @property
    def is_jsonata(self) -> bool:
        """Whether it is JSONata, and not JSONPath."""
        return bool(sfn._state_query_language(self.state, self.context) == "JSONata")

    def number(self, name: str, where: dict[str, Any] | None = None) -> float | None:
        """A number, a JSONata expression, or the path of one in ``<name>Path``; None when there is neither."""
        fields = self.state if where is None else where
        if self.is_jsonata and name in fields:
            found = sfn._jsonata_state_field(fields, name, "number", self.given, self.context)
        elif f"{name}Path" in fields:
            found = sfn._resolve_path_or_ctx(fields[f"{name}Path"], self.effective, self.context)
        else:
            found = fields.get(name)
        return None if found is None else float(found)

    def template(self, value: Any, context: dict[str, Any] | None = None) -> Any:
        """A payload template, for example of ItemSelector."""
        known = self.context if context is None else context
        if self.is_jsonata:
            return sfn._apply_jsonata_template(value, self.given, known)
        return sfn._resolve_params_obj(value, self.effective, known)

    def arguments(self, field: str) -> dict[str, Any]:
        """The arguments of ItemReader or ResultWriter."""
        call = self.state[field]
        found = self.template(call.get("Arguments" if self.is_jsonata else "Parameters") or {})
        return dict(found)


def read(fields: Fields) -> list[Any]:
    """The items: what ItemReader reads in S3, else those of the state's input.

    Raises:
        stepfunctions._ExecutionError: ``States.ItemReaderFailed``, or what is no list.

    """
    if "ItemReader" in fields.state:
        return _from_s3(fields, fields.state["ItemReader"])
    if fields.is_jsonata and "Items" in fields.state:
        found = sfn._jsonata_state_field(fields.state, "Items", "array", fields.given, fields.context)
    else:
        found = sfn._resolve_path_or_ctx(fields.state.get("ItemsPath", "$"), fields.effective, fields.context)
    if not isinstance(found, list):
        raise sfn._ExecutionError("States.Runtime", "The items of a Map state have to be an array")
    return found


def _from_s3(fields: Fields, reader: dict[str, Any]) -> list[Any]:
    config, arguments = reader.get("ReaderConfig") or {}, fields.arguments("ItemReader")
    kind = config.get("InputType", "JSON")
    try:
        client = service_tasks.client("s3")
        if str(reader.get("Resource", "")).endswith(":s3:listObjectsV2"):
            items = list(_objects(client, arguments))
        elif kind not in _INPUT_TYPES:
            raise _failed(f"InputType {kind} is not read by the sandbox")
        else:
            body = client.get_object(**arguments)["Body"].read()
            items = sfn._parse_reader_items(body.decode("utf-8-sig"), config)
    except (ClientError, BotoCoreError) as error:
        raise _failed(str(error)) from None
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise _failed(f"The dataset is not valid {kind}: {error}") from None
    if not isinstance(items, list):
        raise _failed("Attempting to map over non-iterable node.")
    most = fields.number("MaxItems", config)
    return items[: int(most)] if most else items


def _objects(client: Any, arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator("list_objects_v2").paginate(**arguments):
        for found in page.get("Contents", ()):
            yield {
                "Etag": found["ETag"],
                "Key": found["Key"],
                "LastModified": int(found["LastModified"].timestamp()),
                "Size": found["Size"],
                "StorageClass": found.get("StorageClass", "STANDARD"),
            }


def _failed(message: str) -> Any:
    return sfn._ExecutionError("States.ItemReaderFailed", message)


def inputs(fields: Fields, items: list[Any]) -> Iterator[tuple[Any, int]]:
    """The input of each child execution, made when it is wanted, and how many items are in it."""
    batcher = fields.state.get("ItemBatcher")
    if not batcher:
        for item in _selected(fields, items):
            yield item, 1
        return
    most = fields.number("MaxItemsPerBatch", batcher) or len(items)
    longest = fields.number("MaxInputBytesPerBatch", batcher) or _LONGEST_INPUT
    common = {"BatchInput": fields.template(batcher["BatchInput"])} if "BatchInput" in batcher else {}
    batch: list[Any] = []
    size = 0
    for item in _selected(fields, items):
        length = len(json.dumps(item)) + 1
        if batch and (len(batch) >= most or size + length > longest):
            yield {**common, "Items": batch}, len(batch)
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield {**common, "Items": batch}, len(batch)


def _selected(fields: Fields, items: list[Any]) -> Iterator[Any]:
    selector = fields.state.get("ItemSelector") or (None if fields.is_jsonata else fields.state.get("Parameters"))
    for index, item in enumerate(items):
        if selector is None:
            yield item
        else:
            yield fields.template(selector, {**fields.context, "Map": {"Item": {"Index": index, "Value": item}}})
