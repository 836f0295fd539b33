# SPDX-License-Identifier: GPL-3.0-or-later
"""The function provision-device in this process, over AWS in memory, and devices that ask it."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tests.certificates import issue, new_key

ROOT = Path(__file__).parents[1]
PACKAGE = (
    ROOT / "files/lambda/provision_device",
    ROOT / "files/lambda/shared",
    ROOT / "plugins/module_utils/_registry",
    ROOT / "plugins/module_utils/_geography",
)
MODULES = (
    "aws", "rows", "rotation", "rows_table", "csr", "signing", "countries", "regions", "choosing", "location",
    "answers", "proofs", "asked", "claims", "cloud_keys", "devices", "offered", "v1", "s2", "provisioning", "handler",
)  # fmt: skip
HOME, AWAY, FAR = "eu-west-1", "us-east-1", "ap-southeast-2"
REGIONS = (HOME, AWAY, FAR)
TABLE, ZONE, DOMAIN = "iot-global-provisioning", "Z1", "iot.example.com"
ENVIRONMENT = {
    "APPLICATION": "fleet", "AWS_REGION": AWAY, "TABLE": TABLE, "HOME_REGION": HOME, "DOMAIN_NAME": DOMAIN,
    "HOSTED_ZONE_ID": ZONE, "CLAIM_SECONDS": "60", "WAIT_SECONDS": "0", "LIFETIME_DAYS": "365",
    "GRACE_SECONDS": "86400", "CLOUD_KEYS": "refused", "EDGE_ONLY": "false", "LOCATION_SOURCES": "database",
}  # fmt: skip
RULES = {"regions": list(REGIONS), "default_region": HOME, "countries": {"KP": [], "CN": [FAR]}}
FUNCTION_ARN = f"arn:aws:lambda:{AWAY}:123456789012:function:fleet-provision-device"
V1, S2 = "POST /v1/device-provisioning", "POST /test/device-provisioning"
SHARED_KEY = new_key("rsa")
AMERICA, EUROPE, AUSTRALIA, CHINA, KOREA = "8.8.8.8", "193.99.144.80", "1.1.1.1", "114.114.114.114", "175.45.176.1"


class KilledError(BaseException):
    """The function's process ended at this moment."""


@contextmanager
def packaged(directory: Path) -> Iterator[SimpleNamespace]:
    """The function's modules as they lie in its package; other functions have modules of the same names."""
    (directory / "choice.json").write_text(json.dumps(RULES))
    (directory / "compatible.pub.pem").write_text(public_pem(SHARED_KEY))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setattr(sys, "path", [*map(str, PACKAGE), *sys.path])
        with_name = Path.with_name
        made = {name: directory / name for name in ("choice.json", "compatible.pub.pem")}
        patch.setattr(Path, "with_name", lambda self, name: made.get(name) or with_name(self, name))
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        loaded = {name: importlib.import_module(name) for name in MODULES}
        for name in MODULES:
            del sys.modules[name]
        yield SimpleNamespace(**loaded)


class Cloud:
    """AWS as the function meets it. ``calls`` are its calls so far, as (region, operation)."""

    def __init__(self, package: SimpleNamespace) -> None:
        self._package, self._lock = package, threading.RLock()
        self.ca = issue("Demo Issuing CA", ca=True, key=new_key())
        self.list: dict[str, dict[str, Any]] = {}
        self.tables: dict[tuple[str, str], dict[str, Any]] = {}
        self.away: set[str] = set()  # regions that do not answer
        self.published, self.failing = set(REGIONS), set[str]()
        self.converges = True
        self.calls: list[tuple[str, str]] = []
        self.killed_at: tuple[int, bool] | None = None  # which call, and whether it took effect

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of AWS."""
        for name in MODULES[3:]:
            module = getattr(self._package, name)
            if hasattr(module, "aws"):
                monkeypatch.setattr(module, "aws", self.client)
            if hasattr(module, "pages"):
                monkeypatch.setattr(module, "pages", self.pages)
        monkeypatch.setattr(self._package.offered, "_known", [])
        monkeypatch.setattr(self._package.location, "_secrets", {})
        self._package.devices.endpoint.cache_clear()

    def client(self, service: str, region: str | None = None) -> Any:
        """A client of that region, whose operations are the methods below."""
        return _Client(self, region or AWAY)

    def carry_out(self, region: str, operation: str, arguments: dict[str, Any]) -> Any:
        """One call."""
        with self._lock:
            self.calls.append((region, operation))
            number, took_effect = self.killed_at or (-1, False)
            if len(self.calls) == number and not took_effect:
                raise KilledError
            if region in self.away:
                raise ConnectTimeoutError(endpoint_url=f"https://{region}")
            answer = getattr(self, operation)(region, **arguments)
            if len(self.calls) == number:
                raise KilledError
            return answer

    def row(self, region: str, thing: str) -> dict[str, Any]:
        """The row in a region; only where it was written, since nothing replicates here."""
        return dict(self.tables.get((region, "fleet-device-inventory"), {}).get(thing, {}))

    def rows(self) -> list[tuple[str, str]]:
        """Region and thing of all rows."""
        return [
            (region, thing)
            for (region, table), items in self.tables.items()
            for thing in items
            if table == "fleet-device-inventory"
        ]

    # --- operations

    def get_item(self, region: str, TableName: str, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        assert ConsistentRead
        [key] = self._package.aws.plain(Key).values()
        items = self._items(region, TableName)
        return {"Item": self._package.aws.typed(items[key])} if key in items else {}

    def put_item(self, region: str, TableName: str, Item: dict[str, Any], **condition: Any) -> None:
        item = self._package.aws.plain(Item)
        key = item.get("thing_name") or item["ThingName"]
        items = self._items(region, TableName)
        if not _holds(items.get(key), condition, self._package.aws.plain):
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "PutItem")
        items[key] = item

    def start_execution(self, region: str, stateMachineArn: str, input: str) -> None:  # noqa: A002
        assert stateMachineArn == f"arn:aws:states:{region}:123456789012:stateMachine:fleet-converge-device"
        thing = json.loads(input)["ThingName"]
        if self.converges:
            status = {"ThingName": thing, "AppliedWriteId": self.row(region, thing)["WriteId"]}
            self._items(region, "fleet-device-status")[thing] = status

    def describe_endpoint(self, region: str, endpointType: str) -> dict[str, str]:
        assert endpointType == "iot:Data-ATS"
        return {"endpointAddress": f"a1-ats.iot.{region}.amazonaws.com"}

    def get_secret_value(self, region: str, SecretId: str) -> dict[str, str]:
        found = {"fleet-issuing-ca": self.ca.key_pem() + self.ca.pem, "fleet-provisioning-edge": "edge-secret"}
        return {"SecretString": found[SecretId]}

    def get_metric_data(self, region: str, MetricDataQueries: list[Any], **when: Any) -> dict[str, Any]:
        assert region == "us-east-1"
        assert when["EndTime"] - when["StartTime"] == timedelta(minutes=5)
        times, results = [when["EndTime"] - timedelta(minutes=age) for age in (3, 1, 2)], []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            assert (metric["Namespace"], metric["MetricName"]) == ("AWS/Route53", "HealthCheckStatus")
            [check] = [each["Value"] for each in metric["Dimensions"]]
            values = [1.0, 0.0, 1.0] if check in self.failing else [0.0, 1.0, 0.0]
            results.append({"Id": query["Id"], "Timestamps": times, "Values": values})
        return {"MetricDataResults": results}

    def pages(self, service: str, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """All pages of a listing."""
        assert service == "route53"
        yield self.carry_out(AWAY, operation, arguments)

    def list_resource_record_sets(self, region: str, **zone: str) -> dict[str, Any]:
        assert zone == {"HostedZoneId": ZONE, "StartRecordName": f"{DOMAIN}.", "StartRecordType": "CNAME"}
        records = []
        for each in sorted(self.published):
            records.append({"Name": f"{DOMAIN}.", "Type": "CNAME", "Region": each, "HealthCheckId": each})
        other = {"Name": f"x.{DOMAIN}.", "Type": "CNAME", "Region": "eu-west-2"}
        return {"ResourceRecordSets": [*records, other]}

    def _items(self, region: str, table: str) -> dict[str, Any]:
        if table == TABLE:
            assert region == HOME, "the list is in one region"
            return self.list
        return self.tables.setdefault((region, table), {})


class _Client:
    def __init__(self, cloud: Cloud, region: str) -> None:
        self._cloud, self._region = cloud, region

    def __getattr__(self, operation: str) -> Any:
        return lambda **arguments: self._cloud.carry_out(self._region, operation, arguments)


def _holds(old: dict[str, Any] | None, condition: dict[str, Any], plain: Any) -> bool:
    expression = condition.get("ConditionExpression", "")
    read = plain(condition.get("ExpressionAttributeValues", {})).get(":read")
    held: dict[str, bool] = {
        "": True,
        "attribute_not_exists(WriteId)": not old,
        "WriteId = :read": bool(old) and old.get("WriteId") == read,
        "revision = :read": bool(old) and old.get("revision") == read,
        "attribute_not_exists(thing_name)": not old,
        "attribute_exists(thing_name) AND attribute_not_exists(revision)": bool(old) and "revision" not in old,
    }
    return held[expression]


# --- devices


class Device:
    """A device that is on the list, with a key of its own."""

    def __init__(self, thing: str = "lamp", key: Any = None) -> None:
        self.thing, self.key = thing, key or new_key()

    def item(self, **changes: Any) -> dict[str, Any]:
        """What the list has of it; what is None it has not."""
        item = {
            "thing_name": self.thing, "prov_status": "unprovisioned", "public_key": public_pem(self.key), "revision": 1,
            **changes,
        }  # fmt: skip
        return {name: value for name, value in item.items() if value is not None}

    def request(self, **changes: Any) -> dict[str, Any]:
        """A request of the fleet's own protocol; a member of None is left out. What is changed is signed as it is."""
        asked = {
            "thingName": self.thing, "nonce": secrets.token_urlsafe(18), "timestamp": int(time.time()),
            "csr": csr(self.key, self.thing), **changes,
        }  # fmt: skip
        text = "\n".join((
            "iotops-provisioning-v1", str(asked["thingName"]), str(asked["nonce"]), str(asked["timestamp"]),
            hashlib.sha256(str(asked["csr"] or "").encode(errors="replace")).hexdigest(),
        ))  # fmt: skip
        asked.setdefault("signature", base64.b64encode(sign(self.key, text.encode(errors="replace"))).decode())
        return {name: value for name, value in asked.items() if value is not None}

    def old_request(self, **changes: Any) -> dict[str, Any]:
        """A request of the protocol with a key for all."""
        signature = base64.b64encode(sign(SHARED_KEY, self.thing.encode())).decode()
        asked = {"thing-name": self.thing, "thing-name-sig": signature, "CSR": csr(self.key, self.thing), **changes}
        return {name: value for name, value in asked.items() if value is not None}


def sign(key: Any, text: bytes) -> bytes:
    """A device's signature."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(text, ec.ECDSA(hashes.SHA256()))
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return key.sign(text)


def public_pem(key: Any) -> str:
    """The public half, as the list has it."""
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def csr(key: Any, name: str) -> str:
    """A certificate signing request."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, digest)
    return request.public_bytes(Encoding.PEM).decode()


def event(body: Any, *, route: str = V1, source: str = EUROPE, **headers: str) -> dict[str, Any]:
    """An event of an HTTP API in payload format 2.0; a body that is no text is sent as JSON."""
    return {
        "version": "2.0", "routeKey": route, "body": body if isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False, "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "requestContext": {"http": {"sourceIp": source}, "requestId": "r1"},
    }  # fmt: skip


def ask(package: SimpleNamespace, sent: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, members of the answer, and headers."""
    answer = package.handler.handler(sent, SimpleNamespace(invoked_function_arn=FUNCTION_ARN))
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"]
