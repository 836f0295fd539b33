"""Who needs looking after: plain values in, plain values out.

A sweep of a million devices holds all of them at once. So texts that are only compared are held as numbers, and what is
held of a device are tuples; together less than 800 bytes for each, which the unit test measures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rows import is_as_written

GRACE = 120  # seconds after a write in which it is being applied
# What a listing has to say of a thing, beside the mark of its current certificate.
ABSENT, ANYTHING = -1, -2


class Status(NamedTuple):
    """What this region made of a device; times are epoch seconds, 0 when there is none."""

    write: int  # mark of AppliedWriteId
    error_at: int
    due_at: int
    lease_until: int
    state: str  # Applied.State, "" when nothing was applied


class Wake(NamedTuple):
    """A device to converge; of two the older one is first."""

    since: int  # epoch seconds
    thing: str
    reason: str  # late, failed, due, forgotten or drifted


class Certificate(NamedTuple):
    """What this region made of a certificate."""

    thing: str
    status: str
    policies: tuple[str, ...]


def mark(text: str) -> int:
    """A number that stands for a text while the process lives: a third of its size, 0 only for ""."""
    return abs(hash(text))


def judge(thing: str, write: int, updated: int, status: Status | None, now: int) -> Wake | None:
    """Whether a row needs waking. ``write`` is the mark of its WriteId, ``updated`` the time of UpdatedAt.

    A device whose lease is held is being converged, by somebody who reads the row again after it.
    """
    if status and status.lease_until > now:
        return None
    if status and status.error_at:
        return Wake(status.error_at, thing, "failed")
    if not status or status.write != write:
        return Wake(updated, thing, "late") if now - updated > GRACE else None
    return Wake(status.due_at, thing, "due") if 0 < status.due_at <= now else None


def is_a_thing(key: str) -> bool:
    """Whether an item of ``device-status`` is a device's; leases of others have a slash in their keys."""
    return "/" not in key


def wanted_thing(write: int, status: Status | None, certificate_id: str, now: int) -> int:
    """What a listing of things has to say of a row's device: a mark, ABSENT or ANYTHING.

    Only where the row was applied and nobody is at work on it can the registry be compared with it. A device that was
    revoked may have a thing or none.
    """
    if not status or status.write != write or status.error_at or status.lease_until > now or 0 < status.due_at <= now:
        return ANYTHING
    if status.state == "DELETED":
        return ABSENT
    return mark(certificate_id) if status.state in ("ACTIVE", "SUSPENDED") else ANYTHING


def thing_differs(thing: dict[str, Any], wanted: int | None) -> bool:
    """Whether a listed thing (ListThings) is not what convergence wrote; None: nobody knows it.

    The digest that convergence wrote is over the thing's own attributes and type, so that the thing tells by itself
    whether somebody changed it since.
    """
    if wanted == ANYTHING:
        return False
    if wanted is None or wanted == ABSENT:
        return True
    attributes = thing.get("attributes") or {}
    return mark(attributes.get("certificateId", "")) != wanted or not is_as_written(
        attributes, thing.get("thingTypeName") or ""
    )


def certificate_differs(status: str, wanted: Certificate, settled: bool) -> bool:
    """Whether a listed certificate has another status than was applied."""
    return settled and status != wanted.status


def has_policy(certificate: Certificate, policy: str) -> bool:
    """Whether the certificate has to be among the policy's targets.

    One that is not ACTIVE may not even be registered, and gets its policies again before it is ACTIVE.
    """
    return policy in certificate.policies and certificate.status == "ACTIVE"


def policy_differs(certificate: Certificate, policy: str, settled: bool) -> bool:
    """Whether a certificate among the policy's targets is not to be there."""
    return settled and policy not in certificate.policies and certificate.status != "REVOKED"


def stopped(pipes: Iterable[dict[str, Any]]) -> list[str]:
    """Names of the pipes (ListPipes) that deliver nothing and will not begin to by themselves."""
    return [
        pipe["Name"] for pipe in pipes if pipe["CurrentState"] == "STOPPED" or pipe["CurrentState"].endswith("_FAILED")
    ]
