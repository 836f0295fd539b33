# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One function per call to AWS Secrets Manager.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing, tags_to_list

__all__ = ["add_tags", "create", "delete", "describe", "read", "remove_tags", "restore", "write"]


@none_if_missing
@api_call("describe a secret")
def describe(secrets: Any, name: str) -> dict[str, Any]:
    """DescribeSecret's answer; None when there is no such secret. One that waits for its deletion has DeletedDate."""
    found: dict[str, Any] = secrets.describe_secret(SecretId=name)
    return found


@none_if_missing
@api_call("read a secret")
def read(secrets: Any, name: str) -> str:
    """Its value as text; empty where it is binary, None where it has none yet."""
    return str(secrets.get_secret_value(SecretId=name).get("SecretString", ""))


@api_call("create a secret", repeatable=False)
def create(secrets: Any, name: str, value: str, *, description: str, tags: Mapping[str, str]) -> str:
    """The ARN of a new secret."""
    answer = secrets.create_secret(Name=name, SecretString=value, Description=description, Tags=tags_to_list(tags))
    return str(answer["ARN"])


@api_call("write a secret")
def write(secrets: Any, name: str, value: str) -> None:
    """Give it another value."""
    secrets.put_secret_value(SecretId=name, SecretString=value)


@api_call("restore a secret that waits for its deletion")
def restore(secrets: Any, name: str) -> None:
    """Keep it."""
    secrets.restore_secret(SecretId=name)


@none_if_missing
@api_call("delete a secret")
def delete(secrets: Any, name: str) -> None:
    """Delete it at once, with nothing to restore."""
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@api_call("tag a secret")
def add_tags(secrets: Any, name: str, to_set: Mapping[str, str]) -> None:
    """Set tags."""
    secrets.tag_resource(SecretId=name, Tags=tags_to_list(to_set))


@api_call("remove tags of a secret")
def remove_tags(secrets: Any, name: str, to_remove: list[str]) -> None:
    """Remove tags."""
    secrets.untag_resource(SecretId=name, TagKeys=to_remove)
