# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One visit of one device: connect, subscribe, publish, fail to be another device. Private to the collection."""

from __future__ import annotations

import json
import random
import time
import uuid
from dataclasses import dataclass, field

from ansible_collections.iotops.fleet.plugins.module_utils._device.errors import (
    Denied,
    DeviceError,
    Dropped,
    Unanswered,
    Untrusted,
)
from ansible_collections.iotops.fleet.plugins.module_utils._device.session import Endpoint, Session
from ansible_collections.iotops.fleet.plugins.module_utils._device.tls import Identity
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

# AWS accepts one CONNECT a second of one client ID: https://docs.aws.amazon.com/general/latest/gr/iot-core.html
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
PAUSE_GROWTH = 1.5
ANSWER_SECONDS = 10.0
REFUSAL_SECONDS = 5.0


@dataclass
class Visit:
    """What a visit saw. ``nonce`` marks the message that was published at ``published_at`` (monotonic clock).

    ``accepted_seconds`` run from the first attempt to connect, the other two from the publication.
    """

    region: str
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)
    attempts: int = 0
    last_refusal: str = ""
    accepted_seconds: float = 0.0
    acknowledged_seconds: float = 0.0
    published_at: float = 0.0
    stored_seconds: float = 0.0


def visit(*, region: str, identity: Identity, endpoint: Endpoint, patience: float, impostor: bool) -> Visit:
    """Let the device visit a region.

    ``patience`` is the number of seconds for which a refused device tries again; 0 makes the first refusal final.
    ``impostor`` adds two attempts to act as another device, which the region must refuse.

    Raises:
        FleetError: a step failed; the message says which one.

    """
    seen = Visit(region=region)
    step = "connect"
    try:
        session = _accepted_session(identity, endpoint, patience, seen)
        with session:
            step = f"subscribe to e/{identity.thing_name}/#"
            session.subscribe(f"e/{identity.thing_name}/#", timeout=ANSWER_SECONDS)
            step = f"publish to i/{identity.thing_name}/canary"
            _publish(session, identity.thing_name, seen)
            if impostor:
                _publish_as_another(session, f"{identity.thing_name}-impostor")
        if impostor:
            _connect_as_another(identity, endpoint, f"{identity.thing_name}-impostor")
    except (DeviceError, OSError) as error:
        raise FleetError(
            f"{identity.thing_name} in {region}: could not {step} (attempt {seen.attempts}): {error}", region=region
        ) from error
    return seen


def _accepted_session(identity: Identity, endpoint: Endpoint, patience: float, seen: Visit) -> Session:
    started = time.monotonic()
    pause = FIRST_PAUSE_SECONDS
    while True:
        seen.attempts += 1
        session = Session(identity=identity, endpoint=endpoint)
        try:
            session.connect(timeout=ANSWER_SECONDS)
        except Untrusted:
            raise
        except DeviceError as error:
            session.close()
            seen.last_refusal = str(error)
            if time.monotonic() - started + pause > patience:
                raise
            time.sleep(pause * random.uniform(1.0, 1.2))  # noqa: S311 - jitter is no secret
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
        else:
            seen.accepted_seconds = time.monotonic() - started
            return session


def _publish(session: Session, thing_name: str, seen: Visit) -> None:
    message = json.dumps({"nonce": seen.nonce, "region": seen.region})
    seen.acknowledged_seconds = session.publish(f"i/{thing_name}/canary", message, timeout=ANSWER_SECONDS)
    seen.published_at = time.monotonic()


def _publish_as_another(session: Session, other: str) -> None:
    try:
        session.publish(f"i/{other}/canary", "{}", timeout=REFUSAL_SECONDS)
    except (Dropped, Unanswered):
        return
    raise DeviceError(f"it was allowed to publish to i/{other}/canary: the device policy is too wide")


def _connect_as_another(identity: Identity, endpoint: Endpoint, other: str) -> None:
    with Session(identity=identity, endpoint=endpoint, client_id=other) as session:
        try:
            session.connect(timeout=REFUSAL_SECONDS)
        except (Denied, Dropped, Unanswered):
            return
    raise DeviceError(f"it was allowed to connect as {other}: the device policy is too wide")


__all__ = ["Visit", "visit"]
