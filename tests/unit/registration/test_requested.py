# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a folder is a request that may be signed, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._registration.issued import Issued
from ansible_collections.iotops.fleet.plugins.module_utils._registration.requested import Certificates, RequestFolder
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError
from tests.certificates import issue, new_key
from tests.requests import forged_request, make_request, weak_request


def folder(path: Path, **files: str) -> RequestFolder:
    """A folder of files, ``__`` standing for the dot."""
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return RequestFolder(path)


def test_requests_are_found_by_their_suffix_and_named_by_their_subject(tmp_path: Path) -> None:
    found = folder(
        tmp_path,
        a__csr=make_request("dev-1") + make_request("dev-2"),
        b__pem=make_request("dev-3").replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        c__req=make_request("dev-4", key=new_key("rsa")),
        dev_1__cert__pem=issue("AWS IoT Certificate").pem,
        dev_1__key__pem="secret",
        README__txt="not one of them",
    )
    assert [(each.file, each.name) for each in found.requests] == [
        ("a.csr", "dev-1"),
        ("a.csr", "dev-2"),
        ("b.pem", "dev-3"),
        ("c.req", "dev-4"),
    ]
    assert (found.refused, found.found) == ([], 4)


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("hello", "", "there is no certificate request in PEM in it"),
        ("grüße", "", "cannot be read: it is not PEM"),
        (make_request("x").replace("MI", "NO", 1), "", "not a readable certificate request"),
        (forged_request("dev-1"), "", "not signed with its own key"),
        (weak_request("dev-1"), "", "AWS IoT does not take its RSA key of 1024 bits"),
        (make_request(""), "", "it has 0 common names"),
        (make_request("dev 1"), "dev 1", "its common name is no thing name"),
    ],
    ids=["text", "no ascii", "damaged", "forged", "weak", "no name", "bad name"],
)
def test_what_cannot_be_signed_is_named_with_its_reason(tmp_path: Path, text: str, name: str, why: str) -> None:
    found = folder(tmp_path, bad__csr=text, good__csr=make_request("good"))
    assert [each.name for each in found.requests] == ["good"]
    [refusal] = found.refused
    assert (refusal.file, refusal.name) == ("bad.csr", name)
    assert why in refusal.why
    assert "bad.csr" not in refusal.why
    assert found.found == 2


def test_nobody_knows_whose_it_is_when_two_requests_are_of_one_name(tmp_path: Path) -> None:
    found = folder(tmp_path, a__csr=make_request("dev-1"), b__csr=make_request("dev-1"))
    assert found.requests == []
    assert {each.file: each.why for each in found.refused} == dict.fromkeys(
        ["a.csr", "b.csr"], "2 requests are of this name: a.csr, b.csr; leave only that of the device"
    )


def test_a_folder_that_is_missing_or_empty_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="there is no folder"):
        RequestFolder(tmp_path / "none")
    with pytest.raises(FleetError, match="holds no certificate request"):
        RequestFolder(tmp_path)


def test_a_certificate_is_that_of_its_file_whatever_its_subject_says(tmp_path: Path) -> None:
    key = new_key()
    [request] = folder(tmp_path, a__csr=make_request("dev-1", key=key)).requests
    certificates = Certificates(tmp_path)
    assert not certificates.take(request)
    made = issue("AWS IoT Certificate", key=key)
    certificates.store("dev-1", made.pem)
    assert Certificates(tmp_path).take(request)

    assert (tmp_path / "dev-1.cert.pem").read_text() == made.pem
    [device] = certificates.devices
    assert device == Issued("dev-1", f"{made.certificate.serial_number:x}")
    found = certificates.read(device)
    assert (found.name, found.certificate_id, found.pem, found.issuer) == ("dev-1", made.fingerprint, made.pem, "aws")

    certificates.drop("dev-1")
    assert certificates.devices == []
    assert not (tmp_path / "dev-1.cert.pem").exists()


def test_a_file_of_another_key_is_not_the_device_s(tmp_path: Path) -> None:
    [request] = folder(tmp_path, a__csr=make_request("dev-1")).requests
    (tmp_path / "dev-1.cert.pem").write_text(issue("dev-1").pem)
    with pytest.raises(PkiError, match="another key"):
        Certificates(tmp_path).take(request)
    (tmp_path / "dev-1.cert.pem").write_text("hello")
    with pytest.raises(PkiError, match="is not a certificate"):
        Certificates(tmp_path).take(request)
