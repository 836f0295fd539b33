# SPDX-License-Identifier: GPL-3.0-or-later
"""CreateCertificateFromCsr over MQTT, and the end of a certificate that nobody used while its token lasted.

The base has CreateKeysAndCertificate and RegisterThing.
https://docs.aws.amazon.com/iot/latest/developerguide/fleet-provision-api.html
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from ministack.services import iot

from iotops.sandbox.patching import replace

TOPIC = "$aws/certificates/create-from-csr/json"
OPERATION = "create-from-csr"
_REPLY = "account_id, region, operation, template_name, payload, connection"


def install() -> None:
    """Answer the topic."""
    replace(iot, "_parse_fleet_provisioning_topic", "topic", _parsed)
    replace(iot, "_fleet_provisioning_reply", _REPLY, _replied)
    replace(iot, "_drop_expired", "store", _dropped)


def _parsed(original: Any) -> Any:
    def parse_fleet_provisioning_topic(topic: str) -> tuple[str, str | None] | None:
        parsed: tuple[str, str | None] | None = (OPERATION, None) if topic == TOPIC else original(topic)
        return parsed

    return parse_fleet_provisioning_topic


def _replied(original: Any) -> Any:
    async def fleet_provisioning_reply(
        account_id: str, region: str, operation: str, template_name: str | None, payload: bytes, connection: Any
    ) -> Any:
        if operation != OPERATION:
            return await original(account_id, region, operation, template_name, payload, connection)
        return create(account_id, region, payload)

    return fleet_provisioning_reply


def create(account_id: str, region: str, payload: bytes) -> Any:
    """A certificate that is PENDING_ACTIVATION and its ownership token; ``rejected`` for what is no request."""
    try:
        request = json.loads(payload)["certificateSigningRequest"]
    except (ValueError, KeyError, TypeError):
        return iot._fleet_rejected("InvalidPayload", "Message cannot be parsed")
    with iot.request_scope(account_id, region):
        try:
            pem = iot.sign_certificate_request(*iot._ensure_ca(), str(request))
        except ValueError:
            return iot._fleet_rejected("InvalidCertificateSigningRequest", "CSR violates constraints")
        certificate_id, token = iot.get_certificate_id(pem), secrets.token_urlsafe(48)
        iot._certificates[certificate_id] = iot._certificate_record(certificate_id, pem, "PENDING_ACTIVATION")
        iot._drop_expired(iot._ownership_tokens)
        expiration = time.time() + iot._OWNERSHIP_TOKEN_SECONDS
        iot._ownership_tokens[token] = {"certificateId": certificate_id, "expiration": expiration}
    answer = {"certificateId": certificate_id, "certificatePem": pem, "certificateOwnershipToken": token}
    return "accepted", answer


def _dropped(original: Any) -> Any:
    def drop_expired(store: Any) -> None:
        if store is iot._ownership_tokens:
            ended = [(key, each) for key, each in store._data.items() if each["expiration"] <= time.time()]
            for (account_id, region, _token), record in ended:
                with iot.request_scope(account_id, region):
                    _forget(record["certificateId"])
        original(store)

    return drop_expired


def _forget(certificate_id: str) -> None:
    """Delete the certificate unless it was put to use."""
    found = iot._certificates.get(certificate_id)
    in_use = found and (found["status"] != "PENDING_ACTIVATION" or found["attachedThings"] or found["attachedPolicies"])
    if found and not in_use:
        iot._certificates.pop(certificate_id, None)
