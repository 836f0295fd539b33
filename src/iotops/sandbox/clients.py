# SPDX-License-Identifier: GPL-3.0-or-later
"""boto3 clients aimed at a sandbox."""

from __future__ import annotations

from typing import Any

ROOT_KEY = "test"  # the base's root user; not a secret


def client(
    gateway: str,
    service: str,
    region: str,
    *,
    access_key: str = ROOT_KEY,
    secret_key: str = ROOT_KEY,
    session_token: str | None = None,
) -> Any:
    """A boto3 client of its own session (the default session is not thread-safe), root unless told otherwise."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        service,
        region_name=region,
        endpoint_url=gateway,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=session_token,
        config=Config(inject_host_prefix=False, retries={"total_max_attempts": 2}, s3={"addressing_style": "path"}),
    )
