"""No private key leaves its file: not in output, logs, facts, journal, stacks, tables or buckets."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet import REGIONS, Fleet, Overheard


def traces_of(key: Path) -> list[str]:
    """Texts that would betray this key: two lines out of its PEM body, and parts of its DER in hex."""
    body = [line for line in key.read_text().splitlines() if not line.startswith("-----")]
    der = base64.b64decode("".join(body)).hex()
    return [body[0], body[len(body) // 2], der[40:104], der[-64:].upper()]


def stored_texts(fleet: Fleet) -> Iterator[tuple[str, str]]:
    """Every text the account keeps that an operator or a service could read."""
    for region in REGIONS:
        cloudformation = fleet.sandbox.client("cloudformation", region)
        for stack in cloudformation.describe_stacks()["Stacks"]:
            yield f"stack {stack['StackName']}", str(stack)
            yield f"template {stack['StackName']}", str(cloudformation.get_template(StackName=stack["StackName"]))
        dynamodb = fleet.sandbox.client("dynamodb", region)
        for table in dynamodb.list_tables()["TableNames"]:
            yield f"table {table}", str(dynamodb.scan(TableName=table)["Items"])
    s3 = fleet.sandbox.client("s3", REGIONS[0])
    for bucket in s3.list_buckets()["Buckets"]:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
            for entry in page.get("Contents", []):
                body = s3.get_object(Bucket=bucket["Name"], Key=entry["Key"])["Body"].read()
                yield f"object {entry['Key']}", body.decode("latin-1")


@pytest.mark.defect("S1-37")
def test_keys_stay_in_their_files(overheard: Overheard) -> None:
    fleet = overheard.fleet
    keys = sorted(fleet.pki.rglob("*.key.pem"))
    assert len(keys) >= 4, "root, issuing CA, server and canary at least"

    texts = [("output", overheard.output), *stored_texts(fleet)]
    directory = Path(fleet.sandbox.directory)
    texts += [(path.name, path.read_text(errors="replace")) for path in directory.glob("*") if path.is_file()]
    for key in keys:
        assert key.stat().st_mode & 0o777 == 0o600, key
        assert key.parent.stat().st_mode & 0o077 == 0, key.parent
        for trace in traces_of(key):
            leaks = [name for name, text in texts if trace in text]
            assert not leaks, f"{key.name} shows in {leaks}"


def test_the_search_would_find_a_key(fleet: Fleet) -> None:
    key = next(fleet.pki.rglob("server.key.pem"))
    assert all(
        trace.lower() in (key.read_text() + base64.b64decode("".join(key.read_text().splitlines()[1:-1])).hex()).lower()
        for trace in traces_of(key)
    )


def test_state_of_the_sandbox_is_for_its_owner_only(fleet: Fleet) -> None:
    state = Path(fleet.sandbox.directory) / "state"
    files = [path for path in state.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if path.stat().st_mode & 0o077] == []
