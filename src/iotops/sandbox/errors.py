# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with a request to the sandbox itself."""

from __future__ import annotations


class SandboxError(Exception):
    """One line for a person: what is wrong, and the remedy."""
