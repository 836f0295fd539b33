# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret that holds a text, and what may be said of it. Private to the collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._secrets import calls
from ansible_collections.iotops.fleet.plugins.module_utils.aws import tags_diff, tags_to_dict

__all__ = ["Outcome", "Secret", "Text", "ensure_absent", "ensure_text"]

Secret = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Text:
    """What a secret is to hold; ``facts`` of a value tell it from another one, and give nothing away."""

    value: str = field(repr=False)
    description: str
    facts: Callable[[str], Secret] = lambda _value: {}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The secret before and after, without its value, and what differed."""

    before: Secret | None
    after: Secret | None
    reasons: list[str]


def ensure_text(
    secrets: Any, name: str, wanted: Text, *, tags: Mapping[str, Any] | None, purge_tags: bool, check_mode: bool
) -> Outcome:
    """Make the secret hold the text and carry the tags."""
    value = wanted.value
    found = calls.describe(secrets, name)
    if found is None:
        texts = {key: str(each) for key, each in (tags or {}).items()}
        after = {"arn": None, "name": name, **wanted.facts(value), "tags": texts}
        if not check_mode:
            after["arn"] = calls.create(secrets, name, value, description=wanted.description, tags=texts)
        return Outcome(before=None, after=after, reasons=["created"])
    is_leaving = "DeletedDate" in found
    if is_leaving and not check_mode:
        calls.restore(secrets, name)
    held = "" if is_leaving and check_mode else calls.read(secrets, name) or ""
    before = {**_shown(found), **wanted.facts(held)}
    to_set, to_remove = tags_diff(before["tags"], tags, purge=purge_tags)
    kept = {key: each for key, each in before["tags"].items() if key not in to_remove}
    reasons = {"restored": is_leaving, "value changed": held != value, "tags changed": bool(to_set or to_remove)}
    if not check_mode:
        if reasons["value changed"]:
            calls.write(secrets, name, value)
        if to_set:
            calls.add_tags(secrets, name, to_set)
        if to_remove:
            calls.remove_tags(secrets, name, to_remove)
    after = {**before, **wanted.facts(value), "tags": {**kept, **to_set}}
    return Outcome(before=before, after=after, reasons=[reason for reason, is_so in reasons.items() if is_so])


def ensure_absent(secrets: Any, name: str, *, tags: Mapping[str, Any] | None = None, check_mode: bool) -> Outcome:
    """Delete the secret at once, unless it lacks one of the tags and so is somebody else's."""
    found = calls.describe(secrets, name)
    if found is None or tags_diff(tags_to_dict(found.get("Tags")), tags, purge=False)[0]:
        return Outcome(before=None, after=None, reasons=[])
    if not check_mode:
        calls.delete(secrets, name)
    return Outcome(before=_shown(found), after=None, reasons=["deleted"])


def _shown(found: Mapping[str, Any]) -> Secret:
    return {"arn": found["ARN"], "name": found["Name"], "tags": tags_to_dict(found.get("Tags"))}
