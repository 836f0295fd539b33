"""A device has connected with its new certificate, and says so over that connection."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import rotation
from answers import Answer, RejectedError
from aws import aws
from devices import converge, require_active
from rows_table import change

Row = dict[str, Any]


class Commit:
    """The request ``message`` (see ``handler``)."""

    def __init__(self, message: dict[str, Any]) -> None:
        self._thing: str = message["thingName"]
        self._principal: str = message["principal"]

    def take(self) -> Answer:
        """Make the certificate the current one; what the device is told.

        Raises:
            RejectedError: the device may not use it, or it is an old one.

        """
        change("device-inventory", self._decide, ThingName=self._thing)
        converge(self._thing)
        return Answer("accepted", {"certificateId": self._principal})

    def _decide(self, row: Row) -> Row | None:
        now = datetime.now(UTC)
        certificate = row.get("Certificates", {}).get(self._principal, {})
        if certificate and self._principal == row.get("CertificateId") and not rotation.is_awaited(certificate):
            return None  # committed before: the device must never think that it was not
        require_active(row, self._principal, now)
        if not rotation.is_awaited(certificate):
            # One that was current before stays as it is, since this message may come late.
            if "PresentBy" not in certificate:
                raise RejectedError("NotNew", "connect with the new certificate, and commit over that connection")
            return None
        here = aws("iot").describe_certificate(certificateId=self._principal)["certificateDescription"]
        grace = timedelta(seconds=int(os.environ["GRACE_SECONDS"]))
        return {
            **rotation.presented(row, self._principal, grace=grace, now=now),
            "CertificateArn": here["certificateArn"],
            "CaCertificateId": here.get("caCertificateId"),
        }
