# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.modules import run_module

MODULE = "lambda_package"


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """A function with one pure and one compiled wheel, and a file that comes from elsewhere."""
    src = tmp_path / "src"
    src.mkdir()
    (src / "handler.py").write_text("import pycparser\n", encoding="utf-8")
    (src / "requirements.txt").write_text("cffi==2.1.1\npycparser==2.23\n", encoding="utf-8")
    (tmp_path / "ca.pem").write_text("pem\n", encoding="utf-8")
    return {
        "src": str(src),
        "dest": str(tmp_path / "out" / "function.zip"),
        "files": [{"path": str(tmp_path / "ca.pem"), "name": "ca-bundle.pem"}],
        "cache_dir": str(tmp_path / "cache"),
    }


def run(given: dict[str, Any], *, check: bool = False, **params: Any) -> dict[str, Any]:
    answer = run_module(MODULE, check=check, **{**given, **params})
    assert not answer.get("failed"), answer
    return answer


def test_a_package_is_predicted_built_and_then_unchanged(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    predicted = run(given, check=True)
    assert predicted["changed"]
    assert predicted["sha256"] is None
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache").exists()

    built = run(given)
    assert built["changed"]
    assert built["sha256"] == hashlib.sha256(Path(given["dest"]).read_bytes()).hexdigest()

    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    assert run(given)["sha256"] == built["sha256"]
    assert not run(given)["changed"]
    assert not run(given, check=True)["changed"]
    elsewhere = run(given, dest=str(tmp_path / "elsewhere.zip"))
    assert elsewhere["changed"]
    assert elsewhere["sha256"] == built["sha256"]


def test_changed_code_is_built_again(given: dict[str, Any]):
    built = run(given)
    Path(given["src"], "handler.py").write_text("import cffi\n", encoding="utf-8")
    again = run(given)
    assert again["changed"]
    assert again["sha256"] != built["sha256"]


@pytest.mark.defect("S1-38")
def test_the_package_can_be_imported_from(given: dict[str, Any]):
    path = run(given)["path"]
    code = "import handler, pycparser; print(pycparser.__file__)"
    shown = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith(path)


def test_a_file_that_will_be_made_is_predicted_and_a_missing_one_refused(given: dict[str, Any], tmp_path: Path):
    (tmp_path / "ca.pem").unlink()
    assert run(given, check=True)["changed"]
    answer = run_module(MODULE, **given)
    assert answer["failed"]
    assert answer["msg"] == f"File {tmp_path / 'ca.pem'} does not exist"


@pytest.mark.parametrize(
    ("params", "words"),
    [({"src": "/nowhere"}, "src /nowhere is not a folder"), ({"runtime": "nodejs22.x"}, "runtime nodejs22.x is not")],
)
def test_bad_input_is_refused_in_one_line(given: dict[str, Any], params: dict[str, str], words: str):
    answer = run_module(MODULE, **{**given, **params})
    assert answer["failed"]
    assert words in answer["msg"]
    assert "\n" not in answer["msg"]
