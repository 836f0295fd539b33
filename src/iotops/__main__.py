# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m iotops`` is ``iotops``."""

from __future__ import annotations

from iotops.cli import main

raise SystemExit(main())
