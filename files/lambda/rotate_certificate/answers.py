"""What a device is told."""

from __future__ import annotations

from typing import Any, NamedTuple


class Answer(NamedTuple):
    """``kind`` is accepted, pending or rejected: the last level of the topic; ``members`` are those of the payload."""

    kind: str
    members: dict[str, Any]


class RejectedError(Exception):
    """The device does not get what it asked for: one of the codes of docs/architecture.md, and words for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
