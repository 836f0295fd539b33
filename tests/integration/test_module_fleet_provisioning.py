# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices may ask the provisioning API for a certificate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ansible_collections.iotops.fleet.plugins.module_utils._provisioning.entries import fingerprint
from tests.integration.modules import Region
from tests.integration.operators import four_times

TABLE = "asking-global-provisioning"
LATER, BEFORE = int(time.time()) + 3600, int(time.time()) - 1


def public(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


KEY = ec.generate_private_key(ec.SECP256R1())
ONE, OTHER = public(KEY), public(ec.generate_private_key(ec.SECP384R1()))
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
SHORT = public(rsa.generate_private_key(65537, 1024))  # noqa: S505  # what is refused


@pytest.fixture(scope="module", autouse=True)
def _table(region: Region) -> None:
    region.client("dynamodb").create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "thing_name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "thing_name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.fixture(autouse=True)
def _empty(region: Region) -> None:
    dynamodb = region.client("dynamodb")
    for name in items(region):
        dynamodb.delete_item(TableName=TABLE, Key={"thing_name": {"S": name}})


def items(region: Region) -> dict[str, dict[str, Any]]:
    """Every item in DynamoDB's values, by name."""
    found = region.client("dynamodb").scan(TableName=TABLE, ConsistentRead=True)["Items"]
    return {item["thing_name"]["S"]: item for item in found}


def put(region: Region, name: str, status: str, until: int = 0, **more: Any) -> None:
    """An item as the function leaves it."""
    claim = {"certificate_id": {"S": "c" * 64}, "until": {"N": str(until)}}
    item = {
        "thing_name": {"S": name},
        "prov_status": {"S": status},
        "revision": {"N": "7"},
        **({"claim": {"M": claim}, "aws_region": {"S": "us-east-1"}} if until else {}),
        **more,
    }
    region.client("dynamodb").put_item(TableName=TABLE, Item=item)


def provisioning(region: Region, **wanted: Any) -> dict[str, Any]:
    """The matrix of one change; the answer of the real run."""
    return four_times(
        lambda check: region.run("fleet_provisioning", check=check, table=TABLE, **wanted), lambda: items(region)
    )["provisioning"]


def test_names_come_onto_the_list_with_their_keys(region: Region) -> None:
    wanted = ["plain", {"thing_name": "keyed", "public_key": ONE}]
    assert provisioning(region, devices=wanted) == {"named": 2, "changed": 2, "in_progress": 0}
    assert items(region) == {
        "plain": {"thing_name": {"S": "plain"}, "prov_status": {"S": "unprovisioned"}, "revision": {"N": "1"}},
        "keyed": {
            "thing_name": {"S": "keyed"},
            "prov_status": {"S": "unprovisioned"},
            "revision": {"N": "1"},
            "public_key": {"S": ONE},
        },
    }


def test_only_another_key_changes_a_device_that_is_there(region: Region) -> None:
    put(region, "done", "provisioned", BEFORE, public_key={"S": ONE})
    put(region, "busy", "provisioning", LATER, public_key={"S": ONE})
    before = items(region)
    wanted = [{"thing_name": "done", "public_key": OTHER}, {"thing_name": "busy", "public_key": ONE + "\n"}, "done2"]
    put(region, "done2", "provisioned", BEFORE, public_key={"S": ONE})
    assert provisioning(region, devices=wanted) == {"named": 3, "changed": 1, "in_progress": 0}
    after = items(region)
    assert after["busy"] == before["busy"]
    assert after["done"] == {**before["done"], "public_key": {"S": OTHER}, "revision": {"N": "8"}}


def test_an_item_of_the_earlier_system_gets_a_key_and_keeps_what_it_has(region: Region) -> None:
    old = {"thing_name": {"S": "old"}, "prov_status": {"S": "unprovisioned"}, "tags": {"SS": ["a", "b"]}}
    region.client("dynamodb").put_item(TableName=TABLE, Item=old)
    provisioning(region, devices=[{"thing_name": "old", "public_key": ONE}])
    assert items(region)["old"] == {**old, "public_key": {"S": ONE}, "revision": {"N": "1"}}


def test_names_go_from_the_list(region: Region) -> None:
    put(region, "free", "unprovisioned")
    put(region, "done", "provisioned", BEFORE)
    put(region, "stays", "unprovisioned")
    wanted = ["free", "done", "unknown"]
    assert provisioning(region, devices=wanted, state="absent") == {"named": 3, "changed": 2, "in_progress": 0}
    assert list(items(region)) == ["stays"]


@pytest.mark.parametrize(("state", "touched"), [("released", "hanging"), ("reset", "done")], ids=["released", "reset"])
def test_a_name_is_given_back_and_no_other_one(region: Region, state: str, touched: str) -> None:
    put(region, "hanging", "provisioning", BEFORE, public_key={"S": ONE})
    put(region, "done", "provisioned", BEFORE, public_key={"S": ONE}, prov_datetime={"S": "2026-01-01T00:00:00"})
    put(region, "free", "unprovisioned")
    before = items(region)
    wanted = ["hanging", "done", "free"]
    assert provisioning(region, devices=wanted, state=state)["changed"] == 1
    assert items(region) == {
        **before,
        touched: {
            "thing_name": {"S": touched},
            "prov_status": {"S": "unprovisioned"},
            "public_key": {"S": ONE},
            "revision": {"N": "8"},
        },
    }


@pytest.mark.parametrize(("state", "status"), [("released", "provisioning"), ("reset", "provisioned")])
def test_a_name_is_given_back_to_the_key_that_comes_with_it(region: Region, state: str, status: str) -> None:
    put(region, "lost", status, BEFORE, public_key={"S": ONE})
    wanted = [{"thing_name": "lost", "public_key": OTHER}]
    assert provisioning(region, devices=wanted, state=state)["changed"] == 1
    assert items(region)["lost"] == {
        "thing_name": {"S": "lost"},
        "prov_status": {"S": "unprovisioned"},
        "public_key": {"S": OTHER},
        "revision": {"N": "8"},
    }


@pytest.mark.parametrize(("state", "status"), [("released", "provisioning"), ("reset", "provisioned")])
def test_who_is_not_on_the_list_cannot_be_given_back_and_the_rest_is_done(
    region: Region, state: str, status: str
) -> None:
    put(region, "known", status, BEFORE)
    wanted = ["known", *(f"typo-{number}" for number in range(7))]
    for check, left in ((True, status), (False, "unprovisioned"), (True, "unprovisioned")):
        message = region.refusal("fleet_provisioning", check=check, table=TABLE, devices=wanted, state=state)
        assert message.startswith("typo-0, typo-1, typo-2, typo-3, typo-4 and 2 more are not on the list: correct")
        assert items(region)["known"]["prov_status"] == {"S": left}
    assert list(items(region)) == ["known"]


@pytest.mark.parametrize("state", ["absent", "released"])
def test_a_claim_that_is_being_granted_stays_and_the_rest_is_done(region: Region, state: str) -> None:
    put(region, "busy", "provisioning", LATER)
    put(region, "hanging", "provisioning", BEFORE)
    before = items(region)
    message = region.refusal("fleet_provisioning", table=TABLE, devices=["busy", "hanging"], state=state)
    assert message.startswith("busy and 0 more are being granted a request, and stay as they are")
    after = items(region)
    assert after["busy"] == before["busy"]
    assert after.get("hanging", {}).get("prov_status") in (None, {"S": "unprovisioned"})


def test_a_write_of_the_function_in_between_is_not_lost(
    region: Region, sandbox_only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module reads, then the function takes the name, then the module writes."""
    from ansible_collections.iotops.fleet.plugins.module_utils._provisioning import table

    put(region, "raced", "provisioned", BEFORE)
    write, races = table.write, iter([True])

    def raced(client: Any, name: str, change: Any) -> bool:
        if next(races, False):
            put(region, "raced", "provisioning", LATER, revision={"N": "8"})
        return bool(write(client, name, change))

    monkeypatch.setattr(table, "write", raced)
    region.run("fleet_provisioning", table=TABLE, devices=["raced"], state="absent")
    assert items(region)["raced"]["prov_status"] == {"S": "provisioning"}


def test_a_batch_from_a_file_although_dynamodb_throttles(region: Region, sandbox_only: Any, tmp_path: Path) -> None:
    batch = tmp_path / "batch.csv"
    names = [f"batch-{number}" for number in range(110)]
    lines = [f'{name},"{ONE}"' if number % 2 else name for number, name in enumerate(names)]
    batch.write_text("thing_name,public_key\n# made on Monday\n\n" + "\n".join(lines))
    sandbox_only.fault(region=region.name, service="dynamodb", operation="PutItem", effect="throttle", times=2)
    real = region.run("fleet_provisioning", table=TABLE, path=str(batch))
    assert real["provisioning"] == {"named": 110, "changed": 110, "in_progress": 0}
    listed = region.run("fleet_provisioning_info", table=TABLE)["devices"]
    assert [each["thing_name"] for each in listed] == sorted(names)
    assert {each["public_key_sha256"] for each in listed} == {"", fingerprint(ONE)}


def test_the_list_tells_what_a_device_was_given(region: Region) -> None:
    put(region, "done", "provisioned", BEFORE, prov_datetime={"S": "2026-01-01T00:00:00"})
    put(region, "busy", "provisioning", LATER)
    put(region, "regions#health", "")
    done, busy = (
        region.run("fleet_provisioning_info", table=TABLE, status=status)["devices"]
        for status in ("provisioned", "provisioning")
    )
    assert done == [
        {
            "thing_name": "done",
            "status": "provisioned",
            "region": "us-east-1",
            "provisioned_at": "2026-01-01T00:00:00",
            "public_key_sha256": "",
            "certificate_id": "c" * 64,
            "claimed_until": 0,
        }
    ]
    assert [(each["thing_name"], each["claimed_until"]) for each in busy] == [("busy", LATER)]
    named = region.run("fleet_provisioning_info", table=TABLE, names=["done", "unknown"])["devices"]
    assert named == done
    assert len(region.run("fleet_provisioning_info", table=TABLE)["devices"]) == 2


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"devices": ["a", "b c"]}, "devices, entry 2: 'b c' is no name of a device"),
        ({"devices": [{"thing_name": "a", "key": "x"}]}, "devices, entry 1: has thing_name, key; give thing_name"),
        ({"devices": [{"thing_name": "a", "public_key": "x"}]}, "devices, entry 1: the key is no public key in PEM"),
        ({"devices": [{"thing_name": "a", "public_key": PRIVATE}]}, "devices, entry 1: the key is no public key in"),
        ({"devices": [{"thing_name": "a", "public_key": SHORT}]}, "devices, entry 1: the key is not suitable; give an"),
        ({"devices": ["a", {"thing_name": "a", "public_key": ONE}]}, "devices, entry 2: a has another key than before"),
        ({"path": "/nowhere"}, "path: cannot read /nowhere"),
        ({"devices": ["a"], "threads": 0}, "threads=0 is less than 1"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(region: Region, wanted: dict[str, Any], message: str) -> None:
    assert region.refusal("fleet_provisioning", table=TABLE, **wanted).startswith(message)


def test_a_key_without_quotes_is_refused_in_one_line(region: Region, tmp_path: Path) -> None:
    batch = tmp_path / "batch.csv"
    batch.write_text(f"a,{ONE}")
    assert "the key is no public key in PEM form" in region.refusal("fleet_provisioning", table=TABLE, path=str(batch))


def test_without_the_table_the_remedy_is_named(region: Region) -> None:
    answer = region.refusal("fleet_provisioning", table="nobodys", devices=["a"])
    assert answer == f"table=nobodys is not in {region.name}: run playbooks/provisioning_api.yml first"
    predicted = region.run("fleet_provisioning", check=True, table="nobodys", devices=["a"])
    assert predicted["provisioning"]["changed"] == 1
    assert region.run("fleet_provisioning_info", table="nobodys")["devices"] == []
