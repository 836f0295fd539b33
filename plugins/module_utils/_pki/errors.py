# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error that the PKI raises for what an operator can put right."""

from __future__ import annotations


class PkiError(Exception):
    """One line: the input or file, what is wrong with it, and the remedy."""


def one_line(error: PkiError | OSError) -> str:
    """Return what to tell the operator."""
    if isinstance(error, PkiError):
        return str(error)
    return f"{error.filename}: {error.strerror}; put that right and run again"


__all__ = ["PkiError", "one_line"]
