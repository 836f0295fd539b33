# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of an authority, as `openssl ca` knows it, and the openssl.cnf that lets an operator use it."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import (
    DIRECTORY,
    SECRET,
    make_directory,
    write_atomic,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.token_uri import TokenUri

AuthorityType = Literal["root", "issuing"]
SerialPolicy = Literal["random", "sequential"]

_FOLDERS = ("certs", "crl", "csr", "newcerts", "private")


@dataclass(frozen=True)
class AuthorityTree:
    """Where the files of an authority are."""

    path: Path
    type: AuthorityType

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self.path / "certs" / f"{self.type}.cert.pem"

    @property
    def chain(self) -> Path:
        """An issuing CA's certificate and its root's, in the order that ACM wants."""
        return self.path / "certs" / "ca-chain.cert.pem"

    @property
    def key(self) -> Path:
        """The authority's private key."""
        return self.path / "private" / f"{self.type}.key.pem"

    @property
    def key_uri(self) -> Path:
        """Names the authority's private key where that is in a PKCS#11 token."""
        return self.path / "private" / f"{self.type}.key.uri"

    @property
    def ledger(self) -> Path:
        """All certificates issued by the authority."""
        return self.path / "index.txt"

    @property
    def serial(self) -> Path:
        """The next sequential serial number."""
        return self.path / "serial"

    @property
    def configuration(self) -> Path:
        """What `openssl ca -config` takes."""
        return self.path / "openssl.cnf"

    def token_uri(self) -> TokenUri | None:
        """Return the name of the private key in a token, None where the key is a file; raise PkiError if it is both."""
        if not self.key_uri.exists():
            return None
        if self.key.exists():
            raise PkiError(
                f"{self.path / 'private'} has {self.key.name} and {self.key_uri.name}: remove one of the two"
            )
        return TokenUri.parse(self.key_uri.read_text(encoding="utf-8"))

    @property
    def copies(self) -> Path:
        """Copies of all certificates issued."""
        return self.path / "newcerts"

    def issued(self, serial: str) -> Path:
        """A copy of each certificate issued, by serial number."""
        return self.copies / f"{serial}.pem"

    def serial_policy(self) -> SerialPolicy:
        """Return how serial numbers are chosen, by us and by `openssl ca` alike."""
        configuration = self.configuration.read_text(encoding="utf-8")
        return "random" if re.search(r"^rand_serial\s*=", configuration, re.MULTILINE) else "sequential"

    def repair(self, *, serial_policy: SerialPolicy, check_mode: bool, key_uri: TokenUri | None = None) -> list[str]:
        """Make missing folders and bookkeeping files, set modes right; return what was (or would be) changed."""
        changes = private_directories([self.path, *(self.path / folder for folder in _FOLDERS)], check_mode=check_mode)
        initial = {
            "index.txt": "",
            "index.txt.attr": "unique_subject = no\n",
            "serial": "1000\n",
            "crlnumber": "0100\n",
        }
        for name, content in initial.items():
            if not (self.path / name).exists():
                changes.append(f"{self.path / name}: created")
                if not check_mode:
                    write_atomic(self.path / name, content.encode("ascii"))
        contents = {self.key_uri: f"{key_uri}\n"} if key_uri else {}
        contents[self.configuration] = openssl_configuration(self, serial_policy, key_uri)
        for path, content in contents.items():
            if not _holds(path, content):
                changes.append(f"{path}: written")
                if not check_mode:
                    write_atomic(path, content.encode())
        return changes + private_files([self.key], check_mode=check_mode)


def _holds(path: Path, content: str) -> bool:
    return path.exists() and path.read_bytes() == content.encode()


def private_directories(paths: Iterable[Path], *, check_mode: bool) -> list[str]:
    """Make these directories, each with mode 0700; return what was (or would be) changed."""
    changes: list[str] = []
    for path in paths:
        if not path.exists():
            changes.append(f"{path}: created")
            if not check_mode:
                make_directory(path)
        elif not path.is_dir():
            raise NotADirectoryError(20, "a directory is wanted here; move the file away", str(path))
        else:
            changes += _mode_change(path, DIRECTORY, check_mode=check_mode)
    return changes


def private_files(paths: Iterable[Path], *, check_mode: bool) -> list[str]:
    """Set the mode of those files that exist to 0600; return what was (or would be) changed."""
    return [change for path in paths if path.exists() for change in _mode_change(path, SECRET, check_mode=check_mode)]


def _mode_change(path: Path, mode: int, *, check_mode: bool) -> list[str]:
    current = stat.S_IMODE(path.stat().st_mode)
    if current == mode:
        return []
    if not check_mode:
        path.chmod(mode)
    return [f"{path}: mode {current:04o} to {mode:04o}"]


def openssl_configuration(tree: AuthorityTree, serial_policy: SerialPolicy, key_uri: TokenUri | None) -> str:
    """Return the openssl.cnf of an authority, with real paths (openssl-ca(1), x509v3_config(5)).

    A key in a token takes OpenSSL's provider or engine for PKCS#11: -engine pkcs11 -keyform engine.
    """
    return _CONFIGURATION.format(
        directory=_escaped(str(tree.path)),
        key=_escaped(key_uri.for_openssl) if key_uri else f"$dir/private/{tree.type}.key.pem",
        name=tree.type,
        serial="rand_serial = yes" if serial_policy == "random" else "# serial numbers count up from the file above",
        extensions="issuing" if tree.type == "root" else "device",
    )


def _escaped(value: str) -> str:
    return re.sub(r"([\\$#\"'`])", r"\\\1", value)


_CONFIGURATION = """\
# Written by iotops.fleet.x509_authority; the next run restores it.
[ca]
default_ca = authority

[authority]
dir = {directory}
certs = $dir/certs
crl_dir = $dir/crl
new_certs_dir = $dir/newcerts
database = $dir/index.txt
serial = $dir/serial
{serial}
crlnumber = $dir/crlnumber
certificate = $dir/certs/{name}.cert.pem
private_key = {key}
default_md = sha256
default_days = 365
default_crl_days = 30
unique_subject = no
preserve = no
email_in_dn = no
policy = subject
x509_extensions = {extensions}
crl_extensions = crl

[subject]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = supplied

[issuing]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always

[device]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always

[crl]
authorityKeyIdentifier = keyid:always

[req]
distinguished_name = request
prompt = yes

[request]
organizationName = Organization
commonName = Common name
"""

__all__ = [
    "AuthorityTree", "AuthorityType", "SerialPolicy", "openssl_configuration", "private_directories", "private_files",
]  # fmt: skip
