"""Runs that issue many certificates and are killed at random moments, each followed by another one."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Ledger, serial_text
from tests.unit.pki.conftest import Pki

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from ansible_collections.iotops.fleet.plugins.module_utils._pki import mint
from tests.unit.pki.conftest import Pki
mint.BATCH["ec"] = int(sys.argv[2])
pki = Pki(Path(sys.argv[1]))
pki.ensure_devices(sys.argv[3], layout=sys.argv[4], path=str(pki.path / "lot.tar"), processes=2)
"""


def run(pki: Pki, batch: int, names: str, layout: str) -> subprocess.Popen[bytes]:
    paths = f"{REPOSITORY}/collections:{REPOSITORY}"
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, pki.path, str(batch), names, layout], cwd=REPOSITORY, env={"PYTHONPATH": paths}
    )


def recorded(pki: Pki) -> int:
    return (pki.issuing / "index.txt").read_bytes().count(b"\n")


def pairs(pki: Pki, layout: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the PEM of every certificate with that of its key."""
    if layout == "archive":
        with tarfile.open(pki.path / "lot.tar") as archive:
            members = archive.getmembers()
            for key, certificate in zip(members[::2], members[1::2], strict=True):
                assert key.name.removesuffix(".key.pem") == certificate.name.removesuffix(".cert.pem")
                yield archive.extractfile(certificate).read(), archive.extractfile(key).read()
        return
    for certificate in (pki.path / "lot.tar").rglob("*.cert.pem"):
        yield certificate.read_bytes(), Path(str(certificate).replace(".cert.", ".key.")).read_bytes()


@pytest.mark.parametrize(
    ("layout", "devices", "batch", "kills"),
    [
        ("folders", 300, 30, 3),
        ("archive", 300, 30, 3),
        pytest.param("folders", 5_000, 500, 20, marks=pytest.mark.long),
        pytest.param("flat", 5_000, 500, 20, marks=pytest.mark.long),
        pytest.param("archive", 5_000, 500, 20, marks=pytest.mark.long),
    ],
)
def test_nothing_is_lost_and_nothing_issued_twice(
    tmp_path: Path, layout: str, devices: int, batch: int, kills: int
) -> None:
    pki = Pki(tmp_path / "pki")
    pki.ensure_root()
    pki.ensure_issuing()
    names = f"dev-[0001:{devices:04}]"
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    killed = 0
    for moment in sorted(chance.randrange(int(devices * 0.9)) for _ in range(kills)):
        process = run(pki, batch, names, layout)
        while process.poll() is None and recorded(pki) < moment:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.5) * chance.random())
        process.kill()
        killed += process.wait() != 0
    assert killed > kills / 2
    assert run(pki, batch, names, layout).wait() == 0

    issuer = x509.load_pem_x509_certificate((pki.issuing / "certs" / "issuing.cert.pem").read_bytes())
    entries = Ledger(pki.issuing / "index.txt").entries()
    expected = {f"dev-{number:04}" for number in range(1, devices + 1)}
    assert len(entries) == recorded(pki) == devices
    assert {entry.common_name for entry in entries} == expected
    in_ledger = {entry.serial: entry.common_name for entry in entries}
    found = {}
    for pem, key in pairs(pki, layout):
        certificate = x509.load_pem_x509_certificate(pem)
        certificate.verify_directly_issued_by(issuer)
        assert certificate.public_key() == serialization.load_pem_private_key(key, None).public_key()
        found[serial_text(certificate.serial_number)] = certificate.subject.rfc4514_string()[3:].partition(",")[0]
    assert found == in_ledger
    if layout == "archive":
        lines = map(json.loads, (pki.path / "lot.ndjson").read_text().splitlines())
        assert {serial_text(int(line["Serial"], 16)): line["ThingName"] for line in lines} == in_ledger
    else:
        assert {path.stem for path in (pki.issuing / "newcerts").iterdir()} == set(in_ledger)
