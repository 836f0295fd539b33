# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection: files that a stack names, stored in its bucket under the hash of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, error_code

__all__ = ["Artifact", "Artifacts", "empty_bucket"]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A content with its object key, which names the content."""

    key: str
    content: bytes = field(repr=False)

    @classmethod
    def of(cls, *, name: str, content: bytes) -> Artifact:
        """The artifact of a content; ``name`` is the last part of its key."""
        return cls(key=f"{hashlib.sha256(content).hexdigest()}/{name}", content=content)

    def upload(self, client: Any, bucket: str) -> None:
        """Store it, unless the bucket has it: equal keys mean equal contents."""
        if not _exists(client, bucket, self.key):
            _put(client, bucket, self.key, self.content)


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """The artifacts of one stack: parameter of the template -> artifact (None: its file will be built)."""

    bucket: str | None
    items: Mapping[str, Artifact | None]

    @classmethod
    def read(cls, wanted: Sequence[Mapping[str, str]], *, bucket: str | None, missing_allowed: bool) -> Artifacts:
        """Read the files of the module's ``artifacts``.

        Raises:
            FleetError: no bucket, or a file that cannot be read.

        """
        if wanted and not bucket:
            raise FleetError("artifacts need artifact_bucket: name the bucket that holds them")
        items = {item["parameter"]: _read(Path(item["path"]), missing_allowed=missing_allowed) for item in wanted}
        return cls(bucket=bucket, items=items)

    def parameters(self) -> dict[str, str]:
        """The object keys by parameter."""
        return {name: item.key if item else "(known after the file is built)" for name, item in self.items.items()}

    def upload(self, client: Any) -> None:
        """Store what the bucket lacks."""
        for item in self.items.values():
            if item and self.bucket:
                item.upload(client, self.bucket)


def _read(path: Path, *, missing_allowed: bool) -> Artifact | None:
    try:
        return _artifact(path)
    except FileNotFoundError as error:
        if missing_allowed:
            return None
        raise FleetError(f"Artifact {path} does not exist: build it first") from error
    except OSError as error:
        raise FleetError(f"Cannot read artifact {path}: {error.strerror}") from error


def _artifact(path: Path) -> Artifact:
    """A YAML file becomes JSON: AWS's readers of definitions do not know YAML's aliases."""
    if path.suffix not in (".yaml", ".yml"):
        return Artifact.of(name=path.name, content=path.read_bytes())
    try:
        content = json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), separators=(",", ":"))
    except yaml.YAMLError as error:
        raise FleetError(f"Artifact {path} is not YAML: {' '.join(str(error).split())}") from error
    return Artifact.of(name=path.with_suffix(".json").name, content=content.encode())


def _exists(client: Any, bucket: str, key: str) -> bool:
    try:
        _head(client, bucket, key)
    except Exception as error:
        if error_code(error) in ("404", "NoSuchKey", "NotFound"):
            return False
        raise
    return True


@api_call("look for an artifact in the bucket")
def _head(client: Any, bucket: str, key: str) -> None:
    client.head_object(Bucket=bucket, Key=key)


@api_call("upload an artifact")
def _put(client: Any, bucket: str, key: str, content: bytes) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=content)


@api_call("empty the bucket")
def empty_bucket(client: Any, bucket: str) -> None:
    """Delete every object, version and delete marker of a bucket.

    Raises:
        FleetError: S3 refuses an object.

    """
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        objects = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
        if objects:
            answer = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            for error in answer.get("Errors", []):
                raise FleetError(f"Bucket {bucket} keeps {error['Key']}: {error.get('Message', error.get('Code'))}")
