"""What IoT lists, compared with what was applied here: statuses, policies and attributes that no event tells of."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import decisions
from aws import aws, code, pages
from botocore.exceptions import ClientError
from pace import Pace
from scans import Devices

APPLICATION = os.environ["APPLICATION"]
PAGE = 250  # the largest that IoT gives
CALLS_PER_SECOND = 8.0  # of each listing; AWS allows 10
STRANGERS = 100  # unknown certificates that are asked for their things in one sweep

Page = tuple[list[Any], str]  # what it lists, token of the next page ("" after the last)


@dataclass
class Listing:
    """One listing: how it is read, and what of it is not as it was applied."""

    read: Callable[[str], Iterator[Page]]  # from a token on
    key: Callable[[Any], Any]
    differing: Callable[[Any], str]  # the thing to look at; "" for none
    owner: Callable[[Any], str]  # whose thing a key is
    unseen: set[Any] = field(default_factory=set)  # keys that have to be in it


@dataclass
class Comparison:
    """All listings by name, such as ``policy/<name>``; those that were interrupted have a token to go on from."""

    devices: Devices
    seconds_left: Callable[[], float]
    with_things: bool = True
    strangers: list[str] = field(default_factory=list)  # ARNs of active certificates that no device here has

    def run(self, tokens: dict[str, str]) -> tuple[set[str], dict[str, str]]:
        """The things to look at, and the tokens of what the time did not suffice for.

        ``tokens`` are those of the last sweep; without any all listings are read (that of things: ``with_things``).
        What a listing lacks is known only when it was read at one go: some two million devices in a sweep.
        """
        aws("iot")  # before the threads: boto3 makes clients in one thread only
        names = list(tokens) or self._names()
        kinds = [[name for name in names if name.startswith(kind)] for kind in ("things/", "certificates/", "policy/")]
        things: set[str] = set()
        left: dict[str, str] = {}

        def run_kind(kind: list[str]) -> None:
            pace = Pace(CALLS_PER_SECOND)
            for name in kind:
                found, token = self._compare(name, tokens.get(name, ""), pace)
                things.update(found)
                if token is not None:
                    left[name] = token

        with ThreadPoolExecutor(len(kinds)) as pool:
            list(pool.map(run_kind, kinds))
        return things | self._things_of_strangers(), left

    def _names(self) -> list[str]:
        listed = {policy["policyName"] for page in pages("iot", "list_policies") for policy in page["policies"]}
        applied = {name for each in self.devices.certificates.values() for name in each.policies}
        things = ["things/"] if self.with_things else []
        return [*things, "certificates/", *(f"policy/{name}" for name in sorted(listed | applied))]

    def _compare(self, name: str, token: str, pace: Pace) -> tuple[set[str], str | None]:
        if self.seconds_left() <= 0:
            return set(), token
        listing = self._listing(name)
        found: set[str] = set()
        try:
            for items, following in listing.read(token):
                for item in items:
                    listing.unseen.discard(listing.key(item))
                    found.add(listing.differing(item))
                if following and self.seconds_left() <= 0:
                    return found - {""}, following
                pace.wait()
        except ClientError as error:
            if not token or code(error) != "InvalidRequestException":
                raise
            return self._compare(name, "", pace)  # the token has had its time
        if not token:
            found.update(map(listing.owner, listing.unseen))
        return found - {""}, None

    def _listing(self, name: str) -> Listing:
        kind, argument = name.split("/", 1)
        if kind == "policy":
            return self._targets(argument)
        return self._things() if kind == "things" else self._certificates()

    def _certificates(self) -> Listing:
        known = self.devices.certificates

        def read(token: str) -> Iterator[Page]:
            for page in pages("iot", "list_certificates", pageSize=PAGE, **_from("marker", token)):
                yield page["certificates"], page.get("nextMarker", "")

        def differing(listed: dict[str, Any]) -> str:
            certificate = known.get(bytes.fromhex(listed["certificateId"]))
            if certificate is None:
                if listed["status"] == "ACTIVE":
                    self.strangers.append(listed["certificateArn"])
                return ""
            settled = self.devices.settled(certificate.thing)
            return certificate.thing if decisions.certificate_differs(listed["status"], certificate, settled) else ""

        unseen = {key for key, each in known.items() if each.status == "ACTIVE" and self.devices.settled(each.thing)}
        return Listing(
            read, lambda each: bytes.fromhex(each["certificateId"]), differing, lambda key: known[key].thing, unseen
        )

    def _targets(self, policy: str) -> Listing:
        known = self.devices.certificates

        def read(token: str) -> Iterator[Page]:
            try:
                for page in pages(
                    "iot", "list_targets_for_policy", policyName=policy, pageSize=PAGE, **_from("marker", token)
                ):
                    yield page["targets"], page.get("nextMarker", "")
            except ClientError as error:
                if code(error) != "ResourceNotFoundException":  # of a policy that is gone nobody is a target
                    raise

        def differing(target: str) -> str:
            certificate = known.get(_certificate_id(target))
            if certificate is None:
                return ""
            settled = self.devices.settled(certificate.thing)
            return certificate.thing if decisions.policy_differs(certificate, policy, settled) else ""

        unseen = {
            key
            for key, each in known.items()
            if decisions.has_policy(each, policy) and self.devices.settled(each.thing)
        }
        return Listing(read, _certificate_id, differing, lambda key: known[key].thing, unseen)

    def _things(self) -> Listing:
        """Of the types that the fleet's devices have, one after the other: the account may have other things too."""
        wanted = self.devices.things
        types = sorted({f"{APPLICATION}-device", *self.devices.types})

        def read(token: str) -> Iterator[Page]:
            first, _, token = token.partition("/")
            for thing_type, after in zip(types, [*types[1:], ""], strict=True):
                if thing_type < first:
                    continue
                start = _from("nextToken", token) if thing_type == first else {}
                for page in pages("iot", "list_things", thingTypeName=thing_type, maxResults=PAGE, **start):
                    following = f"{thing_type}/{page['nextToken']}" if "nextToken" in page else after and f"{after}/"
                    yield page["things"], following

        def differing(thing: dict[str, Any]) -> str:
            name = str(thing["thingName"])
            return name if decisions.thing_differs(thing, wanted.get(name)) else ""

        unseen = {name for name, each in wanted.items() if each >= 0}
        return Listing(read, lambda thing: thing["thingName"], differing, str, unseen)

    def _things_of_strangers(self) -> set[str]:
        """Nobody tells of a certificate that is attached to a thing; those that no device here has are asked."""
        pace, things = Pace(CALLS_PER_SECOND), set()
        for arn in random.sample(self.strangers, min(STRANGERS, len(self.strangers))):  # each gets its turn
            if self.seconds_left() <= 0:
                break
            try:
                for page in pages("iot", "list_principal_things", principal=arn):
                    things.update(page["things"])
            except ClientError as error:
                if code(error) != "ResourceNotFoundException":  # it was deleted meanwhile
                    raise
            pace.wait()
        return things


def _certificate_id(target: str) -> bytes:
    """Of a certificate's ARN; nothing for a thing group's."""
    return bytes.fromhex(target.rsplit("/", 1)[-1]) if ":cert/" in target else b""


def _from(name: str, token: str) -> dict[str, str]:
    return {name: token} if token else {}
