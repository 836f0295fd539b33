# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change of a CA certificate in AWS IoT, and what it is then. No AWS calls; private to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso
from ansible_collections.iotops.fleet.plugins.module_utils._iot.registration import Registration
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import certificates, fingerprint
from ansible_collections.iotops.fleet.plugins.module_utils.aws import tags_diff


def updates(wanted: Registration, seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The requests of UpdateCACertificate that bring what is seen to what is wanted, in order."""
    template = _template_of(wanted, seen)
    registers, wanted_registers = seen["auto_registration_status"], wanted.auto_registration_status
    updates: list[dict[str, Any]] = []
    if template != seen["provisioning_template"] and not template:
        updates.append({"removeAutoRegistration": True})  # takes the template away, and registers nobody from then on
        registers = "DISABLE"
    changes: dict[str, Any] = {}
    if template != seen["provisioning_template"] and template:
        changes["registrationConfig"] = {"templateName": template}
    if seen["status"] != wanted.status:
        changes["newStatus"] = wanted.status
    if registers != wanted_registers:
        changes["newAutoRegistrationStatus"] = wanted_registers
    return [*updates, changes] if changes else updates


_STATE = ("status", "auto_registration_status", "certificate_mode", "provisioning_template", "tags")


def state(ca: Mapping[str, Any]) -> dict[str, Any]:
    """What of a CA can be wanted."""
    return {key: ca.get(key) for key in _STATE}


def _template_of(wanted: Registration, seen: Mapping[str, Any]) -> str:
    template = wanted.provisioning_template
    return str(seen.get("provisioning_template", "") if template is None else template)


def prediction(wanted: Registration, seen: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of the CA once what is wanted was done; ``seen`` is ``{}`` where there is none."""
    to_set, to_remove = tags_diff(seen.get("tags", {}), wanted.tags, purge=wanted.purge_tags)
    tags = {key: value for key, value in {**seen.get("tags", {}), **to_set}.items() if key not in to_remove}
    parsed = certificates(wanted.certificate, option="certificate")[0]
    return {
        **seen,
        "certificate_pem": seen.get("certificate_pem", wanted.certificate),
        "status": wanted.status,
        "auto_registration_status": wanted.auto_registration_status,
        "certificate_mode": seen.get("certificate_mode", wanted.mode),
        "provisioning_template": _template_of(wanted, seen),
        "tags": tags,
        "fingerprint": fingerprint(wanted.certificate),
        "not_after": iso(parsed.not_valid_after_utc),
    }


__all__ = ["prediction", "state", "updates"]
