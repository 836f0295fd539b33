# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table ``rejections``. Private to the collection."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing


def find(client: Any, table: str, *, certificate_id: str | None, thing_name: str | None) -> list[Item]:
    """Return the rejections, oldest first: of one certificate, of one name, or all."""
    if certificate_id:
        item = _of_certificate(client, table, certificate_id)
        return [item] if item else []
    found = [each for each in _all(client, table) or [] if thing_name in (None, each.get("ThingName"))]
    return sorted(found, key=lambda each: str(each.get("RejectedAt", "")))


@none_if_missing
@api_call("read a rejection")
def _of_certificate(client: Any, table: str, certificate_id: str) -> Item | None:
    answer = client.get_item(TableName=table, Key={"CertificateId": {"S": certificate_id}}, ConsistentRead=True)
    return plain_item(answer["Item"]) if "Item" in answer else None


@none_if_missing
@api_call("list the rejections")
def _all(client: Any, table: str) -> list[Item] | None:
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [plain_item(item) for page in pages for item in page["Items"]]


@api_call("delete a rejection")
def delete(client: Any, table: str, certificate_id: str) -> None:
    """Forget a rejection."""
    client.delete_item(TableName=table, Key={"CertificateId": {"S": certificate_id}})


__all__ = ["delete", "find"]
