# SPDX-License-Identifier: GPL-3.0-or-later
"""A device's certificate and private key, the pair that is to follow it, and the one that it had before.

In the device's directory::

    <thing>.cert.pem, <thing>.key.pem   the current pair; with or without the issuing CA after the certificate
    root.cert.pem                       what it trusts
    next/                               of a rotation that goes on: new key, request, certificate once it is there
    previous/                           the pair before the current one, until the next rotation begins
    <thing>.accepted                    the certificateId that a broker accepted last
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from iotops.device import files, keys, pem
from iotops.device.errors import DeviceError, Unable

Which = Literal["current", "next"]


@dataclass(frozen=True)
class Pair:
    """What a connection is made with. ``key``: the key's file, or its label in the token."""

    certificate: Path
    key: str


class Credentials(ABC):
    """The pairs of one device. Every call can be cut short by a loss of power and made again."""

    def __init__(self, directory: Path, thing_name: str, root: Path | None = None) -> None:
        self.thing_name = thing_name
        self.directory = directory
        self.root = root or directory / "root.cert.pem"
        self._certificate = directory / f"{thing_name}.cert.pem"
        self._following = directory / "next"
        self._previous = directory / "previous"
        self._accepted = directory / f"{thing_name}.accepted"

    @abstractmethod
    def _key(self, which: Which) -> str:
        """The key of a pair, as ``Pair`` has it."""

    @abstractmethod
    def _public_key(self, which: Which) -> bytes | None:
        """The public half of a key as SubjectPublicKeyInfo DER; None when there is no such key."""

    @abstractmethod
    def _make_key(self, key_type: str) -> bytes:
        """Make and store the next key, in the place of one that may be there; return the PEM of a request for it."""

    @property
    @abstractmethod
    def _files(self) -> tuple[str, ...]:
        """The files of a pair by name, in the order in which they are moved."""

    def check(self) -> None:
        """Tell whether the device can connect with its current pair.

        Raises:
            DeviceError: something is missing, damaged or does not fit.

        """
        from iotops.device.certificates import public_bytes, read_certificates

        read_certificates(self.root)
        certificate, *_issuers = read_certificates(self._certificate)
        if self._public_key("current") != public_bytes(certificate.public_key()):
            raise DeviceError(f"{self._certificate} is not for the key {self._key('current')}: restore the pair")

    def pair(self, which: Which) -> Pair:
        """Return what to connect with."""
        return Pair(self._place(which) / self._certificate.name, self._key(which))

    def certificate_id(self, which: Which = "current") -> str:
        """Return AWS IoT's id of a pair's certificate."""
        return pem.certificate_id(self._place(which) / self._certificate.name)

    def was_accepted(self, which: Which) -> bool:
        """Whether a broker has accepted the pair's certificate before, as far as the device remembers."""
        try:
            return self._accepted.read_text(encoding="ascii", errors="replace") == self.certificate_id(which)
        except OSError:
            return False

    def remember_accepted(self, which: Which) -> None:
        """Take note that a broker accepts the pair's certificate; a full disk forgets it."""
        if not self.was_accepted(which):
            with suppress(OSError):
                files.write(self._accepted, self.certificate_id(which).encode())

    def make_next(self, key_type: str) -> None:
        """Make a key and a request for it; what was begun before, and the previous pair, are gone then.

        Raises:
            Unable: there is no room, or the token does not make such keys.

        """
        self.discard_next()
        files.remove(self._previous)
        try:
            files.make_directory(self._following)
            files.write(self._request, self._make_key(key_type))
        except OSError as error:
            raise Unable(f"a new key cannot be stored: {error.strerror}") from error

    @property
    def requests(self) -> bool:
        """Whether there is a request that make_next has left."""
        return self._request.exists()

    @property
    def request_pem(self) -> str:
        """The request that make_next has left."""
        return self._request.read_text(encoding="ascii")

    def keep_next(self, certificates: str) -> None:
        """Store the certificate of the next pair (PEM), with the issuers that can be told.

        Raises:
            Unfit: it is not for this device's next key.
            Unable: there is no room.

        """
        from iotops.device.certificates import encode, fitting, read_certificates

        chain = fitting(
            certificates,
            thing_name=self.thing_name,
            public_key=self._public_key("next") or b"",
            root=self.root,
            known=read_certificates(self._certificate)[1:],
        )
        try:
            files.write(self.pair("next").certificate, encode(chain))
        except OSError as error:
            raise Unable(f"the new certificate cannot be stored: {error.strerror}") from error

    def promote(self) -> None:
        """Make the next pair the current one, and the current one the previous one."""
        if (self._following / self._files[0]).exists():  # nothing has been moved yet
            with suppress(OSError):  # a full disk: the new pair needs no room
                self._keep_previous()
        for name in self._files:
            if (self._following / name).exists():
                files.move(self._following / name, self.directory / name)
        self.discard_next()

    def _keep_previous(self) -> None:
        files.remove(self._previous)
        files.make_directory(self._previous)
        for name in self._files:
            files.write(self._previous / name, (self.directory / name).read_bytes(), mode=files.PRIVATE)

    def discard_next(self) -> None:
        """Forget the next pair."""
        files.remove(self._following)

    def _place(self, which: Which) -> Path:
        return self.directory if which == "current" else self._following

    @property
    def _request(self) -> Path:
        return self._following / f"{self.thing_name}.csr.pem"


class FileCredentials(Credentials):
    """Keys in files that only their owner can read."""

    def _key(self, which: Which) -> str:
        return str(self._place(which) / f"{self.thing_name}.key.pem")

    def check(self) -> None:
        """Tell whether the device can connect with its current pair; see Credentials."""
        if not pem.fits(self.root, self._certificate, self._key("current")):
            super().check()  # says why

    def _public_key(self, which: Which) -> bytes | None:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        from iotops.device.certificates import public_bytes

        path = Path(self._key(which))
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except OSError as error:
            raise DeviceError(f"{path}: {error.strerror}: put the private key (PEM) there") from error
        except TypeError as error:
            raise DeviceError(f"{path} is encrypted: a device needs it without a passphrase") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise DeviceError(f"{path} is not a PEM private key: restore it") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise DeviceError(f"{path}: AWS IoT takes RSA and EC keys only")
        return public_bytes(key.public_key())

    def _make_key(self, key_type: str) -> bytes:
        from iotops.device.certificates import request

        key = keys.generate(key_type)
        files.write(Path(self._key("next")), keys.encode(key), mode=files.PRIVATE)
        return request(self.thing_name, key)

    @property
    def _files(self) -> tuple[str, ...]:
        return f"{self.thing_name}.key.pem", self._certificate.name


__all__ = ["Credentials", "FileCredentials", "Pair", "Which"]
