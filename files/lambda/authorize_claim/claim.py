"""A device's claim to a name, and who decides about it.

The allow-list of the home region decides alone, since its replicas would each give a name away: one conditional write
gives it to one certificate. A device that asks again with that certificate is let through again. Another certificate
follows where that one was never registered, and cannot be any more because its token has ended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import rows
from aws import aws, code
from botocore.exceptions import ClientError
from known import HOME, REGION, TABLES, Known, everywhere

THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
CERTIFICATE_ID = re.compile(r"[0-9a-f]{64}")
# A token lasts an hour from before the name was asked for; the rest is for clocks.
# https://docs.aws.amazon.com/iot/latest/developerguide/fleet-provision-api.html
TOKEN_LASTS = timedelta(minutes=65)


class DeniedError(Exception):
    """The device is not to have the name, in words for the log."""


@dataclass(frozen=True)
class Claim:
    """``certificate_id``: of the device's new certificate, which is to stand for the name."""

    thing: str
    certificate_id: str

    @classmethod
    def read(cls, event: dict[str, Any]) -> Claim:
        """The claim of a request.

        Raises:
            DeniedError: it names no thing, or more than that.

        """
        parameters, certificate_id = event.get("parameters"), event.get("certificateId")
        if not isinstance(parameters, dict) or set(parameters) != {"SerialNumber"}:
            raise DeniedError("SerialNumber is the one parameter")
        thing = parameters["SerialNumber"]
        if not isinstance(thing, str) or not THING_NAME.fullmatch(thing):
            raise DeniedError("SerialNumber is not the name of a thing")
        if not isinstance(certificate_id, str) or not CERTIFICATE_ID.fullmatch(certificate_id):
            raise DeniedError("there is no certificate")
        return cls(thing, certificate_id)

    def make(self) -> None:
        """Give the name to the certificate.

        Raises:
            DeniedError: it is not to have it, or it is another one's by now.

        """
        looks = everywhere(self.thing, self.certificate_id)
        here, allowed = looks[0], looks[-1].allowed
        # The home region may not have heard yet of a row that is here.
        for known in looks:
            if why := why_not(known, allowed, self.certificate_id):
                raise DeniedError(why)
        holder = allowed.get("ClaimedBy", self.certificate_id)
        if holder != self.certificate_id and not _came_to_nothing(allowed, looks):
            raise DeniedError(f"the name was given to {holder}")
        if not all(_is_gone(known.row, here.status) for known in looks if known.row.get("State") == "DELETED"):
            raise DeniedError("the deleted device of that name is not gone from here yet")
        self._take(holder)

    def _take(self, holder: str) -> None:
        """Write the claim in the place of none, or of the holder's."""
        try:
            aws("dynamodb", HOME).update_item(
                TableName=TABLES["allow-list"],
                Key={"ThingName": {"S": self.thing}},
                UpdateExpression="SET ClaimedBy = :id, ClaimedAt = :now, ClaimedIn = :region",
                ConditionExpression="attribute_exists(ThingName) AND attribute_not_exists(CertificateId) "
                "AND (attribute_not_exists(ClaimedBy) OR ClaimedBy = :holder)",
                ExpressionAttributeValues={
                    ":id": {"S": self.certificate_id},
                    ":holder": {"S": holder},
                    ":now": {"S": rows.timestamp(datetime.now(UTC))},
                    ":region": {"S": REGION},
                },
            )
        except ClientError as error:
            if code(error) == "ConditionalCheckFailedException":
                raise DeniedError("another certificate was faster") from error
            raise


def why_not(known: Known, allowed: dict[str, Any], certificate_id: str) -> str:
    """Why the name is not for the certificate, "" when it is; ``allowed`` is its item of the allow-list."""
    row = known.row
    if not allowed:
        return "the name is not on the allow-list"
    if "CertificateId" in allowed:
        return "the allow-list names a certificate, which is not one of a claim"
    if known.revoked:
        return f"revoked: {known.revoked}"
    if row and not _may_follow(row, allowed, certificate_id):
        return f"there is a device of that name: {row['State']}"
    return ""


def _may_follow(row: dict[str, Any], allowed: dict[str, Any], certificate_id: str) -> bool:
    """Whether the row is what this very claim made, or of a deleted device whose name was given again."""
    own = row["Certificates"].get(certificate_id)
    if row["State"] == "DELETED":
        given = allowed.get("GivenAgainAt")
        return own is None and bool(given) and rows.moment(given) > rows.moment(row["UpdatedAt"])
    is_ours = own["Status"] == "ACTIVE" if own else not row["Certificates"]
    return row["State"] == "ACTIVE" and "ClaimedBy" in allowed and is_ours


def _is_gone(row: dict[str, Any], status: dict[str, Any]) -> bool:
    """Whether this region has taken the deleted device's thing away, which AWS IoT would give to the next one."""
    return status.get("AppliedWriteId") == row["WriteId"] and not status.get("ThingId")


def _came_to_nothing(allowed: dict[str, Any], looks: list[Known]) -> bool:
    """Whether the certificate that has the name was never registered, and never will be."""
    has_device = any(known.row and known.row["State"] != "DELETED" for known in looks)
    if has_device or datetime.now(UTC) - rows.moment(allowed["ClaimedAt"]) < TOKEN_LASTS:
        return False
    try:
        found = aws("iot", allowed["ClaimedIn"]).describe_certificate(certificateId=allowed["ClaimedBy"])
    except ClientError as error:
        if code(error) == "ResourceNotFoundException":
            return True
        raise
    return bool(found["certificateDescription"]["status"] == "PENDING_ACTIVATION")
