# SPDX-License-Identifier: GPL-3.0-or-later
"""A text in Secrets Manager that nobody is shown."""

from __future__ import annotations

import json
import uuid

from tests.integration.modules import Region

MODULE = "secretsmanager_text"
TAGS = {"Application": "demo"}


def test_a_text_is_kept_changed_and_deleted_and_never_shown(region: Region) -> None:
    name, said = f"demo-{uuid.uuid4()}", []
    for wanted, reasons in (
        ({"value": "first-of-all", "tags": TAGS}, ["created"]),
        ({"value": "second-to-none", "tags": TAGS}, ["value changed"]),
        ({"value": "second-to-none", "tags": {}}, ["tags changed"]),
        ({"state": "absent"}, ["deleted"]),
    ):
        predicted, real, again = (region.run(MODULE, check=check, name=name, **wanted) for check in (True, False, True))
        assert predicted["reasons"] == real["reasons"] == reasons
        assert not again["changed"]
        assert not region.run(MODULE, name=name, **wanted)["changed"]
        said += [predicted, real, again]
        if "value" in wanted:
            held = region.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
            assert held == wanted["value"]
    kept = json.dumps([{key: each[key] for key in ("secret", "reasons", "diff")} for each in said])
    assert "first-of-all" not in kept
    assert "second-to-none" not in kept


def test_what_lacks_our_tags_is_not_deleted(region: Region) -> None:
    name, secrets = f"demo-{uuid.uuid4()}", region.client("secretsmanager")
    for tags in (None, {"Application": "another", "Owner": "them"}):
        region.run(MODULE, name=name, value="theirs", tags=tags)
        for check in (True, False):
            assert not region.run(MODULE, check=check, name=name, state="absent", tags=TAGS)["changed"]
        assert secrets.get_secret_value(SecretId=name)["SecretString"] == "theirs"
    region.run(MODULE, name=name, value="theirs", tags={**TAGS, "Owner": "us"})
    assert region.run(MODULE, name=name, state="absent", tags=TAGS)["reasons"] == ["deleted"]


def test_a_text_is_needed(region: Region) -> None:
    assert "value" in region.refusal(MODULE, name="demo")
