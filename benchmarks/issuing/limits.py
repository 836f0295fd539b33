# SPDX-License-Identifier: GPL-3.0-or-later
"""What bounds every way: making a key and one signature, and writing the files."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

# As long as what is signed of a certificate.
_SIGNED = bytes(400)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def _keys_and_signatures(key_type: str, ca_key: bytes, seconds: float) -> float:
    ca = serialization.load_pem_private_key(ca_key, None)
    made, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        if key_type == "ec":
            ec.generate_private_key(ec.SECP256R1())
        else:
            rsa.generate_private_key(65537, 2048)
        if isinstance(ca, rsa.RSAPrivateKey):
            ca.sign(_SIGNED, padding.PKCS1v15(), hashes.SHA256())
        else:
            ca.sign(_SIGNED, ec.ECDSA(hashes.SHA256()))
        made += 1
    return made / (time.perf_counter() - started)


def bare_limit(key_type: str, authority: Path, seconds: float) -> float:
    """Keys made and signatures by the CA's key, a pair a certificate, a second, on all cores and nothing else."""
    ca_key = (authority / "private" / "issuing.key.pem").read_bytes()
    with ProcessPoolExecutor(cores()) as pool:
        runs = [pool.submit(_keys_and_signatures, key_type, ca_key, seconds) for _ in range(cores())]
        return sum(run.result() for run in runs)


def writing_limit(directory: Path, sample: Path, count: int) -> float:
    """Devices a second whose files are only written, as often synced as ours: a folder, key, certificate, a copy.

    ``sample`` is the folder of a device, whose files have the size that all have. The copy in newcerts is a link.
    """
    name = sample.name
    key, certificate = ((sample / f"{name}.{kind}.pem").read_bytes() for kind in ("key", "cert"))
    clients, copies = directory / "clients", directory / "newcerts"
    clients.mkdir(parents=True)
    copies.mkdir()
    started = time.perf_counter()
    for number in range(count):
        folder = clients / f"dev-{number:06}"
        folder.mkdir(mode=0o700)
        (folder / f"{folder.name}.key.pem").write_bytes(key)
        target = folder / f"{folder.name}.cert.pem"
        target.write_bytes(certificate)
        (copies / f"{number:040X}.pem").hardlink_to(target)
        if number % 500 == 499:
            os.sync()
    os.sync()
    return count / (time.perf_counter() - started)
