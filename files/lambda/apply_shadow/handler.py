"""Makes the shadows of this region what another region put on record.

The event is a batch of records of the stream of ``shadows``. It only wakes: what is to be is read again. Nothing waits
here for a thing that is not in the region yet, as that would hold up all that comes behind it in the stream.
"""

from __future__ import annotations

from typing import Any

import shadows
from aws import plain


def handler(event: list[dict[str, Any]], context: object) -> None:  # noqa: ARG001 - Lambda's signature
    """The pipe's target. Raises when something failed; the pipe then tries the batch again, in halves."""
    changed: dict[tuple[str, str], None] = {}
    for record in event:
        images = record["dynamodb"]
        new = plain(images["NewImage"])
        shadows.restore(plain(images.get("OldImage", {})), new)
        changed[new["ThingName"], new["ShadowName"]] = None
    for thing, name in changed:
        shadows.apply(thing, name)
