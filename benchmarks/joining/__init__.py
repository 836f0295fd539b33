# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``benchmarks/onboarding.py`` is made of: devices that join, and what their joining costs on AWS."""

from __future__ import annotations
