# SPDX-License-Identifier: GPL-3.0-or-later
"""A device's own view of the broker: what it is told, and how."""

from __future__ import annotations

import json
import time

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._device.errors import Dropped, Unreachable, Untrusted
from ansible_collections.iotops.fleet.plugins.module_utils._device.session import Endpoint, Session
from ansible_collections.iotops.fleet.plugins.module_utils._device.tls import Identity
from tests.integration.sandbox.fleet import Fleet
from tests.integration.sandbox.mqtt import issue

REGION = "ap-southeast-5"
SECONDS = 10.0
OWN_TOPICS = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/dev-1"},
            {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/i/dev-1/*"},
            {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": "arn:aws:iot:*:*:topicfilter/e/dev-1/*"},
        ],
    }
)


@pytest.fixture(scope="module")
def fleet(sandbox, tmp_path_factory):
    fleet = Fleet(sandbox, tmp_path_factory.mktemp("device"), (REGION,))
    fleet.serve(REGION)
    sandbox.client("iot", REGION).create_policy(policyName="own-topics", policyDocument=OWN_TOPICS)
    return fleet


@pytest.fixture
def identity(fleet):
    issued = issue("dev-1", fleet.ca)
    fleet.activate(REGION, issued, policy="own-topics")
    return identity_of(fleet, issued)


def identity_of(fleet, issued):
    certificate, key = issued.files(fleet.directory)
    return Identity("dev-1", fleet.trust, certificate, key)


def endpoint(fleet, server_name="iot.example.com"):
    return Endpoint.parse(fleet.sandbox.regions[REGION]["mqtt"], server_name=server_name)


def test_a_known_device_connects_subscribes_and_publishes(fleet, identity):
    with Session(identity=identity, endpoint=endpoint(fleet)) as session:
        session.connect(timeout=SECONDS)
        session.subscribe("e/dev-1/#", timeout=SECONDS)
        assert 0 < session.publish("i/dev-1/m", "{}", timeout=SECONDS) < SECONDS


def test_an_unknown_device_is_dropped(fleet):
    session = Session(identity=identity_of(fleet, issue("dev-1", fleet.ca)), endpoint=endpoint(fleet))
    with pytest.raises(Dropped):
        session.connect(timeout=SECONDS)


def test_a_device_of_a_foreign_ca_is_dropped(fleet):
    foreign = issue("dev-1", issue("Foreign CA", authority=True))
    session = Session(identity=identity_of(fleet, foreign), endpoint=endpoint(fleet))
    with pytest.raises(Dropped):
        session.connect(timeout=SECONDS)


def test_publishing_where_it_may_not_costs_the_connection(fleet, identity):
    with Session(identity=identity, endpoint=endpoint(fleet)) as session:
        session.connect(timeout=SECONDS)
        started = time.monotonic()
        with pytest.raises(Dropped, match="PUBLISH i/dev-2/m"):
            session.publish("i/dev-2/m", "{}", timeout=SECONDS)
        assert time.monotonic() - started < 2


def test_connecting_under_another_name_is_refused(fleet, identity):
    session = Session(identity=identity, endpoint=endpoint(fleet), client_id="dev-2")
    with pytest.raises(Dropped):
        session.connect(timeout=SECONDS)


def test_a_server_that_serves_another_name_is_not_trusted(fleet, identity):
    session = Session(identity=identity, endpoint=endpoint(fleet, "other.example.com"))
    with pytest.raises(Untrusted, match=r"other\.example\.com"):
        session.connect(timeout=SECONDS)


def test_a_server_of_another_root_is_not_trusted(fleet, identity, tmp_path):
    other_root = tmp_path / "root.pem"
    other_root.write_text(issue("Other Root", authority=True).pem)
    stranger = Identity("dev-1", other_root, identity.certificate_path, identity.private_key_path)
    with pytest.raises(Untrusted):
        Session(identity=stranger, endpoint=endpoint(fleet)).connect(timeout=SECONDS)


def test_an_address_without_a_broker_is_unreachable(identity):
    nobody = Endpoint.parse("127.0.0.1:9", server_name="iot.example.com")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        Session(identity=identity, endpoint=nobody).connect(timeout=SECONDS)
