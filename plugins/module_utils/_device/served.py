# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server shows to those who ask for a name, and whether a device would trust it. Private to the collection.

No certificate is presented: the server's comes before ours is asked for.
"""

from __future__ import annotations

import hashlib
import itertools
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.iotops.fleet.plugins.module_utils._device.errors import Dropped, Unreachable


@dataclass(frozen=True)
class Served:
    """One handshake: the DER certificates in the order shown, the leaf first, and why a device would not trust them."""

    chain: tuple[bytes, ...]
    distrust: str | None = None

    @property
    def fingerprints(self) -> list[str]:
        """SHA-256 of each certificate in lower-case hex."""
        return [hashlib.sha256(der).hexdigest() for der in self.chain]


@dataclass(frozen=True)
class Server:
    """Where to dial, the name to ask for, the one root that devices trust, and seconds to wait for each handshake."""

    host: str
    port: int
    name: str
    root_certificate_path: Path
    timeout: float

    def visits(self, number: int) -> Iterator[Served]:
        """Shake hands ``number`` times, and at least once with each address that the host has.

        Raises:
            Unreachable: nobody answers, or the host has no address.
            Dropped: the connection was closed before a certificate was shown.

        """
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unreachable(f"{self.host}: {error}") from error
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        for address in itertools.islice(itertools.cycle(addresses), max(number, len(addresses))):
            yield self._visit(address)

    def _visit(self, address: str) -> Served:
        try:
            return Served(self._shake(address, trusting=True))
        except ssl.SSLCertVerificationError as error:
            return Served(self._shake(address, trusting=False), error.verify_message)

    def _shake(self, address: str, *, trusting: bool) -> tuple[bytes, ...]:
        """The chain that is shown; OpenSSL keeps none that it does not trust, hence ``trusting=False``."""
        context = ssl.create_default_context(cafile=str(self.root_certificate_path))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not trusting:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with (
                socket.create_connection((address, self.port), timeout=self.timeout) as plain,
                context.wrap_socket(plain, server_hostname=self.name) as connection,
            ):
                return _chain(connection)
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as error:
            raise Dropped(f"{address}:{self.port}: during the TLS handshake: {error}") from error
        except OSError as error:
            raise Unreachable(f"{address}:{self.port}: {error}") from error


def _chain(connection: ssl.SSLSocket) -> tuple[bytes, ...]:
    """All certificates that the server sent; ``SSLSocket.get_unverified_chain`` is public from Python 3.13 on."""
    inner = connection._sslobj  # type: ignore[attr-defined]
    return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in inner.get_unverified_chain())


def matches(served: list[str], expected: list[str], *, root: str | None) -> bool:
    """Whether the fingerprints that are served are those expected; a server may leave out the root."""
    without_root = expected[:-1] if len(expected) > 1 and expected[-1] == root else expected
    return served in (expected, without_root)


__all__ = ["Served", "Server", "matches"]
