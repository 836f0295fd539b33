"""Gives devices their certificates, and sends each to its best region.

Called by an HTTP API (payload format 2.0). Signed by the fleet's issuing CA, whose key is in Secrets Manager; nothing
of a request or an answer is logged but the device's name and how it ended.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from types import ModuleType
from typing import Any

import s2
import v1
from answers import RefusedError, unavailable
from botocore.exceptions import BotoCoreError, ClientError
from location import require_edge
from provisioning import provision
from rows import RowKeepsChangingError

PROTOCOLS: dict[str, ModuleType] = {"POST /v1/device-provisioning": v1, "POST /test/device-provisioning": s2}

_log = logging.getLogger()
_log.setLevel(logging.INFO)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """AWS Lambda's entry point."""
    protocol, thing = PROTOCOLS.get(str(event.get("routeKey")), v1), "?"
    try:
        if os.environ["EDGE_ONLY"] == "true":
            require_edge(event)
        asked = protocol.read(event)
        thing = asked.thing
        answer = provision(asked, event, context.invoked_function_arn)
    except RefusedError as refusal:
        return _refused(protocol, thing, refusal)
    except (ClientError, BotoCoreError, RowKeepsChangingError) as error:
        _log.error("%s", json.dumps({"thing": thing, "error": type(error).__name__, "at": _place(error)}))
        return _refused(protocol, thing, unavailable("what is needed does not answer"))
    _log.info("%s", json.dumps({"thing": thing, "code": "Granted", "region": answer.region, "why": answer.reason}))
    response: dict[str, Any] = protocol.granted(answer)
    return response


def _refused(protocol: ModuleType, thing: str, refusal: RefusedError) -> dict[str, Any]:
    _log.info("%s", json.dumps({"thing": thing, "code": refusal.code, "status": refusal.status}))
    response: dict[str, Any] = protocol.refused(refusal)
    return response


def _place(error: BaseException) -> str:
    """Where it happened; what an exception says may hold what the request said."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
