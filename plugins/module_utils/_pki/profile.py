# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key types and sizes of the two key profiles, and lifetimes.

Within a profile each certificate has the algorithm of its signer, which ACM requires of an imported certificate
(https://docs.aws.amazon.com/acm/latest/APIReference/API_ImportCertificate.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError

Purpose = Literal["root", "issuing", "server", "device"]
Algorithm = Literal["ec", "rsa"]


@dataclass(frozen=True)
class KeyType:
    """An algorithm and its size in bits (``ec``: of the NIST curve; ``rsa``: of the modulus)."""

    algorithm: Algorithm
    bits: int

    def __str__(self) -> str:
        return f"RSA {self.bits}" if self.algorithm == "rsa" else f"EC P-{self.bits}"


PROFILES: dict[Algorithm, dict[Purpose, KeyType]] = {
    "ec": {
        "root": KeyType("ec", 384),
        "issuing": KeyType("ec", 256),
        "server": KeyType("ec", 256),
        "device": KeyType("ec", 256),
    },
    "rsa": {
        "root": KeyType("rsa", 4096),
        "issuing": KeyType("rsa", 4096),
        "server": KeyType("rsa", 2048),
        "device": KeyType("rsa", 2048),
    },
}

DEVICE_KEY_TYPES = {
    str(key_type): key_type
    for key_type in (
        KeyType("ec", 256), KeyType("ec", 384), KeyType("rsa", 2048), KeyType("rsa", 3072), KeyType("rsa", 4096),
    )
}  # fmt: skip

_MAX_DAYS = 36500


def lifetime_of(days: int) -> timedelta:
    """Return a lifetime given in days; raise PkiError for one that no certificate can have."""
    if not 1 <= days <= _MAX_DAYS:
        raise PkiError(f"days is {days}: give a lifetime from 1 to {_MAX_DAYS} days")
    return timedelta(days=days)


__all__ = ["DEVICE_KEY_TYPES", "PROFILES", "Algorithm", "KeyType", "Purpose", "lifetime_of"]
