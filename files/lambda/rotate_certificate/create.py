"""A device made a key and asks for a certificate of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import rotation
import rows
import signing
from answers import Answer, RejectedError
from aws import aws, code
from botocore.exceptions import ClientError
from csr import Wanted, key_of
from devices import converge, job_of, require_active, status
from rows_table import APPLICATION, REGION, change, put

Row = dict[str, Any]
# A device that still wants its certificate asks again long before.
REQUESTS_ARE_KEPT = timedelta(days=14)


class Create:
    """The request ``message`` (see ``handler``)."""

    def __init__(self, message: dict[str, Any]) -> None:
        self._thing: str = message["thingName"]
        self._principal: str = message["principal"]
        self._job, self._csr = job_of(message), message.get("csr")
        self._signed: signing.Signed | None = None
        self._answer = Answer("pending", {})

    def take(self) -> Answer:
        """Write the certificate into the row, or the request into its table; what the device is told.

        Raises:
            RejectedError, UnfitError: the device does not get one.

        """
        if not isinstance(self._csr, str) or not self._job:
            raise RejectedError("InvalidRequest", "send JSON with the texts csr and jobId")
        change("device-inventory", self._decide, ThingName=self._thing)
        if self._answer.kind == "accepted":
            converge(self._thing)
        return self._answer

    def _decide(self, row: Row) -> Row | None:
        now = datetime.now(UTC)
        require_active(row, self._principal, now)
        self._require_job(row)
        wanted = Wanted.read(self._csr, self._thing)
        known = next((key for key, each in row["Certificates"].items() if key_of(each["Pem"]) == wanted.key), None)
        if known:
            self._accept_again(row, known, now)
            return None
        if rotation.is_full(row, now, most=rows.MAX_CERTIFICATES):
            raise RejectedError("TooManyCertificates", f"the device has {rows.MAX_CERTIFICATES} that are valid")
        if os.environ["SIGNER"] == "offline":
            self._keep(now)
            return None
        return self._sign(row, wanted, now)

    def _require_job(self, row: Row) -> None:
        current = row["Certificates"].get(row.get("CertificateId"), {})
        is_presented = current.get("JobId") == self._job and not rotation.is_awaited(current)
        if is_presented and row["CertificateId"] == self._principal:
            raise RejectedError("AlreadyRotated", "the current certificate is of this job: report that it succeeded")
        if not self._job.startswith(f"{APPLICATION}-rotate-") or not self._is_in_progress():
            raise RejectedError("UnknownJob", "no rotation job of that name is IN_PROGRESS for the device here")

    def _is_in_progress(self) -> bool:
        try:
            found = aws("iot").describe_job_execution(jobId=self._job, thingName=self._thing)
        except ClientError as error:
            if code(error) in ("ResourceNotFoundException", "InvalidRequestException"):
                return False
            raise
        return bool(found["execution"]["status"] == "IN_PROGRESS")

    def _accept_again(self, row: Row, certificate_id: str, now: datetime) -> None:
        known = row["Certificates"][certificate_id]
        if known.get("JobId") != self._job or status(row, certificate_id, now) != "ACTIVE":
            raise RejectedError("KeyUnsuitable", "the device has or had a certificate of this key: make a new key")
        self._answer = accepted(certificate_id, known)

    def _keep(self, now: datetime) -> None:
        request = {
            "ThingName": self._thing,
            "Csr": self._csr,
            "JobId": self._job,
            "Principal": self._principal,
            "RequestedAt": rows.timestamp(now),
            "ExpiresAt": int((now + REQUESTS_ARE_KEPT).timestamp()),
        }
        put("certificate-requests", request)

    def _sign(self, row: Row, wanted: Wanted, now: datetime) -> Row:
        if self._signed is None:  # the row may have changed meanwhile
            self._signed = signing.sign(self._thing, wanted.public_key, now)
        entry = rotation.entry(
            **self._signed.facts,
            region=REGION,
            job=self._job,
            now=now,
            within=timedelta(seconds=int(os.environ["PRESENT_WITHIN_SECONDS"])),
        )
        self._answer = accepted(self._signed.certificate_id, entry)
        return rotation.given(row, self._signed.certificate_id, entry, principal=self._principal, now=now)


def accepted(certificate_id: str, entry: Row) -> Answer:
    """What a device is told of its new certificate."""
    members = {"certificateId": certificate_id, "certificatePem": entry["Pem"], "presentBy": entry["PresentBy"]}
    return Answer("accepted", members)
