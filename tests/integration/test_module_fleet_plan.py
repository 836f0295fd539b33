# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iotops.sandbox.client import Sandbox
from tests.integration.modules import Region, run_module

MODULE = "fleet_plan"
FLEET: dict[str, Any] = {"devices": 1_000_000, "regions": ["eu-west-1", "us-west-2"]}


def work(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in answer["plan"]["work"]}


def test_without_reading_quotas_nothing_of_aws_is_needed_not_even_a_region() -> None:
    answer = run_module(MODULE, **FLEET)
    assert work(answer)["onboard"]["devices_per_second"] == 15
    assert answer["plan"]["quotas"] == {"eu-west-1": "AWS's defaults", "us-west-2": "AWS's defaults"}
    assert not answer["changed"]


def test_the_quotas_of_the_account_are_read_in_each_region_and_those_given_go_first(
    region: Region, sandbox_only: Sandbox
) -> None:
    before = sandbox_only.now()
    answer = region.run(MODULE, **FLEET, read_quotas=True, quotas={"us-west-2": {"AttachPolicy": 150}})
    assert answer["plan"]["quotas"]["eu-west-1"].startswith("Service Quotas; AWS's defaults of ")
    assert answer["plan"]["quotas"]["us-west-2"].endswith("; as given: AttachPolicy")
    onboarding = work(answer)["onboard"]
    found = [onboarding[key] for key in ("quota", "region", "from")]
    assert found == ["AttachPolicy", "eu-west-1", "Service Quotas"]
    calls = sandbox_only.journal(before)
    assert {(call["service"], call["region"]) for call in calls} == {
        ("servicequotas", "eu-west-1"),
        ("servicequotas", "us-west-2"),
    }


def test_the_chart_is_written_once_and_not_in_check_mode(tmp_path: Path) -> None:
    path = tmp_path / "plan.svg"
    assert run_module(MODULE, check=True, **FLEET, chart_path=str(path))["changed"]
    assert not path.exists()
    assert run_module(MODULE, **FLEET, chart_path=str(path))["changed"]
    assert path.read_bytes().startswith(b"<?xml")
    assert not run_module(MODULE, **FLEET, chart_path=str(path))["changed"]


def test_a_chart_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    answer = run_module(MODULE, **FLEET, chart_path=str(tmp_path / "missing/plan.svg"))
    assert answer["msg"].endswith("plan.svg: No such file or directory; name a file that can be written")


def test_nonsense_is_one_line() -> None:
    answer = run_module(MODULE, **{**FLEET, "devices": -1})
    assert (answer["failed"], answer["msg"]) == (True, "devices is -1: give 1 to 100,000,000")
