# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages for the lists of AWS IoT: the base answers most of them whole, whatever page size is asked for."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

import botocore.session

_DEFAULT_SIZE = 25
_TOKEN = "sandbox-"  # noqa: S105  # of a page, not a secret


@dataclass(frozen=True)
class _Paging:
    path: re.Pattern[str]
    limit: str
    token_in: str
    token_out: str
    result: str


@functools.cache
def _pagings() -> list[_Paging]:
    """Botocore's paginators of the GET operations of ``iot``, with the names on the wire."""
    session = botocore.session.get_session()
    paginators = session.get_component("data_loader").load_service_model("iot", "paginators-1")["pagination"]
    model = session.get_service_model("iot")
    return [
        _paging(model.operation_model(name), paginator)
        for name, paginator in paginators.items()
        if model.operation_model(name).http["method"] == "GET"
        and isinstance(paginator["result_key"], str)
        and paginator.get("limit_key")
    ]


def _paging(operation: Any, paginator: dict[str, Any]) -> _Paging:
    def wire(member: str) -> str:
        return str(operation.input_shape.members[member].serialization.get("name", member))

    path = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(operation.http["requestUri"]))
    token = paginator["input_token"]
    return _Paging(
        re.compile(path), wire(paginator["limit_key"]), wire(token), paginator["output_token"], paginator["result_key"]
    )


def _find(path: str) -> _Paging | None:
    return next((paging for paging in _pagings() if paging.path.fullmatch(path)), None)


def strip_token(method: str, path: str, query: dict[str, Any]) -> dict[str, Any]:
    """The query without a token of ours, which the base would refuse."""
    paging = _find(path) if method == "GET" else None
    if paging is None or not _one(query, paging.token_in).startswith(_TOKEN):
        return query
    return {name: value for name, value in query.items() if name not in (paging.token_in, paging.limit)}


def cut_page(
    path: str, query: dict[str, Any], answer: tuple[int, dict[str, str], bytes]
) -> tuple[int, dict[str, str], bytes]:
    """The page that the query asks for, when the base has answered with the whole list."""
    paging = _find(path)
    if paging is None:
        return answer
    content = json.loads(answer[2])
    items = content.get(paging.result)
    token = _one(query, paging.token_in)
    if not isinstance(items, list) or content.get(paging.token_out) or (token and not token.startswith(_TOKEN)):
        return answer
    start, size = int(token.removeprefix(_TOKEN) or 0), int(_one(query, paging.limit) or _DEFAULT_SIZE)
    content[paging.result] = items[start : start + size]
    if start + size < len(items):
        content[paging.token_out] = f"{_TOKEN}{start + size}"
    return answer[0], answer[1], json.dumps(content).encode()


def _one(query: dict[str, Any], name: str) -> str:
    value = query.get(name) or ""
    return str(value[0] if isinstance(value, list) else value)
