"""The region's two tables, read whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import decisions
from aws import aws, pages
from decisions import Certificate, Status, Wake, mark
from rows import moment

APPLICATION = os.environ["APPLICATION"]
SEGMENTS = 4  # read at a time

Item = dict[str, Any]


@dataclass
class Devices:
    """What both tables say. ``things`` and ``certificates`` are filled when the registry is to be compared."""

    wakes: list[Wake] = field(default_factory=list)
    things: dict[str, int] = field(default_factory=dict)  # name -> what a listing has to say (decisions.wanted_thing)
    types: set[str] = field(default_factory=set)
    certificates: dict[bytes, Certificate] = field(default_factory=dict)  # by id

    def settled(self, thing: str) -> bool:
        """Whether what was applied to the device can be compared."""
        return self.things.get(thing, decisions.ANYTHING) != decisions.ANYTHING


def read(now: int, *, compared: bool) -> Devices:
    """Who needs waking at ``now`` (epoch seconds) and, with ``compared``, what the registry has to look like.

    The statuses are read first: a row that is older than the grace was there when its status was read.
    """
    devices = Devices()
    statuses = _statuses(devices, compared=compared)

    def take(row: Item) -> None:
        thing = row["ThingName"]["S"]
        status = statuses.pop(thing, None)
        write = mark(row["WriteId"]["S"])
        wake = decisions.judge(thing, write, _seconds(row.get("UpdatedAt")), status, now)
        if wake:
            devices.wakes.append(wake)
        if compared:
            certificate_id = row.get("CertificateId", {}).get("S", "")
            devices.things[thing] = decisions.wanted_thing(write, status, certificate_id, now)

    _scan("device-inventory", ("ThingName", "WriteId", "UpdatedAt", *(("CertificateId",) if compared else ())), take)
    for thing, status in statuses.items():
        if status.lease_until <= now:
            devices.wakes.append(Wake(now, thing, "forgotten"))
        if compared:
            devices.things[thing] = decisions.ANYTHING
    return devices


def _statuses(devices: Devices, *, compared: bool) -> dict[str, Status]:
    statuses: dict[str, Status] = {}
    policies: dict[tuple[str, ...], tuple[str, ...]] = {}  # one tuple for all devices that have the same ones

    def take(item: Item) -> None:
        thing = item["ThingName"]["S"]
        if not decisions.is_a_thing(thing):
            return
        applied = item.get("Applied", {}).get("M", {})
        statuses[thing] = Status(
            mark(item.get("AppliedWriteId", {}).get("S", "")),
            _seconds(item.get("ErrorAt")) if "Error" in item else 0,
            int(item.get("DueAt", {}).get("N", "0")),
            int(item.get("LeaseUntil", {}).get("N", "0")),
            _one(applied.get("State", {}).get("S", "")),
        )
        names = tuple(name["S"] for name in applied.get("PolicyNames", {}).get("L", ()))
        names = policies.setdefault(names, names)
        for certificate_id, status in applied.get("Statuses", {}).get("M", {}).items():
            devices.certificates[bytes.fromhex(certificate_id)] = Certificate(thing, _one(status["S"]), names)
        if "ThingTypeName" in applied:
            devices.types.add(applied["ThingTypeName"]["S"])

    applied = ("State", "ThingTypeName", "PolicyNames", "Statuses") if compared else ()
    attributes = ("ThingName", "AppliedWriteId", "Error", "ErrorAt", "DueAt", "LeaseUntil")
    _scan("device-status", (*attributes, *(f"Applied.{name}" for name in applied)), take)
    return statuses


def _scan(table: str, attributes: tuple[str, ...], take: Callable[[Item], None]) -> None:
    """Hand every item to ``take``, from several threads."""
    names = {f"#{name}": name for path in attributes for name in path.split(".")}
    arguments = {
        "TableName": f"{APPLICATION}-{table}",
        "ProjectionExpression": ", ".join(".".join(f"#{name}" for name in path.split(".")) for path in attributes),
        "ExpressionAttributeNames": names,
        "TotalSegments": SEGMENTS,
    }

    def read_segment(number: int) -> None:
        for page in pages("dynamodb", "scan", Segment=number, **arguments):
            for item in page["Items"]:
                take(item)

    aws("dynamodb")  # before the threads: boto3 makes clients in one thread only
    with ThreadPoolExecutor(SEGMENTS) as pool:
        list(pool.map(read_segment, range(SEGMENTS)))


def _seconds(value: Item | None) -> int:
    """Epoch seconds of an RFC 3339 time; 1, which is long ago, where there should be one and is none."""
    return int(moment(value["S"]).timestamp()) if value else 1


def _one(text: str) -> str:
    """The same text for all items."""
    return _TEXTS.setdefault(text, text)


_TEXTS: dict[str, str] = {}
