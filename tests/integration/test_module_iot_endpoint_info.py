# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from tests.integration.modules import Region

MODULE = "iot_endpoint_info"


def test_reads_the_ats_endpoint_unless_told_otherwise(region: Region):
    endpoints = region.run(MODULE)["endpoints"]
    assert list(endpoints) == ["iot:Data-ATS"]
    assert region.name in endpoints["iot:Data-ATS"]


def test_reads_what_is_asked_for_also_in_check_mode(region: Region):
    wanted = ["iot:Data-ATS", "iot:CredentialProvider"]
    assert list(region.run(MODULE, check=True, endpoint_types=wanted)["endpoints"]) == wanted


def test_regions_have_endpoints_of_their_own(region: Region, other_region: Region):
    assert region.run(MODULE)["endpoints"] != other_region.run(MODULE)["endpoints"]


def test_an_unknown_type_is_refused_by_name(region: Region):
    assert "iot:Dat" in region.refusal(MODULE, endpoint_types=["iot:Dat"])
