# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shadows of a thing, which AWS keeps when the thing is deleted, for the next one of that name. Private.

https://docs.aws.amazon.com/iot/latest/developerguide/iot-device-shadows.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing

CLASSIC = "$classic"  # as the table of shadows calls the one without a name


def shadows_of(data: Any, thing_name: str) -> list[str]:
    """The names of a thing's shadows, the classic one first; also where only the shadow is left of the thing.

    ``data`` is boto3's client of ``iot-data``.
    """
    classic = () if _get(data, thing_name) is None else (CLASSIC,)
    return [*classic, *sorted(_named(data, thing_name) or ())]


def delete_shadows(data: Any, thing_name: str, names: Iterable[str]) -> None:
    """Delete these shadows of a thing; one that is gone already is no error."""
    for name in names:
        _delete(data, thingName=thing_name, **({} if name == CLASSIC else {"shadowName": name}))


@none_if_missing
@api_call("read the thing's shadow")
def _get(data: Any, thing_name: str) -> Any:
    return data.get_thing_shadow(thingName=thing_name)


@none_if_missing
@api_call("list the thing's named shadows")
def _named(data: Any, thing_name: str) -> list[str]:
    found: list[str] = []
    request = {"thingName": thing_name}
    while True:  # boto3 has no paginator for it
        page = data.list_named_shadows_for_thing(**request)
        found += page["results"]
        if not page.get("nextToken"):
            return found
        request["nextToken"] = page["nextToken"]


@none_if_missing
@api_call("delete a shadow of the thing")
def _delete(data: Any, **request: str) -> None:
    data.delete_thing_shadow(**request)


__all__ = ["CLASSIC", "delete_shadows", "shadows_of"]
