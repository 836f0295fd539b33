# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One device as a region's AWS IoT registry has it. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._devices.calls import principals_of_thing
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing


@none_if_missing
@api_call("describe a thing")
def describe_thing(iot: Any, thing_name: str) -> dict[str, Any] | None:
    """Return ``thing_id``, ``thing_type_name``, ``attributes`` and ``version``; None when there is no such thing."""
    answer = iot.describe_thing(thingName=thing_name)
    return {
        "thing_id": answer.get("thingId", ""),
        "thing_type_name": answer.get("thingTypeName", ""),
        "attributes": answer.get("attributes", {}),
        "version": answer["version"],
    }


@api_call("list a thing's groups")
def groups_of_thing(iot: Any, thing_name: str) -> list[str]:
    """Return the names of the groups that the thing itself is in."""
    pages = iot.get_paginator("list_thing_groups_for_thing").paginate(thingName=thing_name)
    return sorted(group["groupName"] for page in pages for group in page["thingGroups"])


@none_if_missing
@api_call("describe a certificate")
def describe_certificate(iot: Any, certificate_id: str) -> dict[str, Any] | None:
    """Return AWS's description; None when the region does not have the certificate."""
    answer = iot.describe_certificate(certificateId=certificate_id)["certificateDescription"]
    return dict(answer)


@api_call("list a certificate's policies")
def policies_of(iot: Any, certificate_arn: str) -> list[str]:
    """Return the names of the policies that are attached to the certificate."""
    pages = iot.get_paginator("list_attached_policies").paginate(target=certificate_arn)
    return sorted(policy["policyName"] for page in pages for policy in page["policies"])


def seen(iot: Any, thing_name: str, certificate_ids: Iterable[str]) -> dict[str, Any]:
    """Return the thing (None: not there) and each certificate that is attached to it or named in ``certificate_ids``.

    A certificate is ``{status, attached, policy_names}``; one that the region lacks has status "" and no policies.
    """
    thing = describe_thing(iot, thing_name)
    if thing is not None:
        thing["thing_groups"] = groups_of_thing(iot, thing_name)
    arns = principals_of_thing(iot, thing_name) or []
    attached = {arn.rsplit("/", 1)[-1] for arn in arns if ":cert/" in arn}
    return {
        "thing": thing,
        "certificates": {
            each: {**_certificate(iot, each), "attached": each in attached}
            for each in sorted({*certificate_ids, *attached})
        },
    }


def _certificate(iot: Any, certificate_id: str) -> dict[str, Any]:
    described = describe_certificate(iot, certificate_id)
    if described is None:
        return {"status": "", "policy_names": []}
    return {"status": described["status"], "policy_names": policies_of(iot, described["certificateArn"])}


__all__ = ["seen"]
