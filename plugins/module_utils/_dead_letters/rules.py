# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a topic rule would have made of a message that it could not pass on (files/cloudformation). Private."""

from __future__ import annotations

import uuid
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.letters import Letter

# Makes the same key of the same letter, so that a message that is stored twice is stored once.
KEYS = uuid.UUID("6f0c5a52-2b0c-4c5e-9d5e-3f0a8f6f3b11")


def stored_item(letter: Letter, region: str) -> dict[str, Any]:
    """The item of the table ``data``. The time is the letter's: nothing tells that of the message."""
    return {"PK": letter.body["topic"].split("/")[1], **queued_item(letter, region)}


def queued_item(letter: Letter, region: str) -> dict[str, Any]:
    """The message of a queue of the role message_queue, whose consumer knows which level of the topic is the thing."""
    return {
        "SK": f"{int(letter.sent_at.timestamp() * 1000)}#{uuid.uuid5(KEYS, letter.message_id)}",
        "region": region,
        "topic": letter.body["topic"],
        "message": letter.payload,
    }


def registry_message(letter: Letter) -> dict[str, Any]:
    """The message of the queue ``ingest-thing``."""
    return {**letter.payload, "look": 0}


def shadow_message(letter: Letter) -> dict[str, Any] | None:
    """The message of the queue ``record-shadow``; None for a topic that its rules do not listen to.

    ``at`` is the shadow's own time in whole seconds, which is not later than the rule's would have been.
    """
    payload, levels = letter.payload, letter.body["topic"].split("/")
    if levels[:3] == ["$aws", "events", "thing"]:
        return {"shadow": "thing-deleted", "thing": payload["thingName"], "at": payload["timestamp"]}
    if levels[:2] != ["$aws", "things"] or levels[3:4] != ["shadow"]:
        return None
    named = levels[4] == "name"
    name, event = (levels[5], levels[6:]) if named else ("$classic", levels[4:])
    common = {"thing": levels[2], "name": name, "at": payload["timestamp"] * 1000}
    if event == ["delete", "accepted"]:
        token = {"clientToken": payload["clientToken"]} if "clientToken" in payload else {}
        return {"shadow": "deleted", **common, "version": payload["version"], **token}
    if event == ["update", "documents"]:
        current = payload["current"]
        return {"shadow": "updated", **common, "state": current["state"], "version": current["version"]}
    return None


__all__ = ["queued_item", "registry_message", "shadow_message", "stored_item"]
