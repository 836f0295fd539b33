# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the generations of the issuing CA stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._pki.generations import (
    issuing_authorities,
    issuing_ca,
    issuing_generations,
)


def test_the_first_generation_has_no_number_in_its_path() -> None:
    assert issuing_ca(1, "/pki") == "/pki/intermediateCA"
    assert issuing_ca(2, "/pki", "certificate") == "/pki/intermediateCA-G2/certs/issuing.cert.pem"


@pytest.mark.parametrize(("generation", "file"), [(0, "directory"), ("[", "directory"), (1, "key")])
def test_what_there_is_not_is_refused(generation: Any, file: str) -> None:
    with pytest.raises(ValueError, match="of the issuing CA"):
        issuing_ca(generation, "/pki", file)


def test_a_generation_is_there_when_its_certificate_is(tmp_path: Path) -> None:
    assert issuing_generations(str(tmp_path / "nowhere")) == []
    for name in (
        "intermediateCA",
        "intermediateCA-G2",
        "intermediateCA-G10",
        "intermediateCA-G3.old",
        "intermediateCA-G0",
    ):
        certificate = tmp_path / name / "certs/issuing.cert.pem"
        certificate.parent.mkdir(parents=True)
        certificate.touch()
    (tmp_path / "intermediateCA-G4/certs").mkdir(parents=True)
    assert issuing_generations(str(tmp_path)) == [1, 2, 10]


def test_the_cas_of_just_in_time_provisioning_and_of_load_tests_issue_and_are_no_generations(tmp_path: Path) -> None:
    for name in ("loadtestCA", "jitpCA", "intermediateCA"):
        certificate = tmp_path / name / "certs/issuing.cert.pem"
        certificate.parent.mkdir(parents=True)
        certificate.touch()
    assert issuing_authorities(str(tmp_path)) == [
        str(tmp_path / name) for name in ("intermediateCA", "jitpCA", "loadtestCA")
    ]
    assert issuing_authorities(str(tmp_path), "certificate")[1] == str(tmp_path / "jitpCA/certs/issuing.cert.pem")
    assert issuing_generations(str(tmp_path)) == [1]
