# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Just-in-time provisioning: its template, and what cannot be. No AWS calls; private to the collection.

https://docs.aws.amazon.com/iot/latest/developerguide/jit-provisioning.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint, read_text

PREFIX = "AWS::IoT::Certificate::"
# Parts of a certificate's subject that AWS IoT gives to a template, and what a fleet calls them.
PARTS = {
    "Country": "country",
    "StateName": "state",
    "Organization": "organization",
    "OrganizationalUnit": "organizational_unit",
    "DistinguishedNameQualifier": "dn_qualifier",
}
MAX_NAME = 36  # of a template
# https://docs.aws.amazon.com/iot/latest/apireference/API_AttributePayload.html
_ATTRIBUTE = re.compile(r"[a-zA-Z0-9_.,@/:#-]{1,128}")
_VALUE = re.compile(r"[a-zA-Z0-9_.,@/:#=\[\]-]{1,800}")
# What convergence writes into every thing.
_OURS = ("certificateId", "fleetDigest", "fleetNumber")


@dataclass(frozen=True)
class Choices:
    """What a fleet chooses: ``attributes`` are name -> one of ``PARTS``, ``subject`` the CA's, beside its common name.

    ``certificate`` is the path of the CA's, ``generations`` those of the issuing CA's generations. ``mode`` is how AWS
    IoT is to know the CA; ``ingestion`` whether the region takes into the registry what AWS IoT makes.
    """

    application: str
    attributes: Mapping[str, str]
    subject: Mapping[str, str]
    certificate: str
    generations: Sequence[str] = field(default=())
    mode: str = "SNI_ONLY"
    ingestion: bool = True


def template(application: str, attributes: Mapping[str, str]) -> dict[str, Any]:
    """The body of the provisioning template.

    Every parameter that it declares has to be in the subject of a device's certificate, so it declares what it uses.
    A thing that is there is the registry's: what it has stays, and register-device decides about the certificate.
    """
    parts = ["CommonName", "Id", *sorted(set(attributes.values()))]
    thing: dict[str, Any] = {
        "ThingName": {"Ref": f"{PREFIX}CommonName"},
        "ThingTypeName": f"{application}-device",
    }
    settings = {"ThingTypeName": "DO_NOTHING", "ThingGroups": "DO_NOTHING"}
    if attributes:
        thing["AttributePayload"] = {name: {"Ref": f"{PREFIX}{part}"} for name, part in sorted(attributes.items())}
        settings["AttributePayload"] = "MERGE"
    return {
        "Parameters": {f"{PREFIX}{part}": {"Type": "String"} for part in parts},
        "Resources": {
            "thing": {
                "Type": "AWS::IoT::Thing",
                "Properties": thing,
                "OverrideSettings": settings,
            },
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateId": {"Ref": f"{PREFIX}Id"}, "Status": "ACTIVE"},
                "OverrideSettings": {"Status": "DO_NOTHING"},
            },
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": f"{application}-device"}},
        },
    }


def problems(choices: Choices, registered: Sequence[Mapping[str, Any]], region: str) -> list[str]:
    """Why the CA of the choices cannot have a template, one line each with the remedy; ``[]`` when it can.

    ``registered`` are the region's CAs as ``iot_ca_certificate_info`` shows them.
    """
    ours = _fingerprint(choices.certificate)
    return [
        *_of_name(choices),
        *_of_attributes(choices),
        *_of_authority(choices, ours),
        *_of_registration(choices, [ca for ca in registered if ca["fingerprint"] == ours], region),
        *_of_others(choices, [ca for ca in registered if ca["fingerprint"] != ours], region),
        *_of_ingestion(choices, region),
    ]


def _fingerprint(path: str) -> str:
    return fingerprint(read_text(path, option="jitp_pki_dir")) if Path(path).is_file() else ""


def _of_name(choices: Choices) -> list[str]:
    name = f"{choices.application}-jitp"
    if len(name) <= MAX_NAME:
        return []
    return [f"jitp_application: {name} has {len(name)} characters, and the name of a template at most {MAX_NAME}"]


def _of_attributes(choices: Choices) -> list[str]:
    found = []
    for name, part in choices.attributes.items():
        if name in _OURS or not _ATTRIBUTE.fullmatch(name):
            found.append(f"jitp_attributes: {name} is the fleet's own or no name of an attribute; choose another one")
        elif part not in PARTS:
            found.append(f"jitp_attributes: {name} is {part}, which AWS IoT has no part for; use {', '.join(PARTS)}")
        else:
            found += _of_part(name, part, choices.subject.get(PARTS[part]) or "")
    return found


def _of_part(name: str, part: str, value: str) -> list[str]:
    if not value:
        return [
            f"jitp_attributes: {name} is {part}, and jitp_subject has no {PARTS[part]}, so that no device would be"
            " provisioned; give it one, or leave the attribute out"
        ]
    if not _VALUE.fullmatch(value):
        return [
            f"jitp_attributes: {name} is {part}, and {PARTS[part]} in jitp_subject is {value!r}: an attribute has"
            " letters, digits and _.,@/:#=[]- only, no space; choose another one, or leave the attribute out"
        ]
    return []


def _of_authority(choices: Choices, ours: str) -> list[str]:
    return [
        f"jitp_pki_dir: {choices.certificate} is the certificate of {path}, whose devices register-device lets in;"
        " give just-in-time provisioning a CA of its own"
        for path in choices.generations
        if ours and _fingerprint(path) == ours
    ]


def _of_registration(choices: Choices, ours: Sequence[Mapping[str, Any]], region: str) -> list[str]:
    untold = [
        f"jitp_pki_dir: {region} registers the devices of {choices.certificate} without a template, for whoever hears"
        " of it to let in; stop that first (iot_ca_certificate with auto_registration: false), or use another CA"
        for ca in ours
        if ca["auto_registration_status"] == "ENABLE" and not ca["provisioning_template"]
    ]
    other = [
        f"jitp_mode: {choices.mode}, and {region} knows the CA as {ca['certificate_mode']}, which AWS IoT cannot"
        f" change: use {ca['certificate_mode']}"
        for ca in ours
        if ca["certificate_mode"] != choices.mode
    ]
    return [*untold, *other]


def _of_others(choices: Choices, others: Sequence[Mapping[str, Any]], region: str) -> list[str]:
    return [
        f"jitp_pki_dir: {region} provisions the devices of the CA {ca['certificate_id']} by {choices.application}-jitp,"
        f" and {choices.certificate} is not its certificate; bring the directory of that CA back there, or delete it in"
        " AWS IoT"
        for ca in others
        if ca["provisioning_template"] == f"{choices.application}-jitp"
    ]


def _of_ingestion(choices: Choices, region: str) -> list[str]:
    if choices.ingestion:
        return []
    return [
        f"jitp_application: {region} has no stack {choices.application}-ingestion, which takes the devices into the"
        " registry; run site.yml there first"
    ]


__all__ = ["PARTS", "Choices", "problems", "template"]
