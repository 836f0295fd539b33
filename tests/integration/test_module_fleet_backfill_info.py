# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

from tests.integration.modules import Region


def test_a_region_without_the_fleet_has_no_record_and_no_rows(region: Region) -> None:
    answer = region.run("fleet_backfill_info", application="nobodys-fleet")
    assert answer["region"] == {"in_dns": False, "has_rows": False}
    assert not answer["changed"]


def test_nothing_is_reckoned_without_a_check(region: Region, tmp_path: Path) -> None:
    message = region.refusal("fleet_backfill_info", application="nobodys-fleet", store=str(tmp_path / "none.sqlite"))
    assert "none.sqlite" in message
    assert "is no file" in message
