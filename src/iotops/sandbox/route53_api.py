# SPDX-License-Identifier: GPL-3.0-or-later
"""What Route 53 lacks in the base: GetDNSSEC, which ``amazon.aws.route53_zone`` calls, and what health checks see.

No zone is signed. A health check of an endpoint of AWS IoT finds it as the region is: cut off, or not; what else a
check may look at, nobody here does. It is in GetHealthCheckStatus, and in CloudWatch of us-east-1 as of the moment at
which that is asked. https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetDNSSEC.html,
API_GetHealthCheckStatus.html, and "Monitoring health checks using CloudWatch" of the developer guide
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from ministack.core.responses import get_region
from ministack.services import cloudwatch, route53

from iotops.sandbox import mqtt_listeners
from iotops.sandbox.patching import replace

_NOT_SIGNED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<GetDNSSECResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">'
    b"<Status><ServeSignature>NOT_SIGNING</ServeSignature></Status><KeySigningKeys/></GetDNSSECResponse>"
)
_STATUS = re.compile(r"/2013-04-01/healthcheck/([^/]+)/status")
_ENDPOINT = re.compile(r"[^.]+\.iot\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_METRICS = "us-east-1"
_CHECKERS = {"us-east-1": "192.0.2.1", "eu-west-1": "192.0.2.2", "ap-southeast-1": "192.0.2.3"}
_GOOD = "Success: TCP connection established"
_BAD = "Failure: The health checker could not establish a connection within the timeout limit."


def _is_well(check: dict[str, Any]) -> bool | None:
    endpoint = _ENDPOINT.fullmatch(str(check["config"].get("FullyQualifiedDomainName", "")))
    return not mqtt_listeners.is_cut(endpoint[1]) if endpoint else None


def _with_status(original: Any) -> Any:
    def get_metric_data(params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        for check_id, check in list(route53._health_checks.items()) if get_region() == _METRICS else ():
            well = _is_well(check)
            if well is not None:
                dimensions = {"HealthCheckId": check_id}
                cloudwatch.record_metric("AWS/Route53", "HealthCheckStatus", float(well), "None", dimensions)
        return original(params, cbor_data, is_cbor, is_json)

    return get_metric_data


def _health(check_id: str) -> Any:
    check = route53._health_checks.get(check_id)
    if check is None:
        message = f"No health check exists with the specified ID {check_id}."
        return route53._error_response("NoSuchHealthCheck", message, 404)
    well = _is_well(check)

    def build(root: Element) -> None:
        observations = SubElement(root, "HealthCheckObservations")
        for region, address in _CHECKERS.items() if well is not None else ():
            observation = SubElement(observations, "HealthCheckObservation")
            SubElement(observation, "Region").text = region
            SubElement(observation, "IPAddress").text = address
            report = SubElement(observation, "StatusReport")
            SubElement(report, "Status").text = _GOOD if well else _BAD
            SubElement(report, "CheckedTime").text = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    return route53._xml_response("GetHealthCheckStatusResponse", build)


def _with_more(original: Any) -> Any:
    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> tuple[int, dict[str, str], bytes]:
        if method == "GET" and path.endswith("/dnssec"):
            return 200, {"Content-Type": "text/xml"}, _NOT_SIGNED
        if method == "GET" and (status := _STATUS.fullmatch(path)):
            return tuple(_health(status[1]))
        return tuple(await original(method, path, headers, body, query_params))

    return handle_request


def install() -> None:
    """Answer these ourselves."""
    replace(route53, "handle_request", "method, path, headers, body, query_params", _with_more)
    replace(cloudwatch, "_get_metric_data", "params, cbor_data, is_cbor, is_json", _with_status)
