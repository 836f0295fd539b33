# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One function per API call that removing devices needs. Private to the collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing

PAGE_SIZE = 250


@api_call("list the things of the fleet's thing type")
def things_of_type(iot: Any, thing_type: str) -> list[str]:
    """Return the names of all things of a type; empty when the type does not exist."""
    pages = iot.get_paginator("list_things").paginate(
        thingTypeName=thing_type, PaginationConfig={"PageSize": PAGE_SIZE}
    )
    return [thing["thingName"] for page in pages for thing in page["things"]]


@dataclass(frozen=True)
class Certificate:
    """A registered certificate as the listings show it."""

    certificate_id: str
    arn: str
    status: str


@api_call("list the certificates of the region")
def all_certificates(iot: Any) -> list[Certificate]:
    """Return every certificate that is registered in the region."""
    pages = iot.get_paginator("list_certificates").paginate(PaginationConfig={"PageSize": PAGE_SIZE})
    return [
        Certificate(certificate_id=each["certificateId"], arn=each["certificateArn"], status=each["status"])
        for page in pages
        for each in page["certificates"]
    ]


@api_call("list the certificates of a CA")
def certificates_of_ca(iot: Any, ca_certificate_id: str) -> set[str]:
    """Return the ids of the certificates that were registered through a CA."""
    pages = iot.get_paginator("list_certificates_by_ca").paginate(
        caCertificateId=ca_certificate_id, PaginationConfig={"PageSize": PAGE_SIZE}
    )
    return {each["certificateId"] for page in pages for each in page["certificates"]}


@none_if_missing
@api_call("list the targets of the device policy")
def certificates_with_policy(iot: Any, policy: str) -> set[str] | None:
    """Return the ids of the certificates that carry a policy; None when there is no such policy."""
    pages = iot.get_paginator("list_targets_for_policy").paginate(
        policyName=policy, PaginationConfig={"PageSize": PAGE_SIZE}
    )
    arns = [target for page in pages for target in page["targets"]]
    return {arn.rsplit("/", 1)[-1] for arn in arns if ":cert/" in arn}


@api_call("stop the automatic registration of the CA")
def stop_auto_registration(iot: Any, ca_certificate_id: str) -> None:
    """Let the CA register no device any more; those that it registered stay."""
    iot.update_ca_certificate(certificateId=ca_certificate_id, newAutoRegistrationStatus="DISABLE")


@none_if_missing
@api_call("list a thing's certificates")
def principals_of_thing(iot: Any, thing_name: str) -> list[str] | None:
    """Return the ARNs that are attached to a thing; None when there is no such thing."""
    pages = iot.get_paginator("list_thing_principals").paginate(thingName=thing_name)
    return [arn for page in pages for arn in page["principals"]]


@none_if_missing
@api_call("list a certificate's things")
def things_of_certificate(iot: Any, certificate_arn: str) -> list[str] | None:
    """Return the names of the things that a certificate is attached to; None when there is no such certificate."""
    pages = iot.get_paginator("list_principal_things").paginate(principal=certificate_arn)
    return [name for page in pages for name in page["things"]]


@none_if_missing
@api_call("detach a certificate from a thing")
def detach(iot: Any, thing_name: str, principal: str) -> None:
    """Detach; AWS finishes some seconds later."""
    iot.detach_thing_principal(thingName=thing_name, principal=principal)


@api_call("delete a thing")
def delete_thing(iot: Any, thing_name: str) -> None:
    """Delete a thing; AWS is content when there is none."""
    iot.delete_thing(thingName=thing_name)


@none_if_missing
@api_call("deactivate a certificate")
def deactivate(iot: Any, certificate_id: str) -> None:
    """Set an ACTIVE certificate INACTIVE, which an ACTIVE one has to be before its deletion."""
    iot.update_certificate(certificateId=certificate_id, newStatus="INACTIVE")


@none_if_missing
@api_call("delete a certificate")
def delete_certificate(iot: Any, certificate_id: str) -> None:
    """Delete a certificate with its policy attachments; AWS refuses while a thing is attached."""
    iot.delete_certificate(certificateId=certificate_id, forceDelete=True)


__all__ = [
    "Certificate",
    "all_certificates",
    "certificates_of_ca",
    "certificates_with_policy",
    "deactivate",
    "delete_certificate",
    "delete_thing",
    "detach",
    "principals_of_thing",
    "stop_auto_registration",
    "things_of_certificate",
    "things_of_type",
]
