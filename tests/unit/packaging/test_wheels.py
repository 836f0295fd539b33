# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._packaging.wheels import WheelCache, pinned_names
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError


class Pip:
    """Stands in for pip: leaves the named files, or fails."""

    def __init__(self, *names: str, error: str = "") -> None:
        self.names, self.error = names, error
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir()
        for name in self.names:
            (folder / name).write_bytes(b"")
        return subprocess.CompletedProcess(command, 1 if self.error else 0, "", self.error)


def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip: Pip, architecture: str = "x86_64") -> WheelCache:
    monkeypatch.setattr(subprocess, "run", pip)
    return WheelCache(root=tmp_path / "cache", runtime="python3.13", architecture=architecture)


def test_pins_are_read_with_extras_markers_hashes_and_comments() -> None:
    text = "# why\nFoo.Bar[x]==1.0 ; python_version > '3' # c\nb_c==2 \\\n    --hash=sha256:ab\n--only-binary :all:\n"
    assert pinned_names(text) == {"foo-bar", "b-c"}


@pytest.mark.parametrize("line", ["cryptography", "cryptography>=1", "cryptography==1.*"])
def test_a_requirement_without_one_version_is_refused(line: str) -> None:
    with pytest.raises(FleetError, match="does not pin a version"):
        pinned_names(line)


def test_wheels_are_fetched_once_for_runtime_and_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip("a-1-py3-none-any.whl")
    wheels = cache(tmp_path, monkeypatch, pip, "arm64")
    assert [path.name for path in wheels.fetch(b"a==1")] == ["a-1-py3-none-any.whl"]
    assert wheels.fetch(b"a==1") == wheels.fetch(b"a==1")
    [command] = pip.commands
    assert command[command.index("--python-version") + 1] == "3.13"
    assert "manylinux_2_28_aarch64" in command
    assert "--only-binary=:all:" in command


def test_each_set_of_requirements_has_wheels_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip("a-1-py3-none-any.whl")
    wheels = cache(tmp_path, monkeypatch, pip)
    assert wheels.fetch(b"a==1")[0].parent != wheels.fetch(b"a==1 # again")[0].parent


def test_a_dependency_that_is_not_pinned_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = cache(tmp_path, monkeypatch, Pip("a-1-py3-none-any.whl", "some_dep-2-py3-none-any.whl"))
    with pytest.raises(FleetError, match="must also pin some-dep"):
        wheels.fetch(b"a==1")


def test_a_failure_of_pip_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = cache(tmp_path, monkeypatch, Pip(error="WARNING: w\nERROR: No matching distribution found for a==9\n"))
    with pytest.raises(FleetError, match=r"^pip could not fetch.*: No matching distribution found for a==9$"):
        wheels.fetch(b"a==9")
    assert not list((tmp_path / "cache").iterdir())
