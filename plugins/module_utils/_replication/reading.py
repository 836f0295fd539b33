# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables and the registry of a region, read into the store: page by page, in parallel, at the quotas' pace."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._aws.pace import Pace
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import existing, parts
from ansible_collections.iotops.fleet.plugins.module_utils._replication import intake
from ansible_collections.iotops.fleet.plugins.module_utils._replication.intake import Tables
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, error_code, none_if_missing

__all__ = ["LISTINGS", "Reader"]

PAGE = 250  # the largest that AWS IoT gives
LOOKERS = 16  # ListThingPrincipals at the same time
READ_AGAIN_AT_ONCE = 100
LOOKS_AT_ONCE = 400  # whose answers are one page of the store
REPORT_EVERY = 10.0  # seconds
LISTINGS = (
    "ListThings", "ListCertificates", "ListTargetsForPolicy", "ListThingsInThingGroup", "ListThingPrincipals",
    "GetThingShadow",
)  # fmt: skip

# From a token, what a page comes to and the token of the next one ("" after the last).
Page = Callable[[str], tuple[Tables, str]]


@dataclass
class Reader:
    """``quotas``: calls a second by operation. ``report`` is told from time to time how far it has come."""

    store: Store
    iot: Any
    dynamodb: Any
    application: str
    now: datetime
    quotas: Mapping[str, float]
    segments: int
    report: Callable[[str], None]
    expected: int = 0  # devices, about
    paces: dict[str, Pace] = field(init=False)
    _read: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _began: float = field(default_factory=time.monotonic)
    _reported: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.paces = {operation: Pace(self.quotas[operation]) for operation in LISTINGS}
        for operation, pace in self.paces.items():
            pace.watch(self.iot, operation)
            _take_as_it_came(self.iot, operation)
        _take_as_it_came(self.dynamodb, "Scan")

    def read(self, *, registry: bool, policies: Iterable[str], groups: Iterable[str]) -> None:
        """Read the tables and, with ``registry``, the listings.

        ``policies`` are those whose targets are listed, ``groups`` those whose things are, beside those of the rows.
        """
        own_type = f"{self.application}-device"
        self._scan("revocations", ("Key",), intake.revocations)
        jobs: list[Callable[[], None]] = [
            partial(self._scan, "device-inventory", intake.ROW, self._wanted),
            partial(self._scan, "device-status", intake.STATUS, intake.statuses),
        ]
        if registry:
            jobs += [
                partial(self._things, own_type),
                self._certificates,
                partial(self._each, self._targets, policies),
            ]
        self._at_once(jobs)
        if registry:
            types = self._names("SELECT DISTINCT type FROM row WHERE type NOT IN ('', ?)", own_type)
            every_group = {*groups, *self._names("SELECT DISTINCT grp FROM row_group")}
            kinds = [(self._things, types), (self._members, sorted(every_group))]
            self._at_once([partial(self._each, read, names) for read, names in kinds])

    def look_at(self, things: Iterable[str]) -> None:
        """List the principals of these things, those that were not listed before."""
        pending: list[str] = []
        with ThreadPoolExecutor(LOOKERS) as pool:
            for thing in things:
                pending.append(thing)
                if len(pending) == LOOKS_AT_ONCE:
                    self._look(pool, pending)
                    pending = []
            self._look(pool, pending)

    def read_again(self, things: list[str], certificates: list[str], missing: list[str]) -> None:
        """Read rows and statuses of these devices, rows that these certificates are in, and things that no list had."""
        owners = [thing for each in certificates for thing in _owners(self.dynamodb, self.application, each)]
        for part in parts(sorted({*things, *owners}), READ_AGAIN_AT_ONCE):
            rows = existing(self.dynamodb, f"{self.application}-device-inventory", "ThingName", part)
            statuses = existing(self.dynamodb, f"{self.application}-device-status", "ThingName", part)
            for table, found in (self._wanted(rows) | intake.statuses(statuses)).items():
                self.store.take(table, found)
        for part in parts(missing, READ_AGAIN_AT_ONCE):
            described = [_describe_thing(self.iot, thing) for thing in part]
            self.store.take("thing", intake.things(filter(None, described))["thing"])

    def _look(self, pool: ThreadPoolExecutor, things: list[str]) -> None:
        found: Tables = {"principal": [], "looked": []}
        for thing, arns in zip(things, pool.map(self._principals, things), strict=True):
            if arns is not None:
                for table, rows in intake.principals(thing, arns).items():
                    found[table] += rows
        self.store.page("principals", "more", found)
        self._count("principals", len(things))

    def _principals(self, thing: str) -> list[str] | None:
        self.paces["ListThingPrincipals"].wait()
        return _list_thing_principals(self.iot, thing)

    def _wanted(self, rows: list[Item]) -> Tables:
        return intake.rows(rows, self._revoked, self.now)

    def _revoked(self, keys: list[str]) -> set[str]:
        query = "SELECT key FROM revoked WHERE key IN (SELECT value FROM json_each(?))"
        return {key for (key,) in self.store.select(query, (json.dumps(keys),))}

    def _scan(self, table: str, attributes: tuple[str, ...], take: Callable[[list[Item]], Tables]) -> None:
        names = {f"#{number}": name for number, name in enumerate(attributes)}
        request = {
            "TableName": f"{self.application}-{table}",
            "ProjectionExpression": ", ".join(names),
            "ExpressionAttributeNames": names,
            "TotalSegments": self.segments,
        }

        def page(segment: int, token: str) -> tuple[Tables, str]:
            start = {"ExclusiveStartKey": json.loads(token)} if token else {}
            answer = _scan(self.dynamodb, **request, Segment=segment, **start)
            key = answer.get("LastEvaluatedKey")
            return take([plain_item(item) for item in answer["Items"]]), json.dumps(key) if key else ""

        segments = range(self.segments)
        self._at_once([partial(self._source, f"{table}/{each}", partial(page, each)) for each in segments])

    def _things(self, thing_type: str) -> None:
        def page(token: str) -> tuple[Tables, str]:
            self.paces["ListThings"].wait()
            answer = _list_things(self.iot, thingTypeName=thing_type, maxResults=PAGE, **_from("nextToken", token))
            return intake.things(answer["things"]), answer.get("nextToken") or ""

        self._source(f"things/{thing_type}", page)

    def _certificates(self) -> None:
        def page(token: str) -> tuple[Tables, str]:
            self.paces["ListCertificates"].wait()
            answer = _list_certificates(self.iot, pageSize=PAGE, **_from("marker", token))
            return intake.certificates(answer["certificates"]), answer.get("nextMarker") or ""

        self._source("certificates", page)

    def _targets(self, policy: str) -> None:
        def page(token: str) -> tuple[Tables, str]:
            self.paces["ListTargetsForPolicy"].wait()
            asked = {"policyName": policy, "pageSize": PAGE, **_from("marker", token)}
            answer = _list_targets(self.iot, **asked) or {"targets": []}  # of a policy that is gone nobody is a target
            return intake.targets(policy, answer["targets"]), answer.get("nextMarker") or ""

        self._source(f"targets/{policy}", page)

    def _members(self, group: str) -> None:
        def page(token: str) -> tuple[Tables, str]:
            self.paces["ListThingsInThingGroup"].wait()
            asked = {"thingGroupName": group, "maxResults": PAGE, **_from("nextToken", token)}
            answer = _list_members(self.iot, **asked) or {"things": []}
            return intake.members(group, answer["things"]), answer.get("nextToken") or ""

        self._source(f"members/{group}", page)

    def _source(self, name: str, page: Page) -> None:
        """Read a source to its end, from where the store knows it was read."""
        token, done = self.store.token(name)
        while not done:
            try:
                tables, following = page(token)
            except AnsibleAWSError as error:
                if not token or error_code(error) not in ("InvalidRequestException", "ValidationException"):
                    raise
                token = ""  # has had its time
                continue
            self.store.page(name, following, tables)
            self._count(name.partition("/")[0], len(next(iter(tables.values()))))
            token, done = following, not following

    def _count(self, kind: str, number: int) -> None:
        with self._lock:
            self._read[kind] += number
            now = time.monotonic()
            if now - self._reported < REPORT_EVERY:
                return
            self._reported = now
            read = ", ".join(f"{kind} {count}" for kind, count in sorted(self._read.items()))
            rate = max(1, sum(self._read.values())) / (now - self._began)  # the first pages may be empty
            left = self.expected * len(self._read) - sum(self._read.values())
            self.report(f"{read}; {rate:.0f} a second, about {max(left, 0) / rate:.0f} s left")

    def _names(self, query: str, *arguments: str) -> list[str]:
        return sorted(name for (name,) in self.store.select(query, arguments))

    @staticmethod
    def _each(read: Callable[[str], None], names: Iterable[str]) -> None:
        for name in names:
            read(name)

    @staticmethod
    def _at_once(jobs: list[Callable[[], None]]) -> None:
        with ThreadPoolExecutor(len(jobs)) as pool:
            for job in [pool.submit(each) for each in jobs]:
                job.result()


@api_call("read a page of a table")
def _scan(client: Any, **request: Any) -> dict[str, Any]:
    return dict(client.scan(**request))


@api_call("list things")
def _list_things(client: Any, **request: Any) -> dict[str, Any]:
    return dict(client.list_things(**request))


@api_call("list certificates")
def _list_certificates(client: Any, **request: Any) -> dict[str, Any]:
    return dict(client.list_certificates(**request))


@none_if_missing
@api_call("list the targets of a policy")
def _list_targets(client: Any, **request: Any) -> dict[str, Any]:
    return dict(client.list_targets_for_policy(**request))


@none_if_missing
@api_call("list the things of a group")
def _list_members(client: Any, **request: Any) -> dict[str, Any]:
    return dict(client.list_things_in_thing_group(**request))


@none_if_missing
@api_call("list the principals of a thing")
def _list_thing_principals(client: Any, thing: str) -> list[str]:
    pages = client.get_paginator("list_thing_principals").paginate(thingName=thing)
    return [arn for page in pages for arn in page["principals"]]


@none_if_missing
@api_call("describe a thing")
def _describe_thing(client: Any, thing: str) -> dict[str, Any]:
    return dict(client.describe_thing(thingName=thing))


@api_call("find a certificate's device")
def _owners(client: Any, application: str, certificate_id: str) -> list[str]:
    found = client.query(
        TableName=f"{application}-device-inventory",
        IndexName="CertificateId",
        KeyConditionExpression="CertificateId = :id",
        ExpressionAttributeValues={":id": {"S": certificate_id}},
    )["Items"]
    return [item["ThingName"]["S"] for item in found]


def _take_as_it_came(client: Any, operation: str) -> None:
    """Have the operation's answers without a walk of botocore's parser through each value, half of a check's work.

    They are JSON with the names of the API; times stay numbers.
    """

    def parse(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_other: Any) -> None:
        if response_dict["status_code"] == 200:
            customized_response_dict.update(json.loads(response_dict["body"]))
            response_dict["body"] = b"{}"

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f"before-parse.{service}.{operation}", parse)


def _from(name: str, token: str) -> dict[str, str]:
    return {name: token} if token else {}
