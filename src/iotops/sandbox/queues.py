# SPDX-License-Identifier: GPL-3.0-or-later
"""Queues by ARN, as pipes and bus rules name them."""

from __future__ import annotations

import os

__all__ = ["queue_url"]


def queue_url(arn: str) -> str:
    """The URL under which the gateway serves the queue of an ARN."""
    account, name = arn.split(":")[4:6]
    return f"http://127.0.0.1:{os.environ.get('GATEWAY_PORT', '4566')}/{account}/{name}"
