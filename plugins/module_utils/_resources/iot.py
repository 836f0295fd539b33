# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of what AWS IoT itself keeps, from topic rules to devices. Private to the collection."""

from __future__ import annotations

from ansible_collections.iotops.fleet.plugins.module_utils._devices.calls import certificates_of_ca, things_of_type
from ansible_collections.iotops.fleet.plugins.module_utils._devices.claims import claim_certificates as find_claims
from ansible_collections.iotops.fleet.plugins.module_utils._iot.ca_certificates import find as find_ca
from ansible_collections.iotops.fleet.plugins.module_utils._resources.scope import Resource, Scope, entries
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call


@api_call("list the topic rules")
def topic_rules(scope: Scope) -> list[Resource]:
    """Topic rules; their names have underscores for hyphens."""
    prefix = f"{scope.application}-".replace("-", "_")
    found = entries(scope.clients["iot"], "list_topic_rules", "rules")
    return [{"name": each["ruleName"]} for each in found if each["ruleName"].startswith(prefix)]


@api_call("list the device policies")
def iot_policies(scope: Scope) -> list[Resource]:
    """IoT policies."""
    found = entries(scope.clients["iot"], "list_policies", "policies")
    return [{"name": each["policyName"]} for each in found if scope.owns(each["policyName"])]


@api_call("list the thing types")
def thing_types(scope: Scope) -> list[Resource]:
    """Thing types."""
    found = entries(scope.clients["iot"], "list_thing_types", "thingTypes")
    return [{"name": each["thingTypeName"]} for each in found if scope.owns(each["thingTypeName"])]


@api_call("list the provisioning templates")
def provisioning_templates(scope: Scope) -> list[Resource]:
    """Provisioning templates."""
    found = entries(scope.clients["iot"], "list_provisioning_templates", "templates")
    return [{"name": each["templateName"]} for each in found if scope.owns(each["templateName"])]


def ca_certificates(scope: Scope) -> list[Resource]:
    """The registered CAs whose certificates have the fleet's fingerprints."""
    found = [find_ca(scope.clients["iot"], each) for each in scope.ca_fingerprints]
    return [
        {
            "id": each["certificateId"],
            "arn": each["certificateArn"],
            "status": each["status"],
            "auto_registration": each["autoRegistrationStatus"],
            "mode": each.get("certificateMode"),
        }
        for each in found
        if each is not None
    ]


def claim_certificates(scope: Scope) -> list[Resource]:
    """Claim certificates, with their status."""
    found = find_claims(scope.clients["iot"], scope.application)
    return [{"id": each.certificate_id, "arn": each.arn, "status": each.status} for each in found]


def devices(scope: Scope) -> list[Resource]:
    """Number of things of the fleet's type and of certificates that its CA registered; empty when there is neither."""
    iot = scope.clients["iot"]
    certificates = {each for ca in ca_certificates(scope) for each in certificates_of_ca(iot, ca["id"])}
    counts = {"things": len(things_of_type(iot, f"{scope.application}-device")), "certificates": len(certificates)}
    return [counts] if any(counts.values()) else []
