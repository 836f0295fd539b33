# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as AWS and as Ansible write them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
    boto3_tag_list_to_ansible_dict,
    compare_aws_tags,
)
from ansible_collections.amazon.aws.plugins.module_utils.transformation import boto3_resource_to_ansible_dict

__all__ = ["iso", "snake", "tags_diff", "tags_to_dict", "tags_to_list"]


def iso(moment: datetime.datetime) -> str:
    """RFC 3339 in UTC with whole seconds, whatever the controller's time zone."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return iso(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def snake(value: Any) -> Any:
    """boto3's answer (a dict, or a list of them) with snake_case keys, times as RFC 3339, and ``Tags`` as a dict."""
    if isinstance(value, list):
        return [snake(item) for item in value]
    return boto3_resource_to_ansible_dict(_plain(value), force_tags=False) if isinstance(value, dict) else value


def tags_to_list(tags: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """``{"a": "b"}`` as ``[{"Key": "a", "Value": "b"}]``, the form of nearly all AWS services."""
    return ansible_dict_to_boto3_tag_list({key: str(value) for key, value in (tags or {}).items()})


def tags_to_dict(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """The reverse of :func:`tags_to_list`."""
    return boto3_tag_list_to_ansible_dict(tags or [])


def tags_diff(
    current: Mapping[str, str], wanted: Mapping[str, Any] | None, *, purge: bool = True
) -> tuple[dict[str, str], list[str]]:
    """Tags to set and keys to remove so that ``current`` becomes ``wanted``.

    ``wanted`` None leaves all as it is; without ``purge`` nothing is removed; ``aws:`` tags are never touched.
    """
    if wanted is None:
        return {}, []
    to_set, to_remove = compare_aws_tags(dict(current), {k: str(v) for k, v in wanted.items()}, purge_tags=purge)
    return dict(sorted(to_set.items())), sorted(to_remove)
