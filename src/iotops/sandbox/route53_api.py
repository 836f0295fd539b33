# SPDX-License-Identifier: GPL-3.0-or-later
"""GetDNSSEC of Route 53, which the base lacks and ``amazon.aws.route53_zone`` calls: no zone is signed.

https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetDNSSEC.html
"""

from __future__ import annotations

from typing import Any

from ministack.services import route53

from iotops.sandbox.patching import replace

_NOT_SIGNED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<GetDNSSECResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">'
    b"<Status><ServeSignature>NOT_SIGNING</ServeSignature></Status><KeySigningKeys/></GetDNSSECResponse>"
)


def _with_dnssec(original: Any) -> Any:
    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> tuple[int, dict[str, str], bytes]:
        if method == "GET" and path.endswith("/dnssec"):
            return 200, {"Content-Type": "text/xml"}, _NOT_SIGNED
        return tuple(await original(method, path, headers, body, query_params))

    return handle_request


def install() -> None:
    """Answer GetDNSSEC ourselves."""
    replace(route53, "handle_request", "method, path, headers, body, query_params", _with_dnssec)
