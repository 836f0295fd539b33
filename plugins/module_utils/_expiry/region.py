# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can expire in one region: a reader for each kind. Private to this collection."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._acm.calls import KEY_TYPES
from ansible_collections.iotops.fleet.plugins.module_utils._device.errors import DeviceError
from ansible_collections.iotops.fleet.plugins.module_utils._device.served import Served, Server
from ansible_collections.iotops.fleet.plugins.module_utils._expiry import files
from ansible_collections.iotops.fleet.plugins.module_utils._expiry.entries import Entry, common_name, entry
from ansible_collections.iotops.fleet.plugins.module_utils._iot import ca_certificates
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import certificates, fingerprint
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, none_if_missing

MQTT_PORT = 8883


def authorities(iot: Any, *, region: str, known: Mapping[str, str]) -> list[Entry]:
    """A line for each CA that AWS IoT accepts in the region, and for each of ``known`` that it does not know.

    ``known``: fingerprint -> path of the issuing CAs on the controller.
    """
    found: list[Entry] = []
    missing = dict(known)
    for listed in ca_certificates.list_all(iot):
        described = ca_certificates.describe(iot, listed["certificateId"])
        if described is None:
            continue
        here = missing.pop(fingerprint(described["certificatePem"]), None)
        if described["status"] != "ACTIVE":
            continue
        parsed = certificates(described["certificatePem"], option=f"CA {listed['certificateId']}")[0]
        note = "" if here else "not on the controller"
        name, end = common_name(parsed.subject), parsed.not_valid_after_utc
        found.append(entry("issuing", name, region, not_after=end, note=note))
    return found + [
        entry("issuing", path, region, note="not registered in this region", severity="warn")
        for path in missing.values()
    ]


@api_call("list the certificates of ACM")
def _listed(acm: Any) -> list[dict[str, Any]]:
    pages = acm.get_paginator("list_certificates").paginate(Includes={"keyTypes": KEY_TYPES})
    return [summary for page in pages for summary in page.get("CertificateSummaryList", [])]


def managed(acm: Any, *, region: str, domain: str) -> list[Entry]:
    """A line for each certificate of ACM for the domain: imported ones, and those that prove the name to AWS IoT."""
    return [
        entry(
            "acm" if each.get("Type") == "IMPORTED" else "validation",
            str(each["CertificateArn"]).rpartition("/")[2],
            region,
            not_after=each.get("NotAfter"),
            **({} if each["Status"] == "ISSUED" else {"note": each["Status"], "severity": "error"}),
        )
        for each in _listed(acm)
        if domain in (each.get("DomainName"), *each.get("SubjectAlternativeNameSummaries", []))
    ]


@none_if_missing
@api_call("describe the domain configuration")
def _described(iot: Any, name: str) -> dict[str, Any]:
    return dict(iot.describe_domain_configuration(domainConfigurationName=name))


def domain_configuration(iot: Any, *, region: str, name: str) -> list[Entry]:
    """A line that says whether AWS IoT accepts the server certificate of the domain configuration."""
    described = _described(iot, name)
    if described is None:
        return [entry("domain", name, region, note="there is none; deploy it with site.yml", severity="error")]
    refused = [
        f"{each['serverCertificateStatus']}: {each.get('serverCertificateStatusDetail', 'AWS gives no reason')}"
        for each in described.get("serverCertificates", [])
        if each["serverCertificateStatus"] != "VALID"
    ]
    return [entry("domain", name, region, note="; ".join(refused) or "VALID", severity="error" if refused else "")]


@api_call("describe the region's data endpoint")
def _endpoint(iot: Any) -> str:
    return str(iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"])


def served(iot: Any, *, region: str, domain: str, address: str, pki: Path, timeout: float) -> list[Entry]:
    """A line for each certificate that devices are shown; one, unless the endpoint's addresses disagree.

    ``address``: ``host`` or ``host:port``, empty for the region's own data endpoint.

    Raises:
        FleetError: the address is not of that form.

    """
    host, _, port = (address or _endpoint(iot)).partition(":")
    if not (port or "0").isdigit():
        raise FleetError(f"address={address} is not host or host:port")
    server = Server(host, int(port or MQTT_PORT), domain, files.root_path(pki), timeout)
    try:
        shown = {visit.fingerprints[0]: visit for visit in server.visits(1)}
    except (DeviceError, OSError) as error:
        return [entry("server", domain, region, note=str(error), severity="error")]
    ours = files.fingerprints(files.server_paths(pki))
    return [_served(visit, region=region, domain=domain, ours=not ours or key in ours) for key, visit in shown.items()]


def _served(visit: Served, *, region: str, domain: str, ours: bool) -> Entry:
    leaf = certificates(ssl.DER_cert_to_PEM_cert(visit.chain[0]), option=f"what {region} serves")[0]
    note, severity = ("", "") if ours else ("not the one on the controller", "warn")
    if visit.distrust:
        note, severity = f"devices do not trust it: {visit.distrust}", "error"
    return entry("server", domain, region, not_after=leaf.not_valid_after_utc, note=note, severity=severity)


__all__ = ["authorities", "domain_configuration", "managed", "served"]
