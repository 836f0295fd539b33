# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutual TLS as a device does it: one root to trust, one name to ask for. Private to the collection."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """A device's name and the three files that it was made with; the root is all that it trusts."""

    thing_name: str
    root_certificate_path: Path
    certificate_path: Path
    private_key_path: Path


class NamedContext(ssl.SSLContext):
    """A TLS context that asks for and verifies one fixed server name, whatever address is dialled.

    AWS IoT chooses the domain configuration, and for SNI_ONLY certificates the account, by this name.
    """

    server_name: str

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,  # noqa: ARG002 - replaced by the fixed name
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """Wrap ``sock`` for the fixed server name."""
        return super().wrap_socket(
            sock, server_side, do_handshake_on_connect, suppress_ragged_eofs, self.server_name, session
        )


def client_context(*, identity: Identity, server_name: str) -> NamedContext:
    """Return the device's TLS context.

    Raises:
        OSError: a file is missing, unreadable or no PEM (``ssl.SSLError`` is an ``OSError``).

    """
    context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.server_name = server_name
    context.load_verify_locations(cafile=identity.root_certificate_path)
    context.load_cert_chain(certfile=identity.certificate_path, keyfile=identity.private_key_path)
    return context


__all__ = ["Identity", "NamedContext", "client_context"]
