# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy's document in another region.

Of the standard library only: this file is packed into the Lambda functions too. Private to the collection.
"""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]


def rewritten(policy: Document, source: str, target: str) -> Document:
    """The policy document with the ARNs of region ``source`` in ``target``; those of any other region stay."""

    def statement(content: Document) -> Document:
        return {
            name: _moved(value, source, target) if name in ("Resource", "NotResource", "Condition") else value
            for name, value in content.items()
        }

    statements = policy.get("Statement", [])
    one = isinstance(statements, dict)
    moved = [statement(each) for each in ([statements] if one else statements)]
    return {**policy, "Statement": moved[0] if one else moved}


def _moved(value: Any, source: str, target: str) -> Any:
    if isinstance(value, list):
        return [_moved(each, source, target) for each in value]
    if isinstance(value, dict):
        return {name: _moved(each, source, target) for name, each in value.items()}
    fields = value.split(":", 5) if isinstance(value, str) else []
    if len(fields) == 6 and fields[0] == "arn" and fields[3] == source:
        return ":".join([*fields[:3], target, *fields[4:]])
    return value


__all__ = ["Document", "rewritten"]
