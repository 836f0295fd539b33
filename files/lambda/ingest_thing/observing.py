"""What this region's registry has of a thing, and of a certificate that nobody knew."""

from __future__ import annotations

from functools import cache
from typing import Any

import rows
import x509
from aws import aws, code, pages
from botocore.exceptions import ClientError

Row = dict[str, Any]
UNKNOWN_ISSUER = "unknown"


def describe(name: str) -> Row | None:
    """DescribeThing's answer; None when there is no such thing."""
    try:
        answer: Row = aws("iot").describe_thing(thingName=name)
    except ClientError as error:
        if code(error) == "ResourceNotFoundException":
            return None
        raise
    return answer


def observe(thing: Row, row: Row) -> Row:
    """The observed thing (see ``merging``) behind DescribeThing's answer; ``row`` has the certificates known so far."""
    name, attributes = thing["thingName"], thing.get("attributes") or {}
    principals = [arn for page in pages("iot", "list_thing_principals", thingName=name) for arn in page["principals"]]
    arns = [arn for arn in principals if ":cert/" in arn]
    groups = [
        group["groupName"]
        for page in pages("iot", "list_thing_groups_for_thing", thingName=name)
        for group in page["thingGroups"]
    ]
    policies = {
        policy["policyName"]
        for arn in arns
        for page in pages("iot", "list_attached_policies", target=arn)
        for policy in page["policies"]
    }
    return {
        "ThingId": thing["thingId"],
        "ThingTypeName": thing.get("thingTypeName") or "",
        "Attributes": {key: value for key, value in attributes.items() if key not in rows.OWN_ATTRIBUTES},
        "OwnAttributes": {key: value for key, value in attributes.items() if key in rows.OWN_ATTRIBUTES},
        "ThingGroups": sorted(groups),
        "PolicyNames": sorted(policies),
        "Certificates": {arn.rpartition("/")[2]: _certificate(arn.rpartition("/")[2], row) for arn in arns},
    }


def comes_by_a_template(observed: Row) -> bool:
    """Whether a certificate of the thing is of a CA whose devices AWS IoT provisions, without asking anybody."""
    authorities = {seen.get("CaCertificateId", "") for seen in observed["Certificates"].values()} - {""}
    return any(_authority(authority).get("registrationConfig") for authority in sorted(authorities))


def _certificate(certificate_id: str, row: Row) -> Row:
    """Its status, and all that a row wants to know when it is not in there. REVOKED is for ever: nothing to ask."""
    known = row.get("Certificates", {}).get(certificate_id)
    if known and known["Status"] == "REVOKED":
        return {"Status": "REVOKED"}
    described = aws("iot").describe_certificate(certificateId=certificate_id)["certificateDescription"]
    if known:
        return {"Status": described["status"]}
    pem = described["certificatePem"]
    issuer = _issuer(described.get("caCertificateId") or "", described.get("certificateMode", ""))
    return {
        "Status": described["status"],
        "Pem": pem,
        "NotAfter": rows.timestamp(x509.not_after(pem)),
        # A serial number without its issuer names nothing.
        **({"Serial": x509.serial(pem)} if issuer["IssuerFingerprint"] != UNKNOWN_ISSUER else {}),
        **issuer,
    }


def _issuer(authority: str, mode: str) -> Row:
    """IssuerFingerprint, and CaCertificateId when the CA is registered here.

    AWS's own certificates have no CA here and the mode DEFAULT; those registered without their CA have SNI_ONLY, and
    nobody can say who signed them.
    """
    if authority:
        return {"IssuerFingerprint": _fingerprint(authority), "CaCertificateId": authority}
    return {"IssuerFingerprint": rows.AWS_ISSUER if mode == "DEFAULT" else UNKNOWN_ISSUER}


@cache
def _fingerprint(authority: str) -> str:
    described = _authority(authority)
    return x509.fingerprint(described["certificateDescription"]["certificatePem"]) if described else UNKNOWN_ISSUER


def _authority(authority: str) -> Row:
    """DescribeCACertificate's answer; ``{}`` when there is no such CA."""
    try:
        answer: Row = aws("iot").describe_ca_certificate(certificateId=authority)
    except ClientError as error:
        if code(error) == "ResourceNotFoundException":
            return {}
        raise
    return answer
