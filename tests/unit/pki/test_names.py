from __future__ import annotations

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import (
    common_name_of,
    distinguished_name,
    dns_names,
    oneline,
    organization_of,
    thing_names,
)


def test_thing_names_are_kept_once_each_in_order() -> None:
    assert thing_names(["b", " a", "b"]) == ["b", "a"]


@pytest.mark.parametrize("name", ["", "dev 1", "../dev", "dev.1", "dévice", "a\nb", "dev/1"])
def test_a_name_that_is_no_thing_name_is_refused(name: str) -> None:
    with pytest.raises(PkiError, match="use letters"):
        thing_names([name])


def test_a_name_longer_than_a_common_name_is_refused_with_its_length() -> None:
    assert thing_names(["x" * 64]) == ["x" * 64]
    with pytest.raises(PkiError, match=r"65 characters.*X\.509 allows 64"):
        thing_names(["x" * 65])


@pytest.mark.parametrize(
    "name", ["localhost", "iot..example.com", "-a.example.com", "192.0.2.1.", "a b.com", "*.*.com"]
)
def test_a_server_name_that_is_no_dns_name_is_refused(name: str) -> None:
    with pytest.raises(PkiError, match="not a DNS name"):
        dns_names([name])


def test_dns_names_are_lower_case_and_may_have_a_wildcard() -> None:
    assert dns_names(["IoT.Example.com", "*.example.com", "iot.example.com"]) == ["iot.example.com", "*.example.com"]


def test_no_server_name_is_refused() -> None:
    with pytest.raises(PkiError, match="names is empty"):
        dns_names([])


def test_a_distinguished_name_gives_back_its_parts() -> None:
    name = distinguished_name(common_name="dev-1", organization="Example")
    assert (common_name_of(name), organization_of(name)) == ("dev-1", "Example")
    assert oneline(name) == "/O=Example/CN=dev-1"


def test_a_name_beyond_ascii_is_written_as_openssl_does() -> None:
    assert oneline(distinguished_name(common_name="a", organization="Acmé")) == r"/O=Acm\xC3\xA9/CN=a"


def test_a_long_organization_is_refused() -> None:
    with pytest.raises(PkiError, match=r"organization .* has 65 characters"):
        distinguished_name(common_name="a", organization="o" * 65)
