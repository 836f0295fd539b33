# SPDX-License-Identifier: GPL-3.0-or-later
"""authorize-claim: who gets a name with a claim certificate, and that nobody else does, whatever goes wrong."""

from __future__ import annotations

import importlib
import itertools
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from tests.unit.templates import template

ROOT = Path(__file__).parents[3]
PACKAGE = ("files/lambda/authorize_claim", "files/lambda/shared", "plugins/module_utils/_registry")
MODULES = ("aws", "rows", "known", "claim", "handler")
HOME, AWAY = "eu-west-1", "us-west-2"
MINE, OTHER = "a" * 64, "b" * 64
GIVEN_AGAIN = "2026-07-01T00:00:00Z"


class KilledError(BaseException):
    """The function's process ended at this moment."""


def packaged(region: str) -> SimpleNamespace:
    """The function's modules as they lie in its package in a region; other functions have modules of the same names."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"APPLICATION": "fleet", "AWS_REGION": region, "HOME_REGION": HOME}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "path", [*(str(ROOT / each) for each in PACKAGE), *sys.path])
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        loaded = {name: importlib.import_module(name) for name in MODULES}
        for name in MODULES:
            del sys.modules[name]
    return SimpleNamespace(**loaded)


class Cloud:
    """DynamoDB of both regions in memory. Nothing replicates but what a test puts into both."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self.calls: list[tuple[str, str]] = []
        self.away: set[str] = set()  # regions that do not answer
        self.unprocessed = False
        self.certificates: dict[tuple[str, str], str] = {}  # region and id: status in AWS IoT
        self.killed_at: tuple[int, bool] | None = None  # which call, and whether it took effect
        self.before_read = threading.Barrier(1)
        self.before_write = threading.Barrier(1)
        self._lock = threading.Lock()

    def put(self, table: str, key: str, region: str = "", **item: Any) -> None:
        """Put an item into a region's replica, or into both."""
        for each in [region] if region else [HOME, AWAY]:
            self.items.setdefault((each, f"fleet-{table}"), {})[key] = item

    def delete(self, thing: str, certificate: str = MINE, at: str = "2026-06-01T00:00:00Z", region: str = "") -> None:
        """Let a device have been deleted, which both regions have done, or one of them."""
        row = {"State": "DELETED", "UpdatedAt": at, "WriteId": at, "Certificates": {certificate: {"Status": "REVOKED"}}}
        self.put("device-inventory", thing, **row)
        self.put("device-status", thing, region, AppliedWriteId=at, ThingId="")

    def allowed(self, thing: str, region: str = HOME) -> dict[str, Any]:
        """The item of the allow-list."""
        return self.items.get((region, "fleet-allow-list"), {}).get(thing, {})

    @contextmanager
    def call(self, region: str, operation: str) -> Iterator[None]:
        """One call, which may not come through, or be the last thing that the function did."""
        with self._lock:
            self.calls.append((region, operation))
            number, took_effect = self.killed_at or (-1, False)
            if region in self.away:
                raise ConnectTimeoutError(endpoint_url=f"https://{region}")
            if len(self.calls) == number and not took_effect:
                raise KilledError
            yield
            if len(self.calls) == number:
                raise KilledError


@dataclass
class Client:
    """DynamoDB in a region, as the function of ``package`` calls it."""

    cloud: Cloud
    package: SimpleNamespace
    region: str

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        plain, typed, cloud = self.package.aws.plain, self.package.aws.typed, self.cloud
        assert all(each["ConsistentRead"] for each in RequestItems.values())
        cloud.before_read.wait(5)
        with cloud.call(self.region, "batch_get_item"):
            found = {
                table: [
                    typed({**plain(key), **cloud.items[self.region, table][next(iter(plain(key).values()))]})
                    for key in wanted["Keys"]
                    if next(iter(plain(key).values())) in cloud.items.get((self.region, table), {})
                ]
                for table, wanted in RequestItems.items()
            }
        return {"Responses": found, "UnprocessedKeys": {"fleet-revocations": {}} if cloud.unprocessed else {}}

    def update_item(self, TableName: str, Key: Any, ExpressionAttributeValues: Any, **_expressions: str) -> None:
        self.cloud.before_write.wait(5)
        values = self.package.aws.plain(ExpressionAttributeValues)
        with self.cloud.call(self.region, "update_item"):
            item = self.cloud.items.get((self.region, TableName), {}).get(Key["ThingName"]["S"])
            if item is None or "CertificateId" in item or item.get("ClaimedBy", values[":holder"]) != values[":holder"]:
                raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem")
            item |= {"ClaimedBy": values[":id"], "ClaimedAt": values[":now"], "ClaimedIn": values[":region"]}

    def describe_certificate(self, certificateId: str) -> dict[str, Any]:
        with self.cloud.call(self.region, "describe_certificate"):
            if (self.region, certificateId) not in self.cloud.certificates:
                raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "DescribeCertificate")
        return {"certificateDescription": {"status": self.cloud.certificates[self.region, certificateId]}}


@pytest.fixture(scope="module")
def packages() -> dict[str, SimpleNamespace]:
    return {region: packaged(region) for region in (HOME, AWAY)}


@pytest.fixture
def cloud(packages: dict[str, SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    made = Cloud()
    for package in packages.values():
        for module in (package.known, package.claim):
            monkeypatch.setattr(module, "aws", lambda _service, region, package=package: Client(made, package, region))
    made.put("allow-list", "lamp")
    yield made


@pytest.fixture
def ask(packages: dict[str, SimpleNamespace], cloud: Cloud) -> Any:
    """Whether a region's function lets a certificate have a name."""

    def allowed(certificate: Any = MINE, region: str = HOME, **parameters: Any) -> bool:
        event = {
            "claimCertificateId": "c" * 64, "certificateId": certificate, "certificatePem": "",
            "clientId": "claim.lamp",
            "templateArn": f"arn:aws:iot:{region}:123456789012:provisioningtemplate/fleet-claim",
            "parameters": parameters or {"SerialNumber": "lamp"},
        }  # fmt: skip
        answer = packages[region].handler.handler(event, None)
        assert set(answer) == {"allowProvisioning"}
        assert isinstance(answer["allowProvisioning"], bool)
        return bool(answer["allowProvisioning"])

    return allowed


# --- deny by default


@pytest.mark.parametrize("region", [HOME, AWAY])
def test_a_name_on_the_list_goes_to_the_certificate_that_asks_first(ask: Any, cloud: Cloud, region: str) -> None:
    assert ask(region=region)
    claimed = cloud.allowed("lamp")
    assert (claimed["ClaimedBy"], claimed["ClaimedIn"]) == (MINE, region)
    assert not ask(OTHER)
    assert not ask(OTHER, AWAY)
    assert cloud.allowed("lamp") == claimed


def test_a_device_that_asks_again_with_its_certificate_is_let_through(ask: Any, cloud: Cloud) -> None:
    assert ask()
    assert ask(region=AWAY)
    assert cloud.allowed("lamp")["ClaimedBy"] == MINE


def test_a_name_that_is_not_on_the_list_is_denied_and_not_put_on_it(ask: Any, cloud: Cloud) -> None:
    assert not ask(SerialNumber="stranger")
    assert cloud.allowed("stranger") == {}
    cloud.put("allow-list", "here-only", AWAY)
    assert not ask(region=AWAY, SerialNumber="here-only"), "the home region has not heard of it yet"


def test_without_an_allow_list_everybody_is_denied(ask: Any, cloud: Cloud) -> None:
    cloud.items.clear()
    assert not ask()


def test_a_name_of_which_the_list_names_the_certificate_is_none_for_a_claim(ask: Any, cloud: Cloud) -> None:
    cloud.put("allow-list", "lamp", CertificateId=MINE)
    assert not ask()


@pytest.mark.parametrize("where", [HOME, AWAY])
@pytest.mark.parametrize("key", ["thing:lamp", f"id:{MINE}"])
def test_what_is_revoked_is_denied(ask: Any, cloud: Cloud, key: str, where: str) -> None:
    """The home region's word counts everywhere, a region's own one there."""
    cloud.put("revocations", key, where, Reason="stolen")
    assert not ask(region=where)
    assert ask(region=AWAY if where == HOME else HOME) is (where == AWAY)


@pytest.mark.parametrize("state", ["ACTIVE", "SUSPENDED", "REVOKED", "DELETED"])
@pytest.mark.parametrize("where", [HOME, AWAY])
def test_a_name_that_a_device_has_is_denied(ask: Any, cloud: Cloud, state: str, where: str) -> None:
    row = {"State": state, "UpdatedAt": GIVEN_AGAIN, "WriteId": "x", "Certificates": {OTHER: {"Status": "ACTIVE"}}}
    cloud.put("device-inventory", "lamp", where, **row)
    assert not ask(region=where)
    assert "ClaimedBy" not in cloud.allowed("lamp")


@pytest.mark.parametrize(
    "parameters",
    [
        {"SerialNumber": ""},
        {"SerialNumber": "a b"},
        {"SerialNumber": "lamp\n"},
        {"SerialNumber": "../lamp"},
        {"SerialNumber": "x" * 129},
        {"SerialNumber": None},
        {"SerialNumber": 7},
        {"SerialNumber": ["lamp"]},
        {"ThingName": "lamp"},
        {"SerialNumber": "lamp", "ThingTypeName": "other"},
    ],
    ids=str,
)
def test_parameters_that_are_not_one_name_are_denied_before_anything_is_asked(
    ask: Any, cloud: Cloud, parameters: dict[str, Any]
) -> None:
    assert not ask(**parameters)
    assert cloud.calls == []


@pytest.mark.parametrize("certificate", [None, "", "A" * 64, "a" * 63, 7])
def test_a_request_without_a_certificate_is_denied(ask: Any, cloud: Cloud, certificate: Any) -> None:
    assert not ask(certificate)
    assert cloud.calls == []


@pytest.mark.parametrize("event", [{}, {"parameters": None}, {"parameters": []}], ids=str)
def test_an_event_that_is_none_is_denied(packages: dict[str, SimpleNamespace], event: dict[str, Any]) -> None:
    assert packages[HOME].handler.handler(event, None) == {"allowProvisioning": False}


# --- a name that is given again


def given_again(cloud: Cloud) -> None:
    cloud.put("allow-list", "lamp", GivenAgainAt=GIVEN_AGAIN)


def test_a_name_that_is_given_again_goes_to_one_more_certificate(ask: Any, cloud: Cloud) -> None:
    assert ask()
    given_again(cloud)
    assert ask(OTHER)
    assert not ask(MINE)


def test_the_name_of_a_deleted_device_is_free_only_once_it_is_given_again(ask: Any, cloud: Cloud) -> None:
    cloud.delete("lamp")
    assert not ask(OTHER)
    given_again(cloud)
    assert not ask(MINE), "the deleted device's own certificate"
    assert ask(OTHER)
    assert ask(OTHER), "a request that comes twice, before the row is there"


@pytest.mark.parametrize("at", [GIVEN_AGAIN, "2026-07-01T00:00:00.250Z", "2026-08-01T00:00:00Z"])
def test_a_device_that_was_deleted_after_its_name_was_given_again_does_not_come_back(
    ask: Any, cloud: Cloud, at: str
) -> None:
    given_again(cloud)
    cloud.delete("lamp", at=at)
    assert not ask(OTHER)
    cloud.put("allow-list", "lamp", GivenAgainAt="2026-08-01T00:00:01Z")
    assert ask(OTHER)


@pytest.mark.parametrize("region", [HOME, AWAY])
def test_a_name_waits_until_the_deleted_devices_thing_is_gone_from_the_region_that_is_asked(
    ask: Any, cloud: Cloud, region: str
) -> None:
    """AWS IoT would give the thing to the new device, and the deletion would take it away."""
    other = AWAY if region == HOME else HOME
    given_again(cloud)
    cloud.delete("lamp", region=other)
    for status in ({}, {"AppliedWriteId": "older", "ThingId": "t"}, {"AppliedWriteId": "older", "ThingId": ""}):
        cloud.put("device-status", "lamp", region, **status)
        assert not ask(OTHER, region)
        assert "ClaimedBy" not in cloud.allowed("lamp")
    assert ask(OTHER, other), "where it is gone"


@pytest.mark.parametrize("state", ["ACTIVE", "SUSPENDED", "REVOKED"])
def test_to_give_a_name_again_takes_it_from_no_device(ask: Any, cloud: Cloud, state: str) -> None:
    cloud.put("device-inventory", "lamp", State=state, Certificates={OTHER: {"Status": "ACTIVE"}})
    given_again(cloud)
    assert not ask()


# --- a device that is coming in


@pytest.mark.parametrize("certificates", [{}, {MINE: {"Status": "ACTIVE"}}], ids=["no certificate yet", "complete"])
def test_the_row_that_its_own_claim_made_does_not_stop_a_device_that_asks_again(
    ask: Any, cloud: Cloud, certificates: dict[str, Any]
) -> None:
    assert ask()
    cloud.put("device-inventory", "lamp", State="ACTIVE", Certificates=certificates)
    assert ask()
    assert not ask(OTHER)


@pytest.mark.parametrize(
    ("state", "status"),
    [("ACTIVE", "INACTIVE"), ("ACTIVE", "REVOKED"), ("SUSPENDED", "ACTIVE"), ("DELETED", "ACTIVE")],
)
def test_a_device_that_was_stopped_meanwhile_is_not_let_through_again(
    ask: Any, cloud: Cloud, state: str, status: str
) -> None:
    """AWS IoT would make its certificate active again."""
    assert ask()
    cloud.put("device-inventory", "lamp", State=state, Certificates={MINE: {"Status": status}})
    assert not ask()


def test_of_two_regions_at_once_one_gives_the_name(ask: Any, cloud: Cloud) -> None:
    """Both have found nothing against it when the first one writes."""
    for turn in range(20):
        cloud.put("allow-list", "lamp")
        cloud.before_write = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(ask, (MINE, OTHER), (HOME, AWAY)))
        assert sorted(answers) == [False, True], turn
        assert cloud.allowed("lamp")["ClaimedBy"] == (MINE, OTHER)[answers.index(True)]


@pytest.mark.parametrize("region", [HOME, AWAY])
def test_whoever_is_killed_at_any_step_leaves_what_the_device_can_ask_for_again(
    ask: Any, cloud: Cloud, region: str
) -> None:
    for number, took_effect in itertools.product(range(1, 4), (False, True)):
        cloud.put("allow-list", "lamp")
        cloud.calls.clear()
        cloud.killed_at = (number, took_effect)
        try:
            answered = ask(region=region)
        except KilledError:
            answered = False
        is_last = number > len(cloud.calls)
        cloud.killed_at = None
        assert answered is is_last
        assert ask(region=region), (number, took_effect)
        assert not ask(OTHER)


# --- a claim that came to nothing


def claimed_before(cloud: Cloud, minutes: float = 66, region: str = AWAY, **more: str) -> None:
    """The name was given to another certificate so long ago."""
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    claim = {"ClaimedBy": OTHER, "ClaimedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "ClaimedIn": region}
    cloud.put("allow-list", "lamp", **claim, **more)


@pytest.mark.parametrize("region", [HOME, AWAY])
@pytest.mark.parametrize("left", [None, "PENDING_ACTIVATION"], ids=["no certificate", "one that never was active"])
def test_a_name_whose_certificate_was_not_registered_while_its_token_lasted_goes_to_another_one(
    ask: Any, cloud: Cloud, left: str | None, region: str
) -> None:
    claimed_before(cloud)
    if left:
        cloud.certificates[AWAY, OTHER] = left
    assert ask(MINE, region)
    claimed = cloud.allowed("lamp")
    assert (claimed["ClaimedBy"], claimed["ClaimedIn"]) == (MINE, region)
    assert not ask(OTHER), "the hour begins again"


@pytest.mark.parametrize("status", ["ACTIVE", "INACTIVE", "REVOKED"])
def test_a_name_whose_certificate_was_registered_stays_its_own(ask: Any, cloud: Cloud, status: str) -> None:
    claimed_before(cloud, minutes=10**5)
    cloud.certificates[AWAY, OTHER] = status
    assert not ask(MINE)


def test_a_name_stays_its_certificates_as_long_as_that_can_be_registered(ask: Any, cloud: Cloud) -> None:
    claimed_before(cloud, minutes=64)
    assert not ask(MINE)


@pytest.mark.parametrize("where", [HOME, AWAY])
def test_a_name_that_has_a_device_stays_its_own_whatever_aws_iot_says(ask: Any, cloud: Cloud, where: str) -> None:
    claimed_before(cloud)
    cloud.put("device-inventory", "lamp", where, State="ACTIVE", Certificates={})
    assert not ask(MINE, where)


def test_a_name_given_again_whose_next_claim_came_to_nothing_is_free_too(ask: Any, cloud: Cloud) -> None:
    cloud.delete("lamp", "d" * 64)
    claimed_before(cloud)
    assert not ask(MINE)
    claimed_before(cloud, GivenAgainAt=GIVEN_AGAIN)
    assert ask(MINE)


def test_of_two_that_follow_at_once_one_gets_the_name(ask: Any, cloud: Cloud) -> None:
    for _turn in range(20):
        claimed_before(cloud)
        cloud.before_write = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(ask, (MINE, "c" * 64), (HOME, AWAY))) == [False, True]


# --- it fails closed


def test_while_the_home_region_is_away_nobody_gets_a_name(ask: Any, cloud: Cloud) -> None:
    cloud.away = {HOME}
    with pytest.raises(ConnectTimeoutError):
        ask(region=AWAY)
    cloud.away = set()
    assert ask(region=AWAY)


def test_an_answer_that_is_not_complete_is_none(ask: Any, cloud: Cloud) -> None:
    cloud.unprocessed = True
    with pytest.raises(Exception, match="eu-west-1: not answered: fleet-revocations"):
        ask()
    assert "ClaimedBy" not in cloud.allowed("lamp")


def test_while_the_region_of_a_claim_that_may_have_come_to_nothing_is_away_it_stands(ask: Any, cloud: Cloud) -> None:
    claimed_before(cloud)
    cloud.away = {AWAY}
    with pytest.raises(ConnectTimeoutError):
        ask(MINE)
    assert cloud.allowed("lamp")["ClaimedBy"] == OTHER


def test_the_function_is_stopped_before_aws_iot_stops_waiting_whatever_hangs(ask: Any, cloud: Cloud) -> None:
    """Each call is tried once, the reads at the same time. What is later than 5 s is denied."""
    claimed_before(cloud)
    cloud.before_read = threading.Barrier(2)  # neither comes through before the other one
    assert ask(region=AWAY)
    assert sorted(operation for _region, operation in cloud.calls) == [
        "batch_get_item", "batch_get_item", "describe_certificate", "update_item",
    ]  # fmt: skip
    properties = template("claims")["Resources"]["AuthorizeClaim"]["Properties"]
    environment = properties["Environment"]["Variables"]
    assert properties["Timeout"] == 5
    assert environment["AWS_MAX_ATTEMPTS"] == "1"
    longest = float(environment["AWS_CONNECT_TIMEOUT"]) + float(environment["AWS_READ_TIMEOUT"])
    assert 3 * longest <= 4.5, "the reads, the look at the certificate and the write, all of which may hang"
