#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_rejection
version_added: 0.2.0
short_description: Let a rejected certificate in after all, or forget its rejection
description:
  - A release makes the certificate the current one of the device that it names. A device without a row gets one, a
    deleted one comes back; the other certificates retire as with any renewed certificate.
  - Every region that knows the certificate activates it when it applies the row. A certificate, name or serial number
    that was revoked is never released.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  state:
    description: V(released) lets the certificate in; V(absent) only forgets that it was rejected, it stays INACTIVE.
    type: str
    choices: [released, absent]
    required: true
  certificate_id:
    description: The certificate.
    type: str
  thing_name:
    description: Takes the one certificate that was rejected under this name.
    type: str
  ca_certificate_paths:
    description: PEM files of the CAs whose devices may come in. The certificate must be signed by one of them.
    type: list
    elements: path
    default: []
  certificate_grace_days:
    description: How long the device's other certificates stay active; they are revoked after as long again.
    type: int
    default: 7
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
attributes:
  check_mode:
    support: full
    description: Returns the row as it would be.
  diff_mode:
    support: full
    description: Shows the rejection, and what an operator decides of the row.
  idempotent:
    support: full
    description: A certificate that has no rejection and is in its row, or is to be forgotten, is left as it is.
"""

EXAMPLES = r"""
- name: Let a device in
  iotops.fleet.fleet_rejection:
    region: eu-west-1
    application: multi-region-iot
    state: released
    thing_name: dev-1
    ca_certificate_paths: [pki/intermediateCA/certs/issuing.cert.pem]

- name: Forget a rejection
  iotops.fleet.fleet_rejection:
    region: eu-west-1
    application: multi-region-iot
    state: absent
    certificate_id: 3a3e0a0f0b8c4d1f9d5bb4fef2a8c7b6a1d2e3f405162738495a6b7c8d9eafb0
"""

RETURN = r"""
rejection:
  description: The rejection that was found, as M(iotops.fleet.fleet_rejection_info) lists it; null when there is none.
  returned: always
  type: dict
device:
  description: The row as it is now, or would be in check mode, as M(iotops.fleet.fleet_device) returns it.
  returned: when released
  type: dict
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.account import partition_and_account
from ansible_collections.iotops.fleet.plugins.module_utils._registry import rejections
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.release import (
    Identity,
    Terms,
    identify,
    is_released,
    shown,
)
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica, decided
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.shown import compared_row, shown_row
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import certificates, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["released", "absent"], "required": True},
    "certificate_id": {"type": "str"},
    "thing_name": {"type": "str"},
    "ca_certificate_paths": {"type": "list", "elements": "path", "default": []},
    "certificate_grace_days": {"type": "int", "default": 7},
}
CHOSEN_BY = ("certificate_id", "thing_name")


def find_one(replica: Replica, params: dict[str, Any]) -> Item | None:
    """Return the rejection that is meant.

    Raises:
        FleetError: several certificates were rejected under this name.

    """
    found = rejections.find(replica.client, replica.rejections, **{name: params[name] for name in CHOSEN_BY})
    if len(found) > 1:
        ids = ", ".join(each["CertificateId"] for each in found)
        raise FleetError(
            f"thing_name={params['thing_name']} has {len(found)} rejections: set certificate_id to one of {ids}"
        )
    return found[0] if found else None


def released_before(replica: Replica, params: dict[str, Any]) -> Row:
    """Return the row of the device, which is in already.

    Raises:
        FleetError: it is not.

    """
    name, certificate_id = params["thing_name"], params["certificate_id"]
    row = replica.row(name) if name else replica.row_of_certificate(certificate_id)
    if row.get("State") not in ("ACTIVE", "SUSPENDED"):
        chosen = next(f"{name}={params[name]}" for name in CHOSEN_BY if params[name])
        raise FleetError(f"{chosen} has no rejection: see what was rejected with playbooks/fleet_status.yml")
    return row


def release(module: AnsibleAWSModule, replica: Replica, identity: Identity) -> tuple[Row, Row]:
    """Bring the certificate into the row and return the row before and after.

    Raises:
        FleetError: the device or the certificate was revoked.

    """
    revoked = replica.revoked(identity.keys)
    if revoked:
        raise FleetError(
            f"{identity.certificate_id} of {identity.thing_name} was revoked ({', '.join(sorted(revoked))})"
        )
    partition, account = partition_and_account(module.client("sts"))
    terms = Terms(
        application=module.params["application"],
        partition=partition,
        account=account,
        grace=timedelta(days=module.params["certificate_grace_days"]),
    )

    def decide(row: Row) -> Row | None:
        if is_released(row, identity.certificate_id):
            return None
        return replica.follow(row, terms.changes(row, identity, datetime.now(UTC)))

    before = replica.row(identity.thing_name)
    after = decided(lambda: replica.row(identity.thing_name), replica.write, decide, check_mode=module.check_mode)
    return before, after


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """Release or forget, and return the module's result."""
    params = module.params
    replica = Replica(module.client("dynamodb"), params["application"], str(module.region))
    rejection = find_one(replica, params)
    result: dict[str, Any] = {"changed": rejection is not None, "rejection": shown(rejection) if rejection else None}
    before: dict[str, Any] = {"rejection": result["rejection"]}
    after: dict[str, Any] = {"rejection": None}
    if params["state"] == "released":
        if rejection is None:
            row = released_before(replica, params)
            return {**result, "device": shown_row(row), "diff": {"before": {}, "after": {}}}
        authorities = [
            each
            for path in params["ca_certificate_paths"]
            for each in certificates(read_text(path, option="ca_certificate_paths"), option="ca_certificate_paths")
        ]
        old, new = release(module, replica, identify(rejection, authorities, datetime.now(UTC)))
        result["device"] = shown_row(new)
        before["device"], after["device"] = compared_row(old) if old else None, compared_row(new)
    if rejection and not module.check_mode:
        rejections.delete(replica.client, replica.rejections, rejection["CertificateId"])
    return {**result, "diff": {"before": before, "after": after}}


def main() -> None:
    """Run the module."""
    run_module(
        AnsibleAWSModule(
            argument_spec=ARGUMENT_SPEC,
            required_one_of=[CHOSEN_BY],
            mutually_exclusive=[CHOSEN_BY],
            supports_check_mode=True,
        ),
        ensure,
    )


if __name__ == "__main__":
    main()
