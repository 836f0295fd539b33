# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes devices for a load test below an issuing CA.

Serial numbers are random, so nothing has to be shared or locked: many processes and hosts can make devices below one
CA, and a run that was stopped goes on with those that are missing. A device's key is written before its certificate.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.identities import DIRECTORY, PUBLIC, SECRET, Identity, require_names, write

KEY_TYPES = ("ec", "rsa")
_BATCH = {"ec": 250, "rsa": 10}  # devices a process makes at a time, below a second
_LONGEST_COMMON_NAME = 64
_BACKDATE = timedelta(minutes=5)
_LEFT = timedelta(hours=1)  # that a certificate has to be good for, to be used again


@dataclass(frozen=True)
class Issuer:
    """An issuing CA. ``certificate``: its PEM, by choice its own issuers after it; ``key``: PEM."""

    certificate: Path
    key: Path
    passphrase: str = field(default="", repr=False)


def make(
    names: Sequence[str],
    directory: Path,
    issuer: Issuer,
    *,
    key_type: str = "ec",
    days: float = 30,
    processes: int | None = None,
    progress: Callable[[int], None] = lambda _count: None,
) -> list[Identity]:
    """Return devices of these names, making those that the directory does not have from this issuer.

    ``key_type``: ec (P-256) or rsa (2048). ``processes``: one a core unless given. ``progress`` is told how many there
    are so far. Certificates have their issuers after them, but no root.

    Raises:
        LoadTestError: the issuer cannot sign, or a name is none.

    """
    require_names(names, longest=_LONGEST_COMMON_NAME)
    authority = _Authority(issuer, days)
    wanted = [Identity.at(directory, name) for name in names]
    try:
        directory.mkdir(mode=DIRECTORY, parents=True, exist_ok=True)
        missing = [identity.name for identity in wanted if not authority.is_good(identity)]
        done = len(names) - len(missing)
        progress(done)
        size = _BATCH[key_type]
        batches = [missing[start : start + size] for start in range(0, len(missing), size)]
        for count in _run(batches, partial(_make_batch, directory, issuer, key_type, days), processes):
            done += count
            progress(done)
    except OSError as error:
        raise LoadTestError(f"devices {error.filename or directory}: {error.strerror}: choose another place") from error
    return wanted


def _run(batches: list[list[str]], work: Callable[[list[str]], int], processes: int | None) -> Iterator[int]:
    count = min(processes or os.cpu_count() or 1, len(batches))
    if count < 2:
        yield from map(work, batches)
        return
    # Forked processes would inherit the sockets and locks of whoever calls this.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("forkserver")) as pool:
        yield from pool.map(work, batches)


def _make_batch(directory: Path, issuer: Issuer, key_type: str, days: float, names: list[str]) -> int:
    authority = _Authority(issuer, days)
    for name in names:
        key = _new_key(key_type)
        identity = Identity.at(directory, name)
        identity.certificate.unlink(missing_ok=True)  # there never is one with another's key
        write(identity.key, _pem(key), mode=SECRET)
        write(identity.certificate, authority.issue(name, key), mode=PUBLIC)
    return len(names)


def _new_key(key_type: str) -> Any:
    return ec.generate_private_key(ec.SECP256R1()) if key_type == "ec" else rsa.generate_private_key(65537, 2048)


def _pem(key: Any) -> bytes:
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded


class _Authority:
    def __init__(self, issuer: Issuer, days: float) -> None:
        chain = _read(issuer.certificate, x509.load_pem_x509_certificates)
        self._key: Any = _read(issuer.key, partial(_load_key, passphrase=issuer.passphrase))
        self._certificate = chain[0]
        if self._key.public_key() != self._certificate.public_key():
            raise LoadTestError(f"issuer {issuer.key}: it is not the key of {issuer.certificate}: give that")
        if not _is_authority(self._certificate):
            raise LoadTestError(f"issuer {issuer.certificate}: it is no CA: give one")
        self._chain = b"".join(
            each.public_bytes(serialization.Encoding.PEM) for each in chain if each.subject != each.issuer
        )
        self._identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        self._end = min(datetime.now(UTC) + timedelta(days=days), self._certificate.not_valid_after_utc)

    def is_good(self, identity: Identity) -> bool:
        """Tell whether a device's files are there, from this issuer and not about to expire."""
        if not identity.exists():
            return False
        try:
            certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
            certificate.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return certificate.not_valid_after_utc > datetime.now(UTC) + _LEFT

    def issue(self, name: str, key: Any) -> bytes:
        """Return the PEM of a new certificate and its issuers."""
        public_key = key.public_key()
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)  # digital signature
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(secrets.randbits(128) or 1)
            .not_valid_before(max(datetime.now(UTC) - _BACKDATE, self._certificate.not_valid_before_utc))
            .not_valid_after(self._end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(self._identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + self._chain


def _read(path: Path, load: Callable[[bytes], Any]) -> Any:
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise LoadTestError(f"issuer {path}: {error.strerror}: give the issuing CA's file") from error
    except (ValueError, TypeError) as error:
        raise LoadTestError(f"issuer {path}: it cannot be read: give PEM, and the passphrase that it needs") from error


def _load_key(pem: bytes, passphrase: str) -> Any:
    return serialization.load_pem_private_key(pem, passphrase.encode() or None)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


__all__ = ["KEY_TYPES", "Issuer", "make"]
