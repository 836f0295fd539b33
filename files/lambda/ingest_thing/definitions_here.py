"""Take this region's policies, thing types and thing groups into the table ``definitions``."""

from __future__ import annotations

import json
from collections.abc import Iterable

from definitions import OWN, OWN_POLICIES, document_here, here, is_applied, mark_applied
from rows_table import REGION, Item, change


def look_at_references(row: Item) -> None:
    """Look at all that these attributes of a row refer to."""
    look_at_policies(row.get("PolicyNames", []))
    if row.get("ThingTypeName", OWN) != OWN:
        look(f"type#{row['ThingTypeName']}")
    for group in row.get("ThingGroups", []):
        look(f"group#{group}")


def look_at_policies(names: Iterable[str]) -> None:
    """Look at all but the fleet's own: changes of a policy have no event."""
    for name in names:
        if name not in OWN_POLICIES:
            look(f"policy#{name}")


def look(name: str) -> bool:
    """Take the definition in when somebody changed it here; False when this region has yet to follow the item."""
    outcome = {"applied": True, "written": False}

    def decide(item: Item) -> Item | None:
        outcome["applied"] = not item or is_applied(item)
        found = here(name) if outcome["applied"] else None
        changed = changes(item, found) if found else None
        if changed and changed.get("Parent"):
            look(f"group#{changed['Parent']}")
        outcome["written"] = bool(changed)
        return changed

    item = change("definitions", decide, Name=name)
    if outcome["written"]:
        mark_applied(item)
    return outcome["applied"]


def changes(item: Item, found: Item) -> Item | None:
    """The attributes of the item that are to be others because somebody changed what is here.

    A policy that is gone, and another parent of a group, are nobody else's business: the one is only detached, the
    other would need a new group. A thing type cannot be changed.
    """
    if found["State"] == "DELETED":
        gone = item.get("State") == "ACTIVE" and not item["Name"].startswith("policy#")
        return {"State": "DELETED"} if gone else None
    fresh = {"Document": json.dumps(found["Document"], sort_keys=True), "Region": REGION, "State": "ACTIVE"}
    if item.get("State") != "ACTIVE":
        return {**fresh, "Parent": found.get("Parent")}
    if item["Name"].startswith("type#") or document_here(item) == found["Document"]:
        return None
    return fresh
