# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Things of AWS IoT and all certificates that they have, listed by pages and read within the quotas.

No API lists in bulk which certificate is attached to which thing: that is one call for each thing.
https://docs.aws.amazon.com/iot/latest/apireference/API_ListThingPrincipalsV2.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from ansible_collections.iotops.fleet.plugins.module_utils._aws.pace import Pace
from ansible_collections.iotops.fleet.plugins.module_utils._devices import calls
from ansible_collections.iotops.fleet.plugins.module_utils._devices.seen import describe_certificate
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing, snake

T = TypeVar("T")
R = TypeVar("R")

PAGE_SIZE = 250
REPORT_SECONDS = 10.0
# Up to so many certificates are asked for one by one; of more, all of the region are listed.
DESCRIBED_AT_MOST = 20
# ListThingPrincipalsV2 has no quota of its own in AWS's lists.
QUOTA_OF = {"ListThingPrincipalsV2": "ListThingPrincipals"}
OPERATIONS = (
    "DescribeThing",
    "ListThings",
    "ListThingPrincipalsV2",
    "ListPrincipalThings",
    "ListCertificates",
    "DescribeCertificate",
)
Thing = dict[str, Any]


@none_if_missing
@api_call("describe a thing")
def describe_thing(iot: Any, thing_name: str) -> Thing:
    """``thing_name``, ``thing_arn``, ``thing_id``, ``thing_type_name``, ``attributes``, ``version``; None: no thing."""
    return shown(iot.describe_thing(thingName=thing_name))


@api_call("list things")
def list_things(iot: Any, **filters: str) -> list[Thing]:
    """Every thing that fits: all of ``thingTypeName``, ``attributeName``, ``attributeValue`` that are given."""
    pages = iot.get_paginator("list_things").paginate(**filters, PaginationConfig={"PageSize": PAGE_SIZE})
    return [shown(thing) for page in pages for thing in page["things"]]


@none_if_missing
@api_call("list a thing's principals")
def principals_of(iot: Any, thing_name: str) -> dict[str, str]:
    """EXCLUSIVE_THING or NON_EXCLUSIVE_THING by the ARN of what is attached; None: there is no such thing."""
    pages = iot.get_paginator("list_thing_principals_v2").paginate(
        thingName=thing_name, PaginationConfig={"PageSize": PAGE_SIZE}
    )
    found = [each for page in pages for each in page["thingPrincipalObjects"]]
    return {each["principal"]: each.get("thingPrincipalType", "NON_EXCLUSIVE_THING") for each in found}


def shown(thing: Mapping[str, Any]) -> Thing:
    """A thing of ListThings or DescribeThing as modules return it."""
    names = ("thingName", "thingArn", "thingId", "thingTypeName", "version")
    return {
        **snake({name: thing[name] for name in names if name in thing}),
        "thing_type_name": thing.get("thingTypeName", ""),
        "attributes": dict(thing.get("attributes") or {}),
    }


def certificate_id_of(principal: str) -> str:
    """The id of a certificate's ARN; "" when the principal is no certificate."""
    return principal.rpartition(":cert/")[2] if ":cert/" in principal else ""


@dataclass
class Reader:
    """Reads one region: ``threads`` calls at a time, each operation at its pace; ``report`` is told how far it is."""

    iot: Any
    paces: Mapping[str, Pace]
    threads: int
    report: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def within(cls, iot: Any, quotas: Quotas, share: float, threads: int, report: Callable[[str], None]) -> Reader:
        """A reader that uses a ``share`` of the quotas."""
        rates = {each: quotas.per_second[QUOTA_OF.get(each, each)] * share for each in OPERATIONS}
        paces = {operation: Pace(rate) for operation, rate in rates.items()}
        for operation, pace in paces.items():
            pace.watch(iot, operation)
        return cls(iot, paces, threads, report)

    def all_things(self, **filters: str) -> list[Thing]:
        """The things that fit, in the order of their names."""
        found = sorted(list_things(self.iot, **filters), key=lambda thing: str(thing["thing_name"]))
        self.report(f"{len(found)} things")
        return found

    def things(self, names: Iterable[str]) -> list[Thing]:
        """Those of these things that there are, in this order."""
        found = self._each("DescribeThing", lambda name: describe_thing(self.iot, name), list(names), "things")
        return [thing for thing in found if thing is not None]

    def principals(self, things: Iterable[Thing]) -> dict[str, dict[str, str]]:
        """All principals of each thing by its name, as :func:`principals_of` has them."""
        names = [str(thing["thing_name"]) for thing in things]
        found = self._each(
            "ListThingPrincipalsV2", lambda name: principals_of(self.iot, name) or {}, names, "things' certificates"
        )
        return dict(zip(names, found, strict=True))

    def things_of(self, arns: Iterable[str]) -> dict[str, list[str]]:
        """All things of each certificate by its ARN."""
        wanted = list(arns)
        found = self._each(
            "ListPrincipalThings",
            lambda arn: sorted(calls.things_of_certificate(self.iot, arn) or []),
            wanted,
            "certificates' things",
        )
        return dict(zip(wanted, found, strict=True))

    def all_statuses(self) -> dict[str, str]:
        """The status of every certificate of the region by its id."""
        found = {each.certificate_id: each.status for each in calls.all_certificates(self.iot)}
        self.report(f"{len(found)} certificates")
        return found

    def statuses(self, certificate_ids: Iterable[str]) -> dict[str, str]:
        """The status of each of these that the region has."""
        wanted = sorted(set(certificate_ids))
        if len(wanted) > DESCRIBED_AT_MOST:
            every = self.all_statuses()
            return {each: every[each] for each in wanted if each in every}
        found = self._each(
            "DescribeCertificate", lambda each: describe_certificate(self.iot, each), wanted, "certificates"
        )
        return {each: str(seen["status"]) for each, seen in zip(wanted, found, strict=True) if seen}

    def _each(self, operation: str, read: Callable[[T], R], items: list[T], what: str) -> list[R]:
        lock, done, reported_at = Lock(), 0, self.clock()

        def one(item: T) -> R:
            nonlocal done, reported_at
            self.paces[operation].wait()
            answer = read(item)
            with lock:
                done += 1
                if done == len(items) or self.clock() - reported_at >= REPORT_SECONDS:
                    reported_at = self.clock()
                    self.report(f"{what} {done}/{len(items)}")
            return answer

        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(one, items))


__all__ = [
    "OPERATIONS",
    "QUOTA_OF",
    "Reader",
    "Thing",
    "certificate_id_of",
    "describe_thing",
    "list_things",
    "principals_of",
    "shown",
]
