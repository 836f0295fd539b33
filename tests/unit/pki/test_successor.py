# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from ansible_collections.iotops.fleet.plugins.module_utils._pki import successor
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import Signer
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError

from .conftest import Pki


def ensure(pki: Pki, **changes: Any) -> dict[str, Any]:
    arguments = {
        "path": str(pki.path / "server"),
        "authority_path": str(pki.issuing),
        "state": "present",
        "days": 375,
        "renew_before": 60,
        "renew": False,
        "passphrase": None,
        "names": None,
        "check_mode": False,
    }
    return successor.ensure_successor(**{**arguments, **changes})


@pytest.fixture
def served(pki: Pki) -> Pki:
    pki.ensure_server(names=["iot.example.com", "mqtt.example.com"])
    return pki


def test_none_is_issued_before_it_is_due(served: Pki) -> None:
    before = served.snapshot()
    result = ensure(served)
    assert (result["changed"], result["reason"], result["successor"]) == (False, None, None)
    assert served.snapshot() == before
    assert ensure(served, renew_before=375, check_mode=True)["reason"] == "it was about to expire"


def test_check_mode_makes_no_key(served: Pki) -> None:
    before = served.snapshot()
    predicted = ensure(served, renew=True, check_mode=True)
    assert served.snapshot() == before
    real = ensure(served, renew=True)
    assert predicted["changed"]
    assert predicted["diff"] == real["diff"]
    assert "serial" not in predicted["successor"]


def test_it_stands_beside_the_present_one_and_is_like_it(served: Pki) -> None:
    before = served.snapshot()
    result = ensure(served, renew=True)
    current, new = result["current"], result["successor"]
    assert {path: served.snapshot()[path] for path in (current["certificate"], current["private_key"])} == {
        path: before[path] for path in (current["certificate"], current["private_key"])
    }
    assert [new[key] for key in ("names", "key_type", "subject")] == [
        current[key] for key in ("names", "key_type", "subject")
    ]
    assert new["serial"] != current["serial"]
    key = Path(new["private_key"])
    assert key.read_bytes() != Path(current["private_key"]).read_bytes()
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    again = ensure(served, renew=True)
    assert not again["changed"]
    assert again["successor"] == new
    assert again["reason"] == "a rotation is under way"


def test_a_key_of_a_size_of_its_own_keeps_it(empty_pki: Pki) -> None:
    empty_pki.ensure_root(key_profile="rsa")
    empty_pki.ensure_issuing(key_profile="rsa")
    empty_pki.ensure_server()
    assert ensure(empty_pki, renew=True)["successor"]["key_type"] == "RSA 2048"


def test_taken_it_is_the_present_one(served: Pki) -> None:
    new = ensure(served, renew=True)["successor"]
    predicted = ensure(served, state="taken", check_mode=True)
    result = ensure(served, state="taken")
    assert predicted["diff"] == result["diff"]
    assert result["current"]["serial"] == new["serial"]
    assert not (served.path / "server/next").exists()
    assert not ensure(served, state="taken")["changed"]
    assert not ensure(served)["changed"]
    assert not served.ensure_server(names=["iot.example.com", "mqtt.example.com"])["changed"]


def test_removed_it_leaves_the_present_one(served: Pki) -> None:
    current = ensure(served, renew=True)["current"]
    assert ensure(served, state="absent", check_mode=True)["changed"]
    assert ensure(served, state="absent")["current"] == current
    assert not (served.path / "server/next").exists()
    assert not ensure(served, state="absent")["changed"]


class Killed(Exception):
    """The process ended here."""


@pytest.mark.parametrize("state", ["present", "taken"])
def test_a_run_killed_while_it_was_taken_is_finished(served: Pki, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    new = ensure(served, renew=True)["successor"]
    writes = []

    def write(path: Path, *arguments: Any, **more: Any) -> None:
        if writes:
            raise Killed
        writes.append(path)
        original(path, *arguments, **more)

    original = successor.write_atomic
    monkeypatch.setattr(successor, "write_atomic", write)
    with pytest.raises(Killed):
        ensure(served, state="taken")
    monkeypatch.undo()
    with pytest.raises(PkiError, match="being taken"):
        ensure(served, state="absent")
    assert ensure(served, state=state, check_mode=True)["changed"]
    if state == "present":
        predicted = ensure(served, renew=True, check_mode=True)
        assert [predicted[which]["private_key"] for which in ("current", "successor")] == [new["private_key"]] * 2
        assert predicted["reason"] == "a rotation is under way"
    done = ensure(served, state=state, renew=True)
    assert done["current"]["serial"] == new["serial"]
    assert done["successor"] == (done["current"] if state == "present" else None)
    assert not (served.path / "server/next").exists()


@pytest.mark.parametrize("left", ["key.pem.next", "key.pem"])
def test_a_run_killed_while_it_was_issued_goes_on_with_the_same_certificate(served: Pki, left: str) -> None:
    new = ensure(served, renew=True)["successor"]
    Path(new["certificate"]).unlink()
    if left == "key.pem.next":
        Path(new["private_key"]).rename(new["private_key"] + ".next")
    assert ensure(served, renew=True)["successor"]["serial"] == new["serial"]


def test_a_ca_of_the_next_generation_may_issue_it(served: Pki) -> None:
    second = served.path / "intermediateCA-G2"
    served.ensure_issuing(path=str(second), common_name="Example Issuing CA G2")
    result = ensure(served, authority_path=str(second))
    assert result["reason"] == "another CA had issued it"
    assert result["current"]["chain"] == str(served.issuing / "certs/ca-chain.cert.pem")
    assert result["successor"]["chain"] == str(second / "certs/ca-chain.cert.pem")
    assert not ensure(served, authority_path=str(second))["changed"]


NAMES = ["iot.example.com", "mqtt.example.com"]


def test_a_replacement_may_have_another_kind_of_key(served: Pki) -> None:
    second = served.path / "intermediateCA-G2"
    served.ensure_issuing(path=str(second), common_name="Example Issuing CA G2", key_profile="rsa")
    wanted = {"authority_path": str(second), "names": NAMES}
    predicted = ensure(served, **wanted, check_mode=True)
    assert (predicted["reason"], predicted["differences"]) == ("another CA had issued it", ["key"])
    assert not (served.path / "server/next").exists()
    Path(ensure(served, renew=True)["successor"]["certificate"]).unlink()  # a killed run left a key of the former kind
    result = ensure(served, **wanted)
    assert (result["successor"]["key_type"], result["differences"]) == ("RSA 2048", ["key"])
    assert result["successor"]["chain"] == str(second / "certs/ca-chain.cert.pem")
    again = ensure(served)
    assert (again["changed"], again["successor"], again["differences"]) == (False, result["successor"], ["key"])
    assert ensure(served, state="taken")["current"]["key_type"] == "RSA 2048"


def test_a_replacement_may_have_other_names(served: Pki) -> None:
    assert ensure(served, names=NAMES[::-1])["reason"] is None
    result = ensure(served, names=["iot.example.com", "new.example.com"])
    assert (result["reason"], result["differences"]) == ("the names were others", ["names"])
    assert result["successor"]["names"] == ["iot.example.com", "new.example.com"]
    assert result["successor"]["key_type"] == "EC P-256"


def test_a_ca_that_signs_in_another_way_is_refused(served: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Signer, "digest", hashes.SHA384())
    with pytest.raises(PkiError, match=r"signed with sha256, but .* signs with sha384"):
        ensure(served, renew=True)


def test_what_could_not_be_put_back_or_taken_up_is_refused_before_anything_is_issued(
    served: Pki, tmp_path: Path
) -> None:
    other = Pki(tmp_path / "other")
    other.ensure_root(key_profile="rsa")
    other.ensure_issuing(key_profile="rsa")
    before = served.snapshot()
    for check_mode in (True, False):
        with pytest.raises(PkiError, match=r"EC P-256 key.*RSA keys.*replace_server_certificate"):
            ensure(served, renew=True, authority_path=str(other.issuing), check_mode=check_mode)
    assert served.snapshot() == before
    key = served.path / "server/private/server.key.pem"
    shutil.copy(served.issuing / "private/issuing.key.pem", key)
    with pytest.raises(PkiError, match="could not be put back"):
        ensure(served)
    key.unlink()
    with pytest.raises(PkiError, match="is missing"):
        ensure(served)
