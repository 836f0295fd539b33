# SPDX-License-Identifier: GPL-3.0-or-later
"""A token lasts an hour, and so does a certificate that nobody used meanwhile."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("ministack", reason="the sandbox's base is not installed")

from ministack.services import iot

from iotops.sandbox import fleet_provisioning
from tests.certificates import new_key
from tests.provisioning import csr

ACCOUNT, REGION = "123456789012", "eu-west-1"


@pytest.fixture
def asked(monkeypatch):
    """Ask for a certificate; ``clock.now`` is the time."""
    clock = SimpleNamespace(now=1_000_000.0)
    monkeypatch.setattr(fleet_provisioning.time, "time", lambda: clock.now)
    monkeypatch.setattr(iot, "_drop_expired", fleet_provisioning._dropped(iot._drop_expired))

    def ask():
        payload = json.dumps({"certificateSigningRequest": csr(new_key(), "lamp")}).encode()
        kind, answer = fleet_provisioning.create(ACCOUNT, REGION, payload)
        assert kind == "accepted"
        return answer["certificateId"]

    yield SimpleNamespace(ask=ask, clock=clock)
    iot.reset()


def known(certificate_id):
    with iot.request_scope(ACCOUNT, REGION):
        return certificate_id in iot._certificates


def test_a_certificate_that_was_not_used_is_deleted_after_an_hour(asked):
    early = asked.ask()
    asked.clock.now += 3599
    late = asked.ask()
    assert known(early)
    asked.clock.now += 2
    asked.ask()
    assert (known(early), known(late)) == (False, True)


def test_one_that_was_used_stays(asked):
    used = asked.ask()
    with iot.request_scope(ACCOUNT, REGION):
        iot._certificates[used]["status"] = "ACTIVE"
    asked.clock.now += 3601
    asked.ask()
    assert known(used)
