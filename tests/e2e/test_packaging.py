"""The tarball and the wheel work where the checkout is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.fleet import ROOT, SIGNER, Fleet, recap

BIN = Path(sys.executable).parent


def run(*arguments: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(a) for a in arguments],
        cwd=cwd,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory elsewhere with the collection installed from its tarball."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    run("ansible-galaxy", "collection", "build", "--output-path", elsewhere, cwd=ROOT)
    tarball = next(elsewhere.glob("iotops-fleet-*.tar.gz"))
    where = str(elsewhere / "collections")
    run(
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "-p",
        where,
        tarball,
        cwd=elsewhere,
        ANSIBLE_COLLECTIONS_PATH=where,
    )
    return elsewhere


def test_a_second_run_by_its_collection_name_changes_nothing_that_the_checkout_built(
    installed: Path, fleet: Fleet
) -> None:
    output = run(
        "ansible-playbook", "-i", fleet.inventory, *SIGNER, "iotops.fleet.site", cwd=installed,
        ANSIBLE_COLLECTIONS_PATH=str(installed / "collections"), IOTOPS_SANDBOX_DIR=str(fleet.sandbox.directory),
    )  # fmt: skip
    counts = recap(output)
    assert {host: (count["changed"], count["failed"]) for host, count in counts.items()} == {
        "eu-west-1": (0, 0),
        "us-west-2": (0, 0),
    }


@pytest.mark.parametrize(("kind", "name"), [("module", "iot_ca_certificate"), ("role", "pki")])
def test_documentation_renders(installed: Path, kind: str, name: str) -> None:
    shown = run(
        "ansible-doc",
        "-t",
        kind,
        f"iotops.fleet.{name}",
        cwd=installed,
        ANSIBLE_COLLECTIONS_PATH=str(installed / "collections"),
    )
    assert name in shown


def test_the_tarball_holds_no_key_and_no_tests(installed: Path) -> None:
    root = installed / "collections/ansible_collections/iotops/fleet"
    names = [path.relative_to(root).parts[0] for path in root.rglob("*")]
    assert not {"tests", "src", "inventories", ".sandbox", ".build"} & set(names)
    assert not list(root.rglob("*.key.pem"))


def test_the_wheel_brings_the_command(tmp_path: Path) -> None:
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--wheel-dir",
        tmp_path,
        ROOT,
        cwd=tmp_path,
    )
    wheel = next(tmp_path.glob("iotops-*.whl"))
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--target", tmp_path / "site", wheel, cwd=tmp_path)
    assert "sandbox" in run(
        sys.executable, "-m", "iotops.cli", "--help", cwd=tmp_path, PYTHONPATH=str(tmp_path / "site")
    )
