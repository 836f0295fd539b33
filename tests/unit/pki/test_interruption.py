"""A run that is killed before any of its file operations is finished by the next one."""

from __future__ import annotations

import os
import signal
import sys
import tarfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._pki import mint
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Ledger

from .conftest import Pki

FILE_OPERATIONS = {"os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}


def killed_at_each_step(
    folder: Path, prepare: Callable[[Pki], object], run: Callable[[Pki], object], *, at_syncs: bool = False
) -> Iterator[Pki]:
    """Yield a fresh PKI for every file operation of `run`, left as it is by SIGKILL before that operation.

    `at_syncs`: also before each wait for the disk, where a file that was open already has been written.
    """
    for step in count(1):
        pki = Pki(folder / str(step))
        prepare(pki)
        process = os.fork()
        if process == 0:
            _run_until(step, lambda pki=pki: run(pki), at_syncs=at_syncs)
        _pid, status = os.waitpid(process, 0)
        yield pki
        if os.waitstatus_to_exitcode(status) == 0:
            return
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def _run_until(step: int, run: Callable[[], object], *, at_syncs: bool) -> None:
    steps = count(1)

    def kill(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in FILE_OPERATIONS) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    if at_syncs:
        os.fsync = lambda descriptor: kill("os.remove", ())
    sys.addaudithook(kill)
    try:
        run()
        os._exit(0)
    finally:
        os._exit(1)


def build(pki: Pki) -> None:
    pki.ensure_root()
    pki.ensure_issuing()


def leftovers(pki: Pki) -> list[str]:
    return [str(path) for path in pki.path.rglob(".*") if path.name != ".lock"] + [
        str(path) for path in pki.path.rglob("*.next")
    ]


def test_a_ca_that_was_being_made_is_finished_once(tmp_path: Path) -> None:
    for pki in killed_at_each_step(tmp_path, lambda pki: None, build):
        build(pki)
        pki.ensure_devices("dev-1")
        assert len(Ledger(pki.root / "index.txt").entries()) == 1
        assert leftovers(pki) == []
        assert not pki.ensure_issuing()["changed"]


def test_a_server_certificate_that_was_being_renewed_is_finished_once(tmp_path: Path) -> None:
    def prepare(pki: Pki) -> None:
        build(pki)
        pki.ensure_server()

    names = ["iot.example.com", "iot2.example.com"]
    for pki in killed_at_each_step(tmp_path, prepare, lambda pki: pki.ensure_server(names=names)):
        server = pki.ensure_server(names=names)["server"]
        assert server["names"] == names
        assert len(Ledger(pki.issuing / "index.txt").entries()) == 2
        assert leftovers(pki) == []
        assert not pki.ensure_server(names=names)["changed"]


@pytest.mark.parametrize("layout", ["folders", "flat", "archive"])
def test_device_certificates_that_were_being_issued_are_finished_once(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mint.BATCH, "ec", 1)
    names = ["dev-1", "dev-2"]

    def issue(pki: Pki, **changes: Any) -> dict[str, Any]:
        return pki.ensure_devices(*names, layout=layout, path=str(pki.path / "lot.tar"), processes=1, **changes)

    for pki in killed_at_each_step(tmp_path, build, issue, at_syncs=layout == "archive"):
        predicted = issue(pki, check_mode=True)
        result = issue(pki)
        assert result["changed"] == predicted["changed"]
        serials = {entry.serial for entry in Ledger(pki.issuing / "index.txt").entries()}
        assert serials == {certificate["serial"] for certificate in result["certificates"]}
        assert len(serials) == 2
        assert leftovers(pki) == []
        assert not issue(pki)["changed"]
        if layout == "archive":
            assert [file.name.partition(".")[0] for file in archived(pki.path / "lot.tar")] == ["dev-1"] * 2 + [
                "dev-2"
            ] * 2


def archived(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path) as archive:
        return archive.getmembers()


def test_device_certificates_that_were_being_renewed_keep_their_keys_beside_them(tmp_path: Path) -> None:
    def prepare(pki: Pki) -> None:
        build(pki)
        pki.ensure_devices("dev-1")

    for pki in killed_at_each_step(tmp_path, prepare, lambda pki: pki.ensure_devices("dev-1", renew=True)):
        pki.ensure_devices("dev-1")
        assert pki.keys_match("dev-1")
        assert leftovers(pki) == []
