# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shadows of a region, each beside what the table ``shadows`` says of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._aws.pace import Pace
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing

__all__ = ["difference", "read_shadows"]

SOURCE = "shadows"
CLASSIC = "$classic"
LOOKERS = 16


def read_shadows(store: Store, dynamodb: Any, iot_data: Any, *, table: str, pace: Pace, lately: int) -> None:
    """Read every shadow that the table has, a page of the table at a time, from where the store knows it was read.

    One that changed since ``lately`` (epoch seconds) is on its way and left out.
    """

    def look(item: Item) -> tuple[str, str, str]:
        pace.wait()
        there = _get_shadow(iot_data, item["ThingName"], item["ShadowName"])
        return item["ThingName"], item["ShadowName"], difference(item, there)

    token, done = store.token(SOURCE)
    with ThreadPoolExecutor(LOOKERS) as pool:
        while not done:
            start = {"ExclusiveStartKey": json.loads(token)} if token else {}
            page = _scan(dynamodb, TableName=table, **start)
            items = [plain_item(item) for item in page["Items"]]
            looked = pool.map(look, [item for item in items if item["UpdatedAtMs"] < lately * 1000])
            key = page.get("LastEvaluatedKey")
            token, done = json.dumps(key) if key else "", not key
            store.page(SOURCE, token, {"shadow": [each for each in looked if each[2]]})


def difference(item: Item, document: dict[str, Any] | None) -> str:
    """How a shadow's document (None: there is none) is not what its item says; "" when it is."""
    if "State" not in item:  # a tombstone
        return "" if document is None else "is there, and was deleted"
    if document is None:
        return "is not there"
    wanted, state = json.loads(item["State"]), document.get("state") or {}
    differing = [part for part in ("desired", "reported") if wanted.get(part) != state.get(part)]
    return f"{' and '.join(differing)} differ" if differing else ""


@api_call("read a page of the fleet's shadows")
def _scan(client: Any, **request: Any) -> dict[str, Any]:
    return dict(client.scan(**request))


@none_if_missing
@api_call("get a shadow")
def _get_shadow(client: Any, thing: str, name: str) -> dict[str, Any]:
    named = {} if name == CLASSIC else {"shadowName": name}
    return dict(json.loads(client.get_thing_shadow(thingName=thing, **named)["payload"].read()))
