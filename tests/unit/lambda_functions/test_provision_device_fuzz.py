# SPDX-License-Identifier: GPL-3.0-or-later
"""provision-device answers whatever it is sent, makes nothing for who has no right to it, and keeps secrets."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.certificates import new_key
from tests.provisioning import AMERICA, EUROPE, S2, V1, Cloud, Device, ask, csr, event, packaged

STATUSES = {200, 400, 401, 403, 409, 413, 422, 429, 451, 503}
MESSAGES = {"invalid request", "no thing name", "no sig", "wrong sig", "you not", "no location"}
KEYS = [new_key(), new_key("rsa")]
REQUESTS = {"lamp": csr(KEYS[0], "lamp"), "other": csr(KEYS[0], "bulb"), "rsa": csr(KEYS[1], "lamp")}
SECRET_HEADER = "edge-secret"

texts = st.text(st.characters(codec=None), max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
names = st.sampled_from(["thingName", "nonce", "timestamp", "csr", "signature", "thing-name", "thing-name-sig", "CSR"])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    with packaged(tmp_path_factory.mktemp("package")) as loaded:
        yield loaded


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A right request of either protocol, with members replaced, removed, added or bent, as text."""
    device = Device("lamp", KEYS[0])
    request = device.request() if draw(st.booleans()) else device.old_request()
    for _change in range(draw(st.integers(1, 3))):
        name = draw(names)
        kind = draw(st.sampled_from(["replace", "remove", "bend", "csr"]))
        if kind == "remove":
            request.pop(name, None)
        elif kind == "csr":
            request["csr" if "csr" in request else "CSR"] = draw(st.sampled_from([*REQUESTS.values(), "", None]))
        elif kind == "bend" and isinstance(request.get(name), str):
            text = request[name]
            at = draw(st.integers(0, 9999)) % (len(text) + 1)  # signatures are not of one length
            request[name] = text[:at] + draw(texts) + text[at + draw(st.integers(0, 3)) :]
        else:
            request[name] = draw(values)
    return json.dumps(request)


bodies = st.one_of(
    damaged(),
    st.dictionaries(names | texts, values, max_size=8).map(json.dumps),
    values.map(json.dumps),
    texts,
    st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode()),
    st.integers(0, 20_000).map(lambda size: "[" * size),
    st.integers(16_000, 40_000).map(lambda size: json.dumps({"csr": "x" * size})),
)
header_names = st.sampled_from(
    ["x-forwarded-for", "x-origin-verify", "cloudfront-viewer-latitude", "cloudfront-viewer-longitude",
     "cloudfront-viewer-country", "content-type", "retry-after"]
)  # fmt: skip
header_values = texts | st.sampled_from([AMERICA, SECRET_HEADER, "nan", "inf", "1e400", "52.5", "US", "ZZ"])


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """What an HTTP API hands on, whatever its caller sent."""
    sent = event(draw(bodies), route=draw(st.sampled_from([V1, S2])), source=draw(st.sampled_from([EUROPE, AMERICA])))
    sent["headers"] = draw(st.dictionaries(header_names, header_values, max_size=4))
    sent["isBase64Encoded"] = draw(st.booleans())
    if draw(st.integers(0, 9)) == 0:
        sent["body"] = draw(st.none() | values)
    if draw(st.integers(0, 9)) == 0:
        del sent["body"]
    return sent


def probed(package: SimpleNamespace, caplog: pytest.LogCaptureFixture, examples: int) -> int:
    """Send so many; how many were refused."""
    seen = {"refused": 0, "granted": 0}
    patch = pytest.MonkeyPatch()
    patch.setenv("LOCATION_SOURCES", "edge,database")
    patch.setattr(package.provisioning, "SOURCES", ("edge", "database"))
    patch.setenv("CLOUD_KEYS", "allowed")
    caplog.set_level(logging.DEBUG)
    cloud = Cloud(package)
    cloud.patch(patch)
    lamp = Device("lamp", KEYS[0])
    hidden = (cloud.ca.key_pem().splitlines()[1], SECRET_HEADER, "PRIVATE KEY", "BEGIN CERTIFICATE")

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(events())
    def send(sent: dict[str, Any]) -> None:
        caplog.clear()
        cloud.list.clear()
        cloud.tables.clear()
        cloud.list["lamp"] = lamp.item(public_key=None) if sent["routeKey"] == S2 else lamp.item()
        cloud.list["regions#fleet"] = {
            "thing_name": "regions#fleet",
            "read_at": int(time.time()),
            "regions": ["eu-west-1", "us-east-1"],
        }
        status, answer, headers = ask(package, sent)
        assert status in STATUSES, answer
        assert headers["content-type"] == "application/json"
        granted = "certificatePem" in answer
        seen["granted" if granted else "refused"] += 1
        if not granted:
            if sent["routeKey"] == S2:
                assert (answer["status"], answer["message"] in MESSAGES) == ("error", True), answer
            assert cloud.rows() == []
            assert cloud.list["lamp"]["prov_status"] == "unprovisioned"
        for secret in hidden:
            assert secret not in caplog.text, caplog.text
        signature = lamp_signature(sent)
        assert not signature or signature not in caplog.text

    try:
        send()
    finally:
        patch.undo()
    assert seen["refused"] > examples / 3, seen
    assert seen["granted"], "some requests stay right"
    print(f"FUZZ {json.dumps(seen)}")
    return seen["refused"]


def lamp_signature(sent: dict[str, Any]) -> str:
    """The signature of a request, where it is one that means something."""
    try:
        members = json.loads(sent.get("body") or "")
        found = members.get("signature") or members.get("thing-name-sig")
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""
    return found if isinstance(found, str) and len(found) > 40 else ""


@pytest.mark.defect("S2-10")
def test_whatever_is_sent_has_its_answer(package: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    probed(package, caplog, 600)


@pytest.mark.long
def test_twenty_thousand_times_over(package: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    probed(package, caplog, 20_000)
