# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._packaging import package as module
from ansible_collections.iotops.fleet.plugins.module_utils._packaging.package import Package, read_source
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

TARGET = "python3.13 x86_64"


def build(dest: Path, files: dict[str, bytes], wheels: list[Path] | None = None) -> bytes:
    package = Package(files=files, requirements=b"a==1" if wheels else b"", target=TARGET)
    package.build(dest, lambda _requirements: wheels or [])
    return dest.read_bytes()


def wheel(path: Path, entries: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_equal_input_gives_equal_bytes_whatever_order_and_time(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, names in ((one, ["b.py", "a.py"]), (two, ["a.py", "b.py"])):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(f"# {name}\n", encoding="utf-8")
    os.utime(two / "a.py", (0, 0))
    (two / "b.py").chmod(0o700)
    assert build(tmp_path / "1.zip", read_source(one)) == build(tmp_path / "2.zip", read_source(two))


@pytest.mark.parametrize("other", [{"a.py": b"y"}, {"b.py": b"x"}, {"a.py": b"x", "b.py": b""}])
def test_other_input_is_another_package(tmp_path: Path, other: dict[str, bytes]) -> None:
    build(tmp_path / "p.zip", {"a.py": b"x"})
    assert Package(files={"a.py": b"x"}, requirements=b"", target=TARGET).is_built(tmp_path / "p.zip")
    assert not Package(files=other, requirements=b"", target=TARGET).is_built(tmp_path / "p.zip")


def test_other_requirements_or_target_are_another_package(tmp_path: Path) -> None:
    build(tmp_path / "p.zip", {"a.py": b"x"})
    assert not Package(files={"a.py": b"x"}, requirements=b"a==1", target=TARGET).is_built(tmp_path / "p.zip")
    assert not Package(files={"a.py": b"x"}, requirements=b"", target="python3.12 arm64").is_built(tmp_path / "p.zip")


def test_a_broken_or_missing_package_is_not_built(tmp_path: Path) -> None:
    package = Package(files={"a.py": b"x"}, requirements=b"", target=TARGET)
    (tmp_path / "broken.zip").write_bytes(b"PK")
    assert not package.is_built(tmp_path / "broken.zip")
    assert not package.is_built(tmp_path / "missing.zip")


def test_wheels_are_laid_out_as_if_installed(tmp_path: Path) -> None:
    entries = {
        "pkg/__init__.py": "1",
        "pkg/tests/test_it.py": "2",
        "pkg-1.dist-info/METADATA": "3",
        "pkg-1.dist-info/RECORD": "4",
        "pkg-1.data/platlib/extra.so": "5",
        "pkg-1.data/scripts/tool": "6",
    }
    build(tmp_path / "p.zip", {"handler.py": b"7"}, [wheel(tmp_path / "pkg-1-py3-none-any.whl", entries)])
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        assert archive.namelist() == ["extra.so", "handler.py", "pkg-1.dist-info/METADATA", "pkg/__init__.py"]
        assert {item.compress_type for item in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {item.external_attr >> 16 for item in archive.infolist()} == {0o100644}


def test_a_package_that_lambda_would_refuse_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNZIPPED_LIMIT", 3)
    with pytest.raises(FleetError, match=r"p\.zip would have 4 bytes; Lambda takes 3"):
        build(tmp_path / "p.zip", {"a.py": b"1234"})
    assert not list(tmp_path.iterdir())


def test_hidden_files_and_byte_code_stay_out(tmp_path: Path) -> None:
    for name in ("handler.py", "lib/part.py", ".secret", "lib/__pycache__/part.pyc", "old.pyc", ".git/config"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    assert sorted(read_source(tmp_path)) == ["handler.py", "lib/part.py"]


def test_a_source_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="has no files"):
        read_source(tmp_path)
    with pytest.raises(FleetError, match="is not a folder"):
        read_source(tmp_path / "missing")
