# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the issuing CAs stand in a PKI. Of the standard library only; private to the collection."""

from __future__ import annotations

import re
from pathlib import Path

FIRST = "intermediateCA"
# The one whose devices AWS IoT provisions by a template; it has no generations.
JUST_IN_TIME = "jitpCA"
# The one of a load test's devices, where that has a CA of its own.
LOAD_TEST = "loadtestCA"
_LATER = re.compile(rf"{FIRST}-G([1-9]\d*)")
FILES = {
    "directory": "",
    "certificate": "certs/issuing.cert.pem",
    "chain": "certs/ca-chain.cert.pem",
    "private_key": "private/issuing.key.pem",
}


def issuing_ca(generation: int, pki_dir: str, file: str = "directory") -> str:
    """Path of a generation's directory, or of one of its ``FILES``. The first one has no number in its name.

    Raises:
        ValueError: no such generation or file.

    """
    if not str(generation).isdecimal() or int(generation) < 1:
        raise ValueError(
            f"generation {generation!r} of the issuing CA: use 1, 2 and so on in fleet_ca_generation, "
            "and a list of them in fleet_ca_generations"
        )
    if file not in FILES:
        raise ValueError(f"file {file!r} of the issuing CA: use one of {', '.join(FILES)}")
    name = FIRST if int(generation) == 1 else f"{FIRST}-G{int(generation)}"
    return str(Path(pki_dir) / name / FILES[file])


def issuing_generations(pki_dir: str) -> list[int]:
    """The generations that have a certificate, oldest first; empty when there is no PKI."""
    folders = [path.name for path in Path(pki_dir).glob(f"{FIRST}*")]
    numbers = [1, *(int(match[1]) for name in folders if (match := _LATER.fullmatch(name)))]
    return sorted(number for number in set(numbers) if Path(issuing_ca(number, pki_dir, "certificate")).is_file())


def issuing_authorities(pki_dir: str, file: str = "directory") -> list[str]:
    """Paths of all issuing CAs that have a certificate, or of one of their ``FILES``: generations first."""
    found = [issuing_ca(number, pki_dir, file) for number in issuing_generations(pki_dir)]
    others = [Path(pki_dir) / name for name in (JUST_IN_TIME, LOAD_TEST)]
    return [*found, *(str(each / FILES[file]) for each in others if (each / FILES["certificate"]).is_file())]


__all__ = ["FILES", "JUST_IN_TIME", "LOAD_TEST", "issuing_authorities", "issuing_ca", "issuing_generations"]
