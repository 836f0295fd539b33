"""The fast way makes octet for octet what the library makes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import Request, Signer
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import generate_key, public_bytes
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import distinguished_name
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import KeyType
from ansible_collections.iotops.fleet.plugins.module_utils._pki.template import Template

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEYS = {
    str(key_type): generate_key(key_type)
    for key_type in (KeyType("ec", 256), KeyType("ec", 384), KeyType("rsa", 2048), KeyType("rsa", 3072))
}


@cache
def signer(key_type: str, organization: str) -> Signer:
    key = KEYS[key_type]
    name = distinguished_name(common_name="Issuing CA", organization=organization)
    request = Request(purpose="issuing", subject=name, public_key=key.public_key(), lifetime=timedelta(days=900))
    return Signer(name, key, Signer(name, key).sign(request, serial=1, now=NOW))


def by_the_library(signer: Signer, name: str, serial: int, key_type: str, organization: str) -> x509.Certificate:
    request = Request(
        purpose="device",
        subject=distinguished_name(common_name=name, organization=organization),
        public_key=KEYS[key_type].public_key(),
        lifetime=timedelta(days=365),
    )
    return signer.sign(request, serial=serial, now=NOW)


@pytest.mark.parametrize(
    ("signed_by", "device", "sample"),
    [
        ("EC P-256", "EC P-256", "EC P-384"),
        ("EC P-384", "EC P-384", "EC P-256"),
        ("RSA 2048", "RSA 3072", "RSA 2048"),
        ("RSA 3072", "EC P-256", "EC P-256"),
        ("EC P-256", "RSA 2048", "RSA 3072"),
    ],
)
@settings(max_examples=20, deadline=None)
@given(
    name=st.text(st.sampled_from("abcXYZ019:_-"), min_size=1, max_size=64),
    serial=st.integers(1, 2**159 - 1),
    organization=st.sampled_from(["", "Example", "Acmé & Co", "o" * 64]),
)
def test_it_is_what_the_library_makes(
    name: str, serial: int, organization: str, signed_by: str, device: str, sample: str
) -> None:
    ca = signer(signed_by, organization)
    template = Template(ca, by_the_library(ca, "sample", 5, sample, organization))
    made = x509.load_der_x509_certificate(template.sign(name, serial, public_bytes(KEYS[device])))
    expected = by_the_library(ca, name, serial, device, organization)
    assert made.tbs_certificate_bytes == expected.tbs_certificate_bytes
    assert ca.certificate is not None
    made.verify_directly_issued_by(ca.certificate)
