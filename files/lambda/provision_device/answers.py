"""What is said to a device, before a protocol puts it into its own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Granted:
    """A device has its certificate; ``private_key`` (PEM) only where the cloud made it."""

    thing: str
    certificate_pem: str
    certificate_id: str
    region: str
    endpoint: str
    distance_km: int | None
    reason: str
    private_key: str = ""


class RefusedError(Exception):
    """A device gets nothing: HTTP status, a code (docs/architecture.md) and words for a person.

    ``retry_after``: seconds after which the same may be granted; 0: never. ``members``: what the answer says besides.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after: int = 0, **members: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after, self.members = status, code, retry_after, members


def invalid(message: str) -> RefusedError:
    """The request is not what the protocol wants."""
    return RefusedError(400, "InvalidRequest", message)


def not_authorized() -> RefusedError:
    """One answer for an unknown name, one without a key and a wrong signature: strangers learn nothing from it."""
    return RefusedError(401, "NotAuthorized", "the name is not on the list, or the signature is not of its key")


def unavailable(message: str, retry_after: int = 5) -> RefusedError:
    """It may be granted later."""
    return RefusedError(503, "Unavailable", message, retry_after=retry_after)
