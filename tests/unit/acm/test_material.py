# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from ansible_collections.iotops.fleet.plugins.module_utils._acm.material import Material, require_reimportable
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError
from tests.certificates import DAY, Issued, issue, new_key

ROOT = issue("Demo Root", ca=True)
ISSUING = issue("Demo Issuing CA G1", ca=True, signer=ROOT)
CHAIN = ISSUING.pem + ROOT.pem


def server(**more: Any) -> Issued:
    return issue("iot.example.com", **{"names": ["iot.example.com"], "server": True, "signer": ISSUING, **more})


def material(made: Issued, *, chain: str = CHAIN, key: str | None = None) -> Material:
    return Material(certificate=made.pem, private_key=key or made.key_pem(), chain=chain)


@pytest.mark.parametrize("chain", [CHAIN, ISSUING.pem])
def test_a_sound_certificate_passes(chain: str):
    material(server(), chain=chain).check()


def test_a_self_signed_certificate_needs_no_chain():
    material(server(signer=None), chain="").check()


@pytest.mark.parametrize(
    ("unfit", "why"),
    [
        (lambda: material(server(start=-9 * DAY, days=1)), "certificate_path: .* expired"),
        (lambda: material(server(start=DAY)), "not valid before"),
        (lambda: material(server(), key=server().key_pem()), "not the private key"),
        (lambda: material(server(), key="-----BEGIN PRIVATE KEY-----"), "private_key_path"),
        (lambda: material(server(), key=server().key_pem("x")), "passphrase"),
        (lambda: material(server(), chain=""), "chain_path: needed"),
        (lambda: material(server(), chain=ROOT.pem + ISSUING.pem), "in order"),
        (lambda: material(server(), chain=issue("Demo Issuing CA G1", ca=True).pem), "did not sign"),
        (lambda: material(server(), chain="x"), "chain_path: holds no certificate"),
        (lambda: Material(certificate=server().pem + CHAIN, private_key="x"), "holds 3 certificates"),
    ],
)
def test_what_acm_or_a_client_would_refuse_is_refused(unfit: Any, why: str):
    with pytest.raises(FleetError, match=why):
        unfit().check()


def test_a_leaf_of_another_algorithm_than_its_signer_is_refused():
    signer = issue("Demo RSA CA", ca=True, key=new_key("rsa"))
    with pytest.raises(FleetError, match="EC_prime256v1 and its CA is RSA_2048"):
        material(server(signer=signer), chain=signer.pem).check()


def test_an_expired_issuer_is_refused():
    signer = issue("Demo Issuing CA G1", ca=True, start=-9 * DAY, days=1)
    with pytest.raises(FleetError, match=r"chain_path: .* expired"):
        material(server(signer=signer), chain=signer.pem).check()


def test_changes_are_of_certificates_and_not_of_text():
    made = server()
    same = {"certificate": made.pem.replace("\n", "\r\n"), "chain": "comment\n" + CHAIN}
    assert material(made).changes(**same) == []
    assert material(made).changes(certificate=server().pem, chain=ROOT.pem) == ["leaf", "chain"]


def test_a_renewal_may_take_the_old_place():
    require_reimportable(server().pem, server(days=60).certificate, arn="arn:x")


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (lambda: server(key=new_key("rsa")), "key is RSA_2048, but arn:x has EC_prime256v1"),
        (lambda: server(names=["iot.example.com", "more.example.com"]), "names are iot.example.com, more.example.com"),
        (lambda: server(server=False), "extended key usage"),
        (lambda: server(digest=hashes.SHA384()), "signed with sha384, but arn:x with sha256"),
    ],
)
def test_what_aws_would_not_take_up_may_not(new: Any, why: str):
    with pytest.raises(FleetError, match=f"{why}.*replace_server_certificate"):
        require_reimportable(server().pem, new().certificate, arn="arn:x")


def test_the_key_does_not_show():
    assert "PRIVATE KEY" not in repr(material(server()))
