# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import json
import stat
import tarfile
from pathlib import Path

import pytest

from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.identities import Identity, load, numbered
from tests.certificates import Issued, issue


@pytest.fixture(scope="module")
def pair() -> Issued:
    return issue("dev-1")


def put(directory: Path, name: str, issued: Issued) -> Identity:
    directory.mkdir(exist_ok=True)
    issued.write(directory, name)
    return Identity.at(directory, name)


def manifest(path: Path, *lines: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_pairs_in_one_folder(tmp_path: Path, pair: Issued) -> None:
    expected = [put(tmp_path, name, pair) for name in ("dev-1", "dev-2")]
    (tmp_path / "half.key.pem").write_text("a device without a certificate")
    (tmp_path / "notes.txt").write_text("something else")
    assert load(tmp_path) == expected


def test_a_folder_for_each_device(tmp_path: Path, pair: Issued) -> None:
    expected = [put(tmp_path / name, name, pair) for name in ("dev-1", "dev-2")]
    (tmp_path / "empty").mkdir()
    assert load(tmp_path) == expected


def test_a_manifest_beside_the_keys(tmp_path: Path, pair: Issued) -> None:
    expected = put(tmp_path / "keys", "dev-1", pair)
    lines = manifest(tmp_path / "devices.ndjson", {"ThingName": "dev-1", "CertificatePem": "another"})
    assert load(lines, keys=tmp_path / "keys") == [expected]


def test_a_manifest_with_the_only_copy_of_the_certificates(tmp_path: Path, pair: Issued) -> None:
    (tmp_path / "dev-1.key.pem").write_text(pair.key_pem())
    lines = manifest(tmp_path / "devices.ndjson", {"ThingName": "dev-1", "CertificatePem": pair.pem, "Serial": "1"})
    [identity] = load(lines)
    assert (identity.key, identity.certificate.read_text()) == (tmp_path / "dev-1.key.pem", pair.pem)


def test_an_archive_is_unpacked_for_its_owner_alone(tmp_path: Path, pair: Issued) -> None:
    archive = tmp_path / "devices.tar"
    with tarfile.open(archive, "w") as tar:
        for name in (
            "lot/dev-1.key.pem",
            "lot/dev-1.cert.pem",
            "../dev-2.key.pem",
            "../dev-2.cert.pem",
            "dev-3.key.pem",
        ):
            content = pair.key_pem() if ".key" in name else pair.pem
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o666
            tar.addfile(member, io.BytesIO(content.encode()))
        link = tarfile.TarInfo("dev-4.key.pem")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    for _again in range(2):
        found = load(archive, unpacked=tmp_path / "unpacked")
        assert found == [Identity.at(tmp_path / "unpacked", name) for name in ("dev-1", "dev-2")]
    assert found[0].key.read_text() == pair.key_pem()
    assert (mode(tmp_path / "unpacked"), mode(found[0].key)) == (0o700, 0o600)
    assert not (tmp_path / "dev-2.key.pem").exists()
    assert not (tmp_path / "unpacked/dev-4.key.pem").exists()


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("devices", None, "there are none: NAME.cert.pem and NAME.key.pem are looked for"),
        ("missing.tar", None, "No such file or directory: put it there"),
        ("devices.zip", "", "no folder, tar or manifest"),
        ("devices.tar", "text", "it is no tar"),
        ("devices.ndjson", "", "there are none"),
        ("devices.ndjson", "{}", "line 1: no JSON object with ThingName and CertificatePem"),
        ("devices.ndjson", "[1]", "line 1: no JSON object"),
        ("devices.ndjson", '{"ThingName": "../dev", "CertificatePem": "x"}', "'../dev' is no name of a thing"),
        ("devices.ndjson", '{"ThingName": "dev", "CertificatePem": "x"}', "dev.key.pem is missing"),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, name: str, content: str | None, what: str) -> None:
    source = tmp_path / name
    if content is not None:
        source.write_text(content)
    elif not source.suffix:
        source.mkdir()
    with pytest.raises(LoadTestError, match=what) as raised:
        load(source)
    assert str(source) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_names_have_one_length() -> None:
    assert numbered("load-", 3) == ["load-000001", "load-000002", "load-000003"]
    assert numbered("load-", 2, first=999_999) == ["load-0999999", "load-1000000"]


def test_a_prefix_that_no_thing_may_have() -> None:
    with pytest.raises(LoadTestError, match="'load/000001': choose 1 to 128 letters"):
        numbered("load/", 1)
