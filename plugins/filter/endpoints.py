# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What controller and devices saw of the endpoints, as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
DATE = 10


def endpoint_rows(
    answers: Mapping[str, Mapping[str, Any]], regions: Mapping[str, Sequence[str]], devices: Sequence[Row] = ()
) -> list[Row]:
    """Return a row for each look, in the order of ``answers``.

    ``answers`` are registered loops of ``mqtt_endpoint_info`` by the host that ran them, a region (the controller
    looked) or a device; ``regions`` are the addresses that were dialled, by region; ``devices`` are entries of
    ``fleet_device_info`` about devices that were turned away.
    """
    known = {each["thing_name"]: each for each in devices}
    places = {address: region for region, addresses in regions.items() for address in addresses}
    return [row for host, answer in answers.items() for row in _rows(host, answer, places, host in regions, known)]


def _rows(
    host: str, answer: Mapping[str, Any], places: Mapping[str, str], controller: bool, known: Mapping[str, Row]
) -> Iterator[Row]:
    seen_from = "controller" if controller else host
    for each in answer.get("results") or [answer]:
        address = each.get("item")
        reason = each.get("reason") if "ok" in each else f"not looked: {each.get('msg') or 'no answer'}"
        yield {
            "region": places.get(address or "", "-"),
            "seen_from": seen_from,
            "address": address,
            "state": "green" if each.get("ok") else "red",
            "tls": each.get("tls_version"),
            "alpn": each.get("alpn"),
            "server_ends": (each.get("server_not_after") or "")[:DATE],
            "device": each.get("common_name"),
            "ends": (each.get("not_after") or "")[:DATE],
            "connect": each.get("connect"),
            "reason": " ".join(f"{reason or ''}{_registry(each, known)}".split()),
        }


def _registry(seen: Mapping[str, Any], known: Mapping[str, Row]) -> str:
    """What the registry says of who was turned away; empty when nobody was, or it does not know."""
    if seen.get("connect") != "closed" or seen.get("common_name") not in known:
        return ""
    device = known[seen["common_name"]]
    if not device.get("row"):
        return f" (the registry does not know {seen['common_name']}: a new device is let in some seconds later)"
    certificate = device["certificates"].get(seen["certificate_id"], {})
    wanted = certificate.get("wanted") or "unknown"
    return f" (the registry says: {seen['common_name']} {device['row']['state']}, this certificate {wanted})"


def endpoint_turned_away(rows: Sequence[Row]) -> list[str]:
    """Return the names of the devices whose connection was closed, each once."""
    return sorted({str(row["device"]) for row in rows if row["connect"] == "closed"})


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {each.__name__: each for each in (endpoint_rows, endpoint_turned_away)}
