# SPDX-License-Identifier: GPL-3.0-or-later
"""A test run remembers the code of archived modules, and never that of other sources."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parents[1] / "bytecode"
SHOW = "import sys; sys.path.insert(0, sys.argv[1]); import said; said.where()"


def archive(path: Path, says: str) -> Path:
    source = f"def where():\n    print({says!r}, where.__code__.co_filename)\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("said.py", source)
    return path


def said(path: Path, kept: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(HERE), "IOTOPS_BYTECODE": str(kept)}
    command = [sys.executable, "-c", SHOW, str(path)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def test_the_same_source_is_compiled_once_and_knows_its_own_place(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for name in ("one.zip", "other.zip"):
        path = archive(tmp_path / name, "hello")
        assert said(path, kept) == f"hello {path}/said.py"
        assert len([each for each in kept.rglob("*") if each.is_file()]) == 1


def test_a_changed_source_is_compiled_again(tmp_path: Path) -> None:
    kept, path = tmp_path / "kept", tmp_path / "one.zip"
    assert said(archive(path, "before"), kept).startswith("before")
    assert said(archive(path, "after"), kept).startswith("after")
