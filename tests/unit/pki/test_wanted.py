"""Which devices certificates are wanted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import expand
from ansible_collections.iotops.fleet.plugins.module_utils._pki.wanted import (
    devices_by_name,
    devices_in_file,
    devices_with_requests,
)

LISTED = [{"name": "dev-1", "batch": 7, "site": "north"}, {"name": "dev-2", "batch": 8, "site": ""}]


def request(*common_names: str, key: object = None) -> bytes:
    """A certificate request in PEM that asks to be a CA."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in common_names])
    asked = x509.BasicConstraints(ca=True, path_length=None)
    made = x509.CertificateSigningRequestBuilder(name).add_extension(asked, critical=True)
    return made.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(
        serialization.Encoding.PEM
    )


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("dev-[001:003]", ["dev-001", "dev-002", "dev-003"]),
        ("dev-[9:11]", ["dev-9", "dev-10", "dev-11"]),
        ("[a:c]x", ["ax", "bx", "cx"]),
        ("[y:B]", ["y", "z", "A", "B"]),
        ("[a:b]-[1:2]", ["a-1", "a-2", "b-1", "b-2"]),
        ("d[0:90:30]", ["d0", "d30", "d60", "d90"]),
    ],
)
def test_ranges_are_those_of_inventories(pattern: str, names: list[str]) -> None:
    assert list(expand(pattern)) == names


def test_a_name_without_a_range_is_itself() -> None:
    assert [device.name for device in devices_by_name(["dev-1", "dev:2", "dev-1"])] == ["dev-1", "dev:2"]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("dev-[1:", "write a range like"),
        ("dev-[1:b]", "numbers of the same width, or of letters"),
        ("dev-[01:100]", "numbers of the same width"),
        ("dev-[1:9:0]", "numbers of the same width"),
        ("dev-[9:1]", "ends before it begins"),
        ("dev-[0:99999999999]", "at most 1000000"),
        ("dev-[0:9999]-[0:9999]", "are 100000000: at most 1000000"),
        ("dev.[1:2]", "device name 'dev.1': use letters"),
    ],
)
def test_a_range_that_cannot_be_is_refused(pattern: str, problem: str) -> None:
    with pytest.raises(PkiError, match=problem):
        devices_by_name([pattern])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("devices.csv", "name,batch,site\r\ndev-1,7,north\r\ndev-2,8,\r\n"),
        ("devices.json", json.dumps(LISTED)),
        ("devices.ndjson", "".join(f"{json.dumps(device)}\n" for device in LISTED)),
    ],
)
def test_a_file_names_devices_and_says_more_of_them(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    first, second = devices_in_file(str(tmp_path / name))
    assert (first.name, first.attributes) == ("dev-1", {"batch": "7", "site": "north"})
    assert (second.name, second.attributes) == ("dev-2", {"batch": "8", "site": ""})


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("d.csv", "device\ndev-1\n", "has no name"),
        ("d.csv", "name,site\ndev-1\n", "dev-1' has more or fewer values"),
        ("d.csv", "name\ndev-1,north\n", "dev-1' has more or fewer values"),
        ("d.json", "[", "cannot be read"),
        ("d.json", '["dev-1"]', "'dev-1' has no name"),
        ("d.yml", "- dev-1", "ends in .csv"),
        ("d.csv", "name,site\ndev-1,a\ndev-1,b\n", "is there twice, and not the same"),
        ("d.csv", "name\ndev 1\n", "use letters"),
    ],
)
def test_a_file_that_is_of_no_use_is_named(tmp_path: Path, name: str, content: str, problem: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(PkiError, match=problem):
        devices_in_file(str(tmp_path / name))


def test_a_file_that_changes_while_it_is_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("name\ndev-1\ndev-2\n")
    devices = devices_in_file(str(path))
    (tmp_path / "other").write_text("name\ndev-2\ndev-1\n")
    (tmp_path / "other").replace(path)
    with pytest.raises(PkiError, match="was changed while its devices were issued"):
        list(devices)


def test_requests_come_from_files_of_many_and_from_folders(tmp_path: Path) -> None:
    (tmp_path / "many.pem").write_bytes(request("dev-1") + b"a remark\n" + request("dev-2"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.csr").write_bytes(request("dev-4"))
    (tmp_path / "folder" / "a.csr").write_bytes(request("dev-3", key=rsa.generate_private_key(65537, 2048)))
    (tmp_path / "folder" / "notes.txt").write_text("not a request")
    found = devices_with_requests([str(tmp_path / "many.pem"), str(tmp_path / "folder")])
    assert [device.name for device in found] == ["dev-1", "dev-2", "dev-3", "dev-4"]
    assert all(device.public_key for device in found)


def forged() -> bytes:
    """A request whose key was exchanged after it was signed."""
    pem = request("dev-1")
    der = x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER)
    point = x509.load_pem_x509_csr(pem).public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )  # fmt: skip
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )  # fmt: skip
    return x509.load_der_x509_csr(der.replace(point, other)).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"nothing", "holds no certificate request in PEM"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n", "damaged"),
        (forged(), "'dev-1' is not signed with its own key"),
        (request("a", "b"), "with 2 common names"),
        (request(), "with 0 common names"),
        (request("dev 1"), "use letters"),
        (request("dev-1") + request("dev-1"), "is there twice"),
        (request("dev-1", key=rsa.generate_private_key(65537, 1024)), "its key is RSA 1024: AWS IoT takes"),  # noqa: S505
        (request("dev-1", key=ec.generate_private_key(ec.SECP521R1())), "its key is EC secp521r1"),
        (request("dev-1", key=ec.generate_private_key(ec.SECP256K1())), "its key is EC secp256k1"),
    ],
)
def test_a_request_that_must_not_be_signed_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "request.csr"
    path.write_bytes(content)
    with pytest.raises(PkiError, match=problem) as raised:
        devices_with_requests([str(path)])
    assert "\n" not in str(raised.value)


def test_an_empty_folder_of_requests_is_named(tmp_path: Path) -> None:
    with pytest.raises(PkiError, match=r"holds no certificate request: name them \*\.csr"):
        devices_with_requests([str(tmp_path)])
