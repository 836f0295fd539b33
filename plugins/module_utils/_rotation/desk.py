# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The desk of one region where certificate requests are answered, while the CA's key is on the controller alone.

May be stopped at any moment: what the ledger or the row has of a request is given again. Private to the collection.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica, decided
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row, revocation_keys
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import LOST, existing
from ansible_collections.iotops.fleet.plugins.module_utils._rotation import jobs
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.issuing import Issuing
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.requests import (
    Given,
    Refusal,
    Request,
    certificate_id_of,
    decide,
    given_before,
    with_certificate,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import (
    api_call,
    error_code,
    none_if_missing,
    poll,
)

T = TypeVar("T")
R = TypeVar("R")

# Seconds in which the device's region has to register a certificate; who is later is told in the next run.
ARRIVAL = 10
ACCEPTED, LATER = "accepted", "later"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a request: ``answer`` is ``accepted``, or ``later``, or the code of a refusal."""

    request: Request
    answer: str
    message: str = ""
    given: Given | None = None

    @property
    def certificate_id(self) -> str:
        """The certificate; empty when there is none."""
        return self.given.certificate_id if self.given else ""


@dataclass
class Desk:
    """The requests of one region: the boto3 clients of its DynamoDB, IoT and IoT data plane.

    ``replica`` is where rows are written, in this region or another one.
    """

    region: str
    application: str
    tables: Any
    iot: Any
    data: Any
    replica: Replica
    threads: int = 8

    def requests(self) -> list[Request]:
        """Those that wait, the oldest first."""
        return waiting_requests(self.tables, self.application)

    def answer(self, requests: list[Request], issuing: Issuing, *, check_mode: bool) -> list[Answer]:
        """Sign what may be signed, and tell the devices.

        Raises:
            FleetError: the CA cannot sign, or other writers of a row were faster five times.

        """
        if not requests:
            return []
        keys, answers = self._decide(requests, datetime.now(UTC))
        if check_mode:
            return [*answers, *(Answer(request=each, answer=ACCEPTED) for each in keys)]
        if keys:
            with issuing.opened() as authority:
                issuer = certificate_id_of(authority.certificate)
                signed = [(each, issuing.issue(authority, each.thing_name, key)) for each, key in keys.items()]
            answers += self._each(lambda item: self._give(*item, issuer, keys[item[0]], issuing), signed)
        known = self._known_here([each for each in answers if each.answer == ACCEPTED])
        return self._each(lambda each: self._tell(each, known), answers)

    def _decide(self, requests: list[Request], now: datetime) -> tuple[dict[Request, bytes], list[Answer]]:
        """The keys that are to be signed, and the answers that need no signature."""
        names = list(dict.fromkeys(each.thing_name for each in requests))
        found = existing(self.replica.client, self.replica.inventory, "ThingName", names)
        rows = {row["ThingName"]: row for row in found}
        revoked = self.replica.revoked(list({key for row in found for key in revocation_keys(row)}))
        under_way = self._under_way({each.job_id for each in requests})
        keys: dict[Request, bytes] = {}
        answers = []
        for each in requests:
            try:
                key, given = decide(
                    each,
                    rows.get(each.thing_name, {}),
                    revoked=revoked,
                    under_way=each.thing_name in under_way.get(each.job_id, ()) or self._is_under_way(each),
                    now=now,
                )
            except Refusal as refusal:
                answers.append(Answer(request=each, answer=refusal.code, message=str(refusal)))
            else:
                if given is None:
                    keys[each] = key
                else:
                    answers.append(_accepted(each, given))
        return keys, answers

    def _under_way(self, job_ids: Iterable[str]) -> dict[str, set[str]]:
        """The things that work on a rotation job at this moment."""
        return {
            job_id: {name for name, status in found.items() if status == "IN_PROGRESS"}
            for job_id in job_ids
            if jobs.number(self.application, job_id) and (found := jobs.executions(self.iot, job_id))
        }

    def _is_under_way(self, request: Request) -> bool:
        job_id = request.job_id
        is_ours = bool(jobs.number(self.application, job_id))
        return is_ours and jobs.is_under_way(self.iot, job_id, request.thing_name)

    def _give(
        self, request: Request, certificate: x509.Certificate, issuer: str, key: bytes, issuing: Issuing
    ) -> Answer:
        """Write the certificate into the row, unless another writer has done so."""

        def decision(row: Row) -> Row | None:
            now = datetime.now(UTC)
            if row.get("State") != "ACTIVE":
                raise Refusal("NotActive", f"{request.thing_name} is {row.get('State', 'unknown')}")
            if given_before(request, row, key, revoked=(), now=now):
                return None
            wanted = with_certificate(
                row,
                request,
                certificate,
                issuer=issuer,
                region=self.region,
                present_within=issuing.present_within,
                now=now,
            )
            return self.replica.follow(row, wanted)

        try:
            row = decided(lambda: self.replica.row(request.thing_name), self.replica.write, decision, check_mode=False)
        except Refusal as refusal:
            return Answer(request=request, answer=refusal.code, message=str(refusal))
        given = given_before(request, row, key, revoked=(), now=datetime.now(UTC))
        assert given is not None  # noqa: S101  # just written, or found
        return _accepted(request, given)

    def _known_here(self, accepted: list[Answer]) -> set[str]:
        """Wait until this region has registered the certificates; the things of which it has.

        A device that is told before would be refused with its new certificate, and give up at last.
        """
        left = {each.request.thing_name: each.certificate_id for each in accepted}
        known: set[str] = set()
        deadline = time.monotonic() + ARRIVAL

        def look() -> bool:
            names = [name for name in left if name not in known]
            for status in existing(self.tables, f"{self.application}-device-status", "ThingName", names):
                statuses = status.get("Applied", {}).get("Statuses", {})
                if statuses.get(left[status["ThingName"]]) == "ACTIVE":
                    known.add(status["ThingName"])
            return len(known) == len(left) or time.monotonic() > deadline

        poll(look, bool, timeout=2 * ARRIVAL, describe="certificates", max_delay=1)
        return known

    def _tell(self, answer: Answer, known: set[str]) -> Answer:
        """Take the request away and tell the device; one that has asked for something else meanwhile is told then."""
        request, given = answer.request, answer.given
        message: dict[str, str] = {"jobId": request.job_id}
        if given is None:
            message |= {"code": answer.answer, "message": answer.message}
        elif request.thing_name in known:
            message |= {
                "certificateId": given.certificate_id,
                "certificatePem": given.pem,
                "presentBy": given.present_by,
            }
        else:
            return Answer(request=request, answer=LATER, message=f"{self.region} has not registered it yet")
        if not _delete(self.tables, _table(self.application), request):
            return Answer(request=request, answer=LATER, message="the device has asked again")
        kind = ACCEPTED if given else "rejected"
        _publish(self.data, f"e/{request.thing_name}/certificate/create/{kind}", message)
        return answer

    def _each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(function, items))


def waiting_requests(tables: Any, application: str) -> list[Request]:
    """The region's requests, the oldest first; none where there is no table."""
    now = time.time()
    items = [item for item in _items(tables, _table(application)) or [] if item.get("ExpiresAt", now + 1) > now]
    return sorted((Request.of(item) for item in items), key=lambda each: (each.requested_at, each.thing_name))


def _table(application: str) -> str:
    return f"{application}-certificate-requests"


def _accepted(request: Request, given: Given) -> Answer:
    return Answer(request=request, answer=ACCEPTED, given=given)


@none_if_missing
@api_call("read the certificate requests")
def _items(client: Any, table: str) -> list[Item] | None:
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [plain_item(item) for page in pages for item in page["Items"]]


@api_call("take a certificate request away")
def _delete(client: Any, table: str, request: Request) -> bool:
    """Delete the request unless the device has put another one there; whether it was there."""
    try:
        client.delete_item(
            TableName=table,
            Key={"ThingName": {"S": request.thing_name}},
            ConditionExpression="Csr = :csr AND JobId = :job",
            ExpressionAttributeValues={":csr": {"S": request.csr}, ":job": {"S": request.job_id}},
        )
    except client.exceptions.ClientError as error:
        if error_code(error) != LOST:
            raise
        return False
    return True


@api_call("tell a device")
def _publish(client: Any, topic: str, message: dict[str, str]) -> None:
    client.publish(topic=topic, qos=1, payload=json.dumps(message).encode())


__all__ = ["ACCEPTED", "LATER", "Answer", "Desk", "waiting_requests"]
