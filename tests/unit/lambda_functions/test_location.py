# SPDX-License-Identifier: GPL-3.0-or-later
"""provision-device: where a device is, by what is true of its connection and nothing that it can make up."""

from __future__ import annotations

import importlib
import json
import math
import ssl
import struct
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.certificates import Issued, issue

ROOT = Path(__file__).parents[3]
PACKAGE = (
    ROOT / "files/lambda/provision_device",
    ROOT / "files/lambda/shared",
    ROOT / "plugins/module_utils/_geography",
)
MODULES = ("aws", "regions", "countries", "choosing", "location")
ALL = ("edge", "database", "ipstack")
# In GeoLite2 of December 2019: universities in Minnesota and Tokyo, a Japanese backbone, a network in Frankfurt.
MINNESOTA, TOKYO, JAPAN_6, FRANKFURT_6 = "128.101.101.101", "133.11.0.1", "2001:200::1", "2a00:1450:4001::1"
EUROPE, NOWHERE = "2.16.0.1", "23.128.130.1"  # a continent and a place without a country; registered, but nowhere
SECRET, KEY = "the-edge-alone-knows-this", "0123456789-the-key"
LISBON = {
    "cloudfront-viewer-latitude": "38.72",
    "cloudfront-viewer-longitude": "-9.14",
    "cloudfront-viewer-country": "PT",
}
PROOF = {"x-origin-verify": SECRET}
ANSWER = {"latitude": 1.35, "longitude": 103.82, "country_code": "SG", "continent_code": "AS"}


class Secrets:
    """Secrets Manager: what it has, and what was read."""

    def __init__(self) -> None:
        self.texts: dict[str, str | Exception] = {"fleet-provisioning-edge": SECRET, "fleet-ipstack": f"{KEY}\n"}
        self.read: list[str] = []

    def __call__(self, service: str) -> Secrets:
        assert service == "secretsmanager"
        return self

    def get_secret_value(self, SecretId: str) -> dict[str, str]:
        self.read.append(SecretId)
        text = self.texts.get(SecretId, ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "any"))
        if isinstance(text, Exception):
            raise text
        return {"SecretString": text}


@pytest.fixture(scope="module")
def package() -> Iterator[SimpleNamespace]:
    """The modules as they lie beside the handler."""
    with pytest.MonkeyPatch.context() as patch:
        for path in PACKAGE:
            patch.syspath_prepend(str(path))
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        loaded = {name: importlib.import_module(name) for name in MODULES}
        for name in MODULES:
            del sys.modules[name]
        yield SimpleNamespace(**loaded)


@pytest.fixture
def location(package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("APPLICATION", "fleet")
    monkeypatch.setattr(package.location, "_secrets", {})
    package.location._database.cache_clear()
    return package.location


@pytest.fixture
def secrets(location: Any, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    made = Secrets()
    monkeypatch.setattr(location, "aws", made)
    return made


def event(address: str = MINNESOTA, **headers: str) -> dict[str, Any]:
    """A request as API Gateway hands it over, of payload format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "POST /v1/device-provisioning",
        "headers": {"content-type": "application/json", "x-forwarded-for": address, **headers},
        "requestContext": {"http": {"method": "POST", "sourceIp": address}},
    }


# --- what a device may make up


@pytest.mark.defect("S2-4")
@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": TOKYO},
        {"x-forwarded-for": f"{TOKYO}, {MINNESOTA}"},
        {"X-Forwarded-For": TOKYO, "x-real-ip": TOKYO, "forwarded": f"for={TOKYO}", "true-client-ip": TOKYO},
        {"cloudfront-viewer-address": f"{TOKYO}:443"},
        LISBON,
    ],
)
def test_what_a_device_says_of_its_place_changes_nothing(
    location: Any, secrets: Secrets, headers: dict[str, str]
) -> None:
    found = location.locate(event(**headers), ALL)
    assert found == location.locate(event(), ALL)
    assert (found.latitude, found.longitude, found.country) == (44.9402, -93.2188, "US")
    assert secrets.read == []


# --- edge


def test_the_edge_tells_where_its_viewer_is(location: Any, secrets: Secrets) -> None:
    found = location.locate(event(**LISBON, **PROOF), ALL)
    assert (found.latitude, found.longitude, found.country, found.continent) == (38.72, -9.14, "PT", "")
    assert secrets.read == ["fleet-provisioning-edge"]


@pytest.mark.parametrize(
    "proof", ["", "wrong", SECRET[:-1], SECRET + "x", SECRET.upper(), f"{SECRET},{SECRET}", "gehëim"]
)
def test_who_does_not_prove_to_be_the_edge_is_nowhere(
    location: Any, secrets: Secrets, caplog: pytest.LogCaptureFixture, proof: str
) -> None:
    """Not by its address either: behind an edge whose secret is being changed, that is the edge's."""
    assert location.locate(event(**LISBON, **{"x-origin-verify": proof}), ALL) is None
    assert SECRET not in caplog.text


def test_the_proof_is_compared_in_constant_time(
    location: Any, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(location.hmac, "compare_digest", lambda *pair: compared.append(pair))
    assert location.locate(event(**LISBON, **PROOF), ALL) is None
    assert compared == [(SECRET.encode(), SECRET.encode())]


@pytest.mark.parametrize("text", ["", " \n", ClientError({"Error": {"Code": "AccessDeniedException"}}, "any")])
def test_without_a_secret_nobody_is_the_edge(location: Any, secrets: Secrets, text: str | Exception) -> None:
    secrets.texts["fleet-provisioning-edge"] = text
    assert location.locate(event(**LISBON, **{"x-origin-verify": ""}), ALL) is None


def test_where_no_edge_is_expected_its_headers_count_for_nothing(location: Any, secrets: Secrets) -> None:
    assert location.locate(event(**LISBON, **PROOF), ("database",)).country == "US"
    assert secrets.read == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latitude", "nan"), ("latitude", "inf"), ("latitude", "91"), ("latitude", "-90.01"), ("latitude", ""),
        ("latitude", "north"), ("latitude", "38.72,38.72"), ("latitude", "1e999"), ("longitude", "180.1"),
        ("longitude", "NaN"), ("longitude", "-9°"), ("longitude", "0x9"), ("longitude", None),
    ],
)  # fmt: skip
def test_a_position_that_cannot_be_is_unknown(location: Any, secrets: Secrets, name: str, value: str | None) -> None:
    headers = {**LISBON, **PROOF, f"cloudfront-viewer-{name}": value}
    headers = {key: each for key, each in headers.items() if each is not None}
    found = location.locate(event(**headers), ALL)
    assert (found.latitude, found.longitude, found.country) == (None, None, "PT")
    del headers["cloudfront-viewer-country"]
    assert location.locate(event(**headers), ALL) is None


@pytest.mark.parametrize("country", ["", "pt", "XX", "T1", "Portugal", "PT,ES"])
def test_a_country_that_is_none_is_unknown(location: Any, secrets: Secrets, country: str) -> None:
    found = location.locate(event(**{**LISBON, **PROOF, "cloudfront-viewer-country": country}), ALL)
    assert (found.latitude, found.country) == (38.72, "")


def test_a_secret_is_read_once_a_minute(location: Any, secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(location, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for at in (1000.0, 1030.0, 1059.0):
        now[0] = at
        assert location.locate(event(**LISBON, **PROOF), ALL)
    assert len(secrets.read) == 1
    secrets.texts["fleet-provisioning-edge"] = "another"
    now[0] = 1061.0
    assert location.locate(event(**LISBON, **PROOF), ALL) is None
    assert location.locate(event(**LISBON, **{"x-origin-verify": "another"}), ALL)
    assert len(secrets.read) == 2


# --- database


@pytest.mark.parametrize(
    ("address", "latitude", "longitude", "country", "continent"),
    [
        (MINNESOTA, 44.9402, -93.2188, "US", "NA"),
        (TOKYO, 35.7174, 139.7473, "JP", "AS"),
        (f"::ffff:{TOKYO}", 35.7174, 139.7473, "JP", "AS"),
        (JAPAN_6, 35.5598, 139.6484, "JP", "AS"),
        (FRANKFURT_6, 50.1188, 8.6843, "DE", "EU"),
        (EUROPE, 47.0, 8.0, "", "EU"),
    ],
)
def test_the_database_knows_addresses(
    location: Any, address: str, latitude: float, longitude: float, country: str, continent: str
) -> None:
    found = location.locate(event(address), ALL[:2])
    assert (found.latitude, found.longitude, found.country, found.continent) == (
        latitude, longitude, country, continent,
    )  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "100.64.0.1", "169.254.1.1", "0.0.0.1",
        "fe80::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "2001:db8::1", "", "unknown", "128.101.101", NOWHERE,
    ],
)  # fmt: skip
def test_an_address_that_is_nobodys_place_is_unknown(location: Any, address: str) -> None:
    assert location.locate(event(address), ("database",)) is None


def mmdb(record: Any, ip_version: int = 6) -> bytes:
    """A database of the MaxMind format in which every address has this record."""
    # https://maxmind.github.io/MaxMind-DB/
    node = (17).to_bytes(3, "big") * 2  # both halves lead to the first record: one node and 16 bytes lie before it
    metadata = {
        "node_count": 1, "record_size": 24, "ip_version": ip_version, "database_type": "Own", "languages": [],
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1, "description": {},
    }  # fmt: skip
    return node + bytes(16) + _encoded(record) + b"\xab\xcd\xefMaxMind.com" + _encoded(metadata)


# Bytes and type of the numbers of the metadata; types from 8 on are in a byte of their own.
NUMBERS = {"node_count": b"\xc4", "build_epoch": b"\x08\x02"}


def _encoded(value: Any, name: str = "") -> bytes:
    if isinstance(value, dict):
        pairs = (_encoded(key) + _encoded(each, key) for key, each in value.items())
        return bytes([7 << 5 | len(value)]) + b"".join(pairs)
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(map(_encoded, value))
    if isinstance(value, str):
        return bytes([2 << 5 | len(value)]) + value.encode()
    if isinstance(value, float):
        return bytes([3 << 5 | 8]) + struct.pack(">d", value)
    kind = NUMBERS.get(name, b"\xa2")
    return kind + value.to_bytes(kind[0] & 0x1F, "big")


@pytest.fixture
def own(location: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the operator's own database lies."""
    monkeypatch.setattr(location, "__file__", str(tmp_path / "location.py"))
    return tmp_path / "location.mmdb"


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"location": {"latitude": 64.1, "longitude": -21.9}, "country": {"iso_code": "IS"}}, (64.1, -21.9, "IS", "")),
        ({"country": {"iso_code": "IS"}, "continent": {"code": "EU"}}, (None, None, "IS", "EU")),
        ({"location": {"latitude": math.nan, "longitude": 0.0}, "country": {"iso_code": "IS"}}, (None, None, "IS", "")),
        ({"location": {"latitude": 64.1}, "country": {"iso_code": "IS"}}, (None, None, "IS", "")),
        ({"country": "IS", "continent": "EU", "location": "64.1,-21.9"}, None),
        ({}, None),
        ("IS", None),
    ],
)
def test_the_operators_own_database_counts_instead(
    location: Any, own: Path, caplog: pytest.LogCaptureFixture, record: Any, found: tuple[Any, ...] | None
) -> None:
    own.write_bytes(mmdb(record))
    place = location.locate(event(TOKYO), ("database",))
    assert (place and (place.latitude, place.longitude, place.country, place.continent)) == found
    assert caplog.messages == []


@pytest.mark.parametrize("content", [b"", b"no database", mmdb({"country": {"iso_code": "IS"}})[:-40]])
def test_a_broken_database_knows_nothing(
    location: Any, own: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    own.write_bytes(content)
    assert location.locate(event(TOKYO), ("database",)) is None
    [line] = caplog.messages
    assert line.startswith("database does not locate a device: ")


def test_a_database_of_ipv4_knows_no_ipv6(location: Any, own: Path, caplog: pytest.LogCaptureFixture) -> None:
    own.write_bytes(mmdb({"country": {"iso_code": "IS"}}, ip_version=4))
    assert location.locate(event(JAPAN_6), ("database",)) is None
    assert caplog.messages == ["database does not locate a device: ValueError"]


# --- ipstack


class Ipstack:
    """The service, over HTTPS on the loopback; ``act`` answers a request."""

    def __init__(self, certificate: Issued, folder: Path) -> None:
        self.asked: list[str] = []
        self.status, self.body = 200, json.dumps(ANSWER).encode()
        self.wait = threading.Event()
        self.wait.set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append(self.path)
                service.wait.wait(10)
                self.send_response(service.status)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.end_headers()
                self.wfile.write(service.body)

            def log_message(self, *_arguments: Any) -> None:
                pass

        paths = certificate.write(folder, "ipstack")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(paths["certificate_path"], paths["private_key_path"])
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"localhost:{self.server.server_port}"


@pytest.fixture
def ipstack(location: Any, secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ipstack]:
    authority = issue("Demo Root", ca=True)
    service = Ipstack(issue("localhost", signer=authority, names=["localhost"], server=True), tmp_path)
    (tmp_path / "root.pem").write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    monkeypatch.setattr(location, "IPSTACK", service.address)
    yield service
    service.wait.set()
    service.server.shutdown()
    service.server.server_close()


@pytest.mark.parametrize("address", [TOKYO, JAPAN_6])
def test_ipstack_is_asked_for_the_address_with_the_key(location: Any, ipstack: Ipstack, address: str) -> None:
    found = location.locate(event(address), ("ipstack",))
    assert (found.latitude, found.longitude, found.country, found.continent) == (1.35, 103.82, "SG", "AS")
    [path] = ipstack.asked
    assert (urlsplit(path).path, parse_qs(urlsplit(path).query)) == (f"/{address}", {"access_key": [KEY]})


def test_ipstack_is_not_asked_for_a_private_address(location: Any, ipstack: Ipstack, secrets: Secrets) -> None:
    assert location.locate(event("10.0.0.1"), ("ipstack",)) is None
    assert ipstack.asked == secrets.read == []


@pytest.mark.defect("S2-8")
@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b'{"success": false, "error": {"code": 104, "type": "x", "info": "%s"}}' % KEY.encode(), "error 104"),
        (200, b'{"success": false, "error": {"code": "%s"}}' % KEY.encode(), "no location"),
        (200, b'{"ip": "133.11.0.1", "latitude": null, "longitude": null, "country_code": null}', "no location"),
        (200, b'{"latitude": [], "longitude": {}, "country_code": ["SG"], "continent_code": {}}', "no location"),
        (200, b'{"latitude": 1%s, "longitude": 1}' % (b"0" * 400), "no location"),
        (200, b'{"latitude": NaN, "longitude": 1}', "no location"),
        (200, b"[]", "not an object"),
        (200, b"<html>", "JSONDecodeError"),
        (200, b"\xff", "UnicodeDecodeError"),
        (200, b"", "JSONDecodeError"),
        (301, b"", "HTTP status 301"),
        (403, KEY.encode(), "HTTP status 403"),
        (500, b"{}", "HTTP status 500"),
    ],
)
def test_what_is_no_location_is_one_line_in_the_log_without_the_key(
    location: Any, ipstack: Ipstack, caplog: pytest.LogCaptureFixture, status: int, body: bytes, why: str
) -> None:
    ipstack.status, ipstack.body = status, body
    assert location.locate(event(TOKYO), ("ipstack",)) is None
    assert caplog.messages == [f"ipstack does not locate a device: {why}"]
    assert KEY not in caplog.text


def test_ipstack_may_know_the_country_alone(location: Any, ipstack: Ipstack) -> None:
    ipstack.body = b'{"latitude": null, "longitude": null, "country_code": "SG", "continent_code": "AS"}'
    found = location.locate(event(TOKYO), ("ipstack",))
    assert (found.latitude, found.longitude, found.country) == (None, None, "SG")


@pytest.mark.defect("S2-8")
def test_ipstack_has_two_seconds(location: Any, ipstack: Ipstack, caplog: pytest.LogCaptureFixture) -> None:
    ipstack.wait.clear()
    begun = time.monotonic()
    assert location.locate(event(TOKYO), ("ipstack",)) is None
    assert 1.9 < time.monotonic() - begun < 4
    assert caplog.messages == ["ipstack does not locate a device: TimeoutError"]


@pytest.mark.defect("S2-8")
def test_who_has_no_certificate_of_a_known_authority_is_not_ipstack(
    location: Any, ipstack: Ipstack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert location.locate(event(TOKYO), ("ipstack",)) is None
    assert ipstack.asked == []
    assert caplog.messages == ["ipstack does not locate a device: SSLCertVerificationError"]


@pytest.mark.parametrize(
    "text",
    ["", EndpointConnectionError(endpoint_url="https://secretsmanager"), ClientError({"Error": {"Code": "x"}}, "y")],
)
def test_without_its_key_ipstack_is_not_asked(
    location: Any, ipstack: Ipstack, secrets: Secrets, caplog: pytest.LogCaptureFixture, text: str | Exception
) -> None:
    secrets.texts["fleet-ipstack"] = text
    assert location.locate(event(TOKYO), ("ipstack",)) is None
    assert ipstack.asked == []
    assert "ipstack does not locate a device: it has no key" in caplog.messages


# --- several sources


def test_the_next_source_is_asked_where_one_cannot_tell(location: Any, ipstack: Ipstack) -> None:
    assert location.locate(event(TOKYO), ALL).country == "JP"
    assert ipstack.asked == []
    assert location.locate(event(NOWHERE), ALL).country == "SG"
    assert location.locate(event(TOKYO), ("ipstack", "database")).country == "SG"
    ipstack.status = 500
    assert location.locate(event(TOKYO), ("ipstack", "database")).country == "JP"


def test_without_sources_nobody_is_anywhere(location: Any) -> None:
    assert location.locate(event(), ()) is None


def test_a_request_without_headers_is_located_by_its_address(location: Any) -> None:
    request = {key: value for key, value in event(TOKYO).items() if key != "headers"}
    assert location.locate(request, ALL).country == "JP"


def test_the_package_has_what_these_tests_have() -> None:
    """Versions of the readers and of the function beside which they are packed."""
    pins = (PACKAGE[0] / "requirements.txt").read_text().splitlines()
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]
    assert {pin for pin in pins if pin.startswith(("maxminddb", "python-geoip"))} <= set(extra)
    assert set((ROOT / "files/lambda/rotate_certificate/requirements.txt").read_text().splitlines()) <= set(pins)
