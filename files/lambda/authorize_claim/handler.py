"""Says whether a device may have the name that it asks for with a claim certificate.

AWS IoT asks before it provisions a device, with ``{claimCertificateId, certificateId, certificatePem, templateArn,
clientId, parameters}``; ``certificateId`` is that of the device's own new certificate. It is answered
``{"allowProvisioning": true}`` or false within five seconds; whoever fails or is late has said no.
https://docs.aws.amazon.com/iot/latest/developerguide/pre-provisioning-hook.html
"""

from __future__ import annotations

import logging
from typing import Any

from claim import Claim, DeniedError

_log = logging.getLogger()
_log.setLevel(logging.INFO)


def handler(event: dict[str, Any], context: object) -> dict[str, bool]:  # noqa: ARG001 - Lambda's signature
    """AWS Lambda's entry point. What AWS does not answer is an error, so that an alarm rings."""
    asked = f"{event.get('parameters')!r:.200} with {event.get('certificateId')} by {event.get('claimCertificateId')}"
    try:
        Claim.read(event).make()
    except DeniedError as why:
        _log.warning("denied: %s: %s", asked, why)
        return {"allowProvisioning": False}
    _log.info("allowed: %s", asked)
    return {"allowProvisioning": True}
