"""The way to AWS of every function that calls it; packed beside each handler.

Calls are written ``aws("iot").describe_thing(...)`` or ``pages("iot", "list_things", ...)``, with names in the text, so
that what a function calls can be read from its source and compared with what its role grants.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config
from botocore.exceptions import ClientError

_ATTEMPTS = int(os.environ.get("AWS_MAX_ATTEMPTS", "5"))
_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    connect_timeout=float(os.environ.get("AWS_CONNECT_TIMEOUT", "3")),
    read_timeout=float(os.environ.get("AWS_READ_TIMEOUT", "10")),
)
_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


@cache
def aws(service: str, region: str | None = None) -> Any:
    """The service's client in a region, the function's own unless it is named."""
    return boto3.client(service, region_name=region, config=_CONFIG)


def pages(service: str, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    """Every page of a listing."""
    yield from aws(service).get_paginator(operation).paginate(**arguments)


def code(error: ClientError) -> str:
    """The error's name, such as ``ResourceNotFoundException``."""
    return str(error.response["Error"]["Code"])


def typed(item: dict[str, Any]) -> dict[str, Any]:
    """Plain values as DynamoDB's: ``{"a": "x"}`` as ``{"a": {"S": "x"}}``."""
    return {name: _serialize(value) for name, value in item.items()}


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """DynamoDB's values as plain ones; whole numbers as int."""
    return {name: _number(_deserialize(value)) for name, value in item.items()}


def _number(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _number(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_number(each) for each in value]
    return int(value) if isinstance(value, Decimal) and value == int(value) else value
