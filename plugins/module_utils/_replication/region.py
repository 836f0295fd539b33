# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with a region as a whole: its CAs, its event configurations, the fleet's policies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._iot import ca_certificates, event_configurations
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.policy_documents import Document, rewritten
from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import Fault
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing

__all__ = ["ca_faults", "definitions", "documents", "event_faults", "policies", "policy_faults"]


def ca_faults(iot: Any, fingerprints: Mapping[str, str]) -> list[Fault]:
    """Of the CAs whose devices come in; ``fingerprints`` by what the CA is called."""
    found = []
    for name, fingerprint in fingerprints.items():
        ca = ca_certificates.find(iot, fingerprint)
        if ca is None:
            found.append(Fault("ca_missing", "", "", name))
        elif ca["status"] != "ACTIVE" or ca["autoRegistrationStatus"] != "ENABLE":
            state = f"{ca['status']}, auto-registration {ca['autoRegistrationStatus']}"
            found.append(Fault("ca_inactive", "", "", f"{name}: {state}"))
    return found


def event_faults(iot: Any, wanted: Iterable[str]) -> list[Fault]:
    """Of the event types that have to be published."""
    asked = sorted(wanted)
    enabled = event_configurations.describe(iot) if asked else {}
    return [Fault("event_configuration", "", "", name) for name in asked if not enabled.get(name)]


def documents(items: Iterable[Item], region: str) -> dict[str, Document]:
    """What the policies among the items of ``definitions`` have to say in the region, by name."""
    return {
        item["Name"].removeprefix("policy#"): rewritten(json.loads(item["Document"]), item["Region"], region)
        for item in items
        if item["Name"].startswith("policy#")
    }


def policy_faults(iot: Any, own: str, wanted: Mapping[str, Document]) -> list[Fault]:
    """Of the fleet's policies; what ``own`` has to say is known to its stack."""
    found = []
    for name, document in [(own, None), *sorted(wanted.items())]:
        versions = _versions(iot, name)
        if versions is None:
            found.append(Fault("policy_document", "", "", f"{name}: there is none"))
            continue
        default, latest = next(each for each, is_default in versions.items() if is_default), max(versions, key=int)
        if latest != default:
            found.append(Fault("policy_version", "", "", f"{name}: {default} instead of {latest}"))
        if document is not None and _document(iot, name) != document:
            found.append(Fault("policy_document", "", "", name))
    return found


@api_call("list the policies of AWS IoT")
def policies(iot: Any) -> list[str]:
    """The names of all policies."""
    pages = iot.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": 250})
    return sorted(policy["policyName"] for page in pages for policy in page["policies"])


@api_call("read the fleet's definitions")
def definitions(dynamodb: Any, table: str) -> list[Item]:
    """The policies, thing types and groups that are to be in every region: items of the table ``definitions``."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=table)
    items = [plain_item(item) for page in pages for item in page["Items"]]
    return [item for item in items if item["State"] != "DELETED"]


@api_call("get a policy of AWS IoT")
def _document(iot: Any, name: str) -> Document:
    return dict(json.loads(iot.get_policy(policyName=name)["policyDocument"]))


@none_if_missing
@api_call("list the versions of a policy")
def _versions(iot: Any, name: str) -> dict[str, bool]:
    """The versions, and whether they are the default one."""
    versions = iot.list_policy_versions(policyName=name)["policyVersions"]
    return {each["versionId"]: each["isDefaultVersion"] for each in versions}
