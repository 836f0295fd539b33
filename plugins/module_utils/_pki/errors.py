# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error that the PKI raises for what an operator can put right."""

from __future__ import annotations


class PkiError(Exception):
    """One line: the input or file, what is wrong with it, and the remedy."""


__all__ = ["PkiError"]
