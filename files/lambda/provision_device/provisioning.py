"""One request, from its proof to the answer; each step can be done again by the next request of the device."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import choosing
import claims
import devices
import location
import offered
import signing
from answers import Granted, RefusedError, unavailable
from asked import Asked, Item
from botocore.exceptions import BotoCoreError, ClientError
from choosing import Choice
from claims import Claim
from cloud_keys import CloudKey
from devices import Place

RULES = choosing.Rules.from_json(Path(__file__).with_name("choice.json").read_text())
LAST_BEGIN = 12.0  # seconds after which no other region is asked: the API waits for 29
SOURCES = tuple(filter(None, os.environ["LOCATION_SOURCES"].split(",")))

_log = logging.getLogger()


def provision(asked: Asked, event: dict[str, Any], function_arn: str) -> Granted:
    """Give the device its certificate and its region.

    Raises:
        RefusedError: it gets none, now or never.

    """
    making = _Making(asked, event)
    claim = claims.take(asked, making)
    choice, endpoint = _settled(claim, making.choices or _choices(event), function_arn)
    return Granted(
        thing=claim.thing,
        certificate_pem=claim.certificate_pem,
        certificate_id=claim.certificate_id,
        region=choice.region,
        endpoint=endpoint,
        distance_km=choice.distance_km,
        reason=choice.reason,
        private_key=making.key.pem if making.key else "",
    )


@dataclass
class _Making:
    """Makes what a new claim holds, once it is known that there is to be one."""

    asked: Asked
    event: dict[str, Any]
    choices: list[Choice] = field(default_factory=list)
    key: CloudKey | None = None

    def __call__(self) -> Item:
        if self.asked.wanted is None:
            self.key = CloudKey.make(self.asked.cloud_key)
        public_key = self.key.public_key if self.key else self.asked.wanted.public_key  # type: ignore[union-attr]
        self.choices = _choices(self.event)
        signed = signing.sign(self.asked.thing, public_key, datetime.now(UTC))
        facts = signed.facts
        return {
            "region": self.choices[0].region,
            "certificate_pem": facts["pem"],
            "certificate_id": signed.certificate_id,
            "issuer": facts["issuer"],
            "not_after": int(facts["not_after"].timestamp()),
        }


def _choices(event: dict[str, Any]) -> list[Choice]:
    """The regions that the device may be sent to, best first."""
    try:
        return choosing.choose(location.locate(event, SOURCES), RULES, offered.regions(RULES.regions))
    except choosing.NoRegionAllowedError as error:
        raise RefusedError(451, "NoRegionAllowed", "no region may serve a device in this country") from error
    except choosing.NoHealthyRegionError as error:
        raise unavailable("no region that may serve the device is well", retry_after=60) from error


def _settled(claim: Claim, choices: list[Choice], function_arn: str) -> tuple[Choice, str]:
    """The region that took the device in, and its endpoint: the claim's while it is offered, else the next best."""
    end = time.monotonic() + LAST_BEGIN
    for choice in sorted(choices, key=lambda choice: choice.region != claim.region):
        if time.monotonic() > end:
            break
        try:
            place = Place.of(function_arn, choice.region)
            endpoint = devices.endpoint(choice.region)  # first: a key of the cloud is lost with an answer
            _take_in(claim._replace(region=choice.region), place)
            return choice, endpoint
        except (BotoCoreError, ClientError) as error:
            if not _is_away(error):
                raise
            _log.warning("%s did not take %s in: %s", choice.region, claim.thing, type(error).__name__)
    raise unavailable("no region answers", retry_after=30)


def _take_in(claim: Claim, place: Place) -> None:
    if claim.is_done:
        devices.require_in(claim, place)
        return
    try:
        devices.bring_in(claim, place)
    except RefusedError:
        if not devices.is_in(claim, place):
            claims.given_back(claim)
        raise
    if not claims.done(claim):
        devices.withdraw(claim, place)
        raise RefusedError(409, "InProgress", "another request took the name over", retry_after=60)


def _is_away(error: BotoCoreError | ClientError) -> bool:
    """Whether the region does not answer, rather than refuse."""
    status = error.response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(error, ClientError) else 503
    return status >= 500
