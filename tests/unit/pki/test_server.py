from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError

from .conftest import Pki


@pytest.mark.defect("S1-35")
def test_the_names_are_alternative_names_and_the_first_is_the_common_name(pki: Pki) -> None:
    server = pki.ensure_server(names=["iot.example.com", "*.iot.example.com"])["server"]
    assert server["names"] == ["iot.example.com", "*.iot.example.com"]
    assert server["subject"] == "CN=iot.example.com,O=Example"


def test_a_name_too_long_for_a_common_name_is_an_alternative_name_only(pki: Pki) -> None:
    name = ".".join(["x" * 40, "y" * 40, "example", "com"])
    server = pki.ensure_server(names=[name])["server"]
    assert (server["subject"], server["names"]) == ("O=Example", [name])


def test_a_second_run_changes_nothing(pki: Pki) -> None:
    pki.ensure_server()
    before = pki.snapshot()
    assert not pki.ensure_server()["changed"]
    assert not pki.ensure_server(check_mode=True)["changed"]
    assert pki.snapshot() == before


@pytest.mark.defect("S1-35")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"names": ["iot2.example.com"]}, "the names were others"),
        ({"renew_before": 373}, "about to expire"),
        ({"renew": True}, "renewal was asked for"),
    ],
)
def test_a_certificate_is_replaced_with_a_new_key_when_needed(pki: Pki, change: dict[str, object], reason: str) -> None:
    first = pki.ensure_server(days=372)
    key = Path(first["server"]["private_key"]).read_bytes()
    predicted = pki.ensure_server(check_mode=True, **change)
    second = pki.ensure_server(**change)
    assert reason in second["diff"]["after"]
    assert second["diff"] == predicted["diff"]
    assert "serial" not in predicted["server"]
    assert second["server"]["serial"] != first["server"]["serial"]
    assert Path(second["server"]["private_key"]).read_bytes() != key


def test_a_revoked_certificate_is_replaced(pki: Pki) -> None:
    first = pki.ensure_server()["server"]
    pki.revoke(first["serial"])
    second = pki.ensure_server()
    assert second["changed"]
    assert second["server"]["serial"] != first["serial"]


def test_a_key_that_is_gone_is_replaced_with_its_certificate(pki: Pki) -> None:
    first = pki.ensure_server()["server"]
    Path(first["private_key"]).unlink()
    second = pki.ensure_server()["server"]
    assert second["serial"] != first["serial"]
    assert Path(second["private_key"]).exists()


def test_the_certificate_ends_no_later_than_its_ca(empty_pki: Pki) -> None:
    empty_pki.ensure_root()
    issuing = empty_pki.ensure_issuing(days=100)["authority"]
    assert empty_pki.ensure_server()["server"]["not_after"] == issuing["not_after"]


def test_it_is_valid_already_for_a_clock_that_is_minutes_behind(pki: Pki) -> None:
    path = Path(pki.ensure_server()["server"]["certificate"])
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    assert path.stat().st_mtime - certificate.not_valid_before_utc.timestamp() >= 299


def test_check_mode_works_before_there_is_a_ca(empty_pki: Pki) -> None:
    result = empty_pki.ensure_server(check_mode=True)
    assert result["changed"]
    assert not empty_pki.path.exists()


def test_renewing_on_every_run_is_refused(pki: Pki) -> None:
    with pytest.raises(PkiError, match="renew_before is 375"):
        pki.ensure_server(renew_before=375)
