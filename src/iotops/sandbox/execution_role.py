# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that act as an execution role.

Every call that one service makes to another one (a state machine's task, a rule's action, a pipe's or a bus rule's
target) goes through the gateway, signed by a session of the role that the definition names. IAM, the journal and fault
rules then apply to it as to any other caller.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import threading
from typing import Any

import botocore.session
from botocore.config import Config
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam, sts

__all__ = ["RoleNotAssumableError", "client", "many", "require_allowed", "require_trust", "session"]

_SESSION_TOKEN = "sandbox"  # noqa: S105 - the sandbox's own sessions
session = botocore.session.Session()  # its loader keeps the models of the services
_creating = threading.Lock()


class RoleNotAssumableError(PermissionError):
    """The role does not exist, or its trust policy does not let the service assume it."""


def client(
    role_arn: str | None, service: str, principal: str, *, region: str | None = None, source_arn: str = ""
) -> Any:
    """A botocore client of ``service`` that calls the gateway as ``role_arn``.

    ``principal`` is the service that assumes the role, for example ``states.amazonaws.com``; ``source_arn`` the
    resource on whose behalf it does (the trust policy may test it as ``aws:SourceArn``).

    Raises:
        RoleNotAssumableError: see ``require_trust``.
        RuntimeError: called on an event loop, which would wait for itself.

    """
    _refuse_event_loop()
    role = require_trust(role_arn, principal, source_arn=source_arn)
    arn, label = role["Arn"], principal.split(".")[0]
    key = "ASIA" + hashlib.sha256(f"{arn} {label}".encode()).hexdigest()[:16].upper()
    secret = hashlib.sha256(f"secret {arn} {label}".encode()).hexdigest()
    sts.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{arn.split(':')[4]}:assumed-role/{role['RoleName']}/{label}",
            "UserId": f"{role['RoleId']}:{label}",
            "SecretAccessKey": secret,
            "SessionToken": _SESSION_TOKEN,
        },
    )
    return _client(key, secret, service, region or get_region())


def require_trust(role_arn: str | None, principal: str, *, source_arn: str = "") -> dict[str, Any]:
    """The role's record, if its trust policy lets ``principal`` assume it.

    Raises:
        RoleNotAssumableError: no such role, or the trust policy does not name the service or its conditions fail.

    """
    account = get_account_id()
    parts = (role_arn or "").split(":")
    role = iam._roles.get_scoped(account, None, parts[-1].rsplit("/", 1)[-1]) if len(parts) > 5 else None
    if role is None or role["Arn"] != role_arn or not _trusts(role, principal, source_arn):
        raise RoleNotAssumableError(f"{principal} is not authorized to assume role {role_arn or '(none given)'}")
    record: dict[str, Any] = role
    return record


def require_allowed(role_arn: str | None, principal: str, action: str, resource: str, *, source_arn: str = "") -> None:
    """Evaluate one action of a role without making a call.

    Raises:
        RoleNotAssumableError: see ``require_trust``.
        PermissionError: the role's policies do not allow the action on the resource.

    """
    role = require_trust(role_arn, principal, source_arn=source_arn)
    account = get_account_id()
    arn = f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/{principal.split('.')[0]}"
    context = iam_evaluator.EvalContext(arn, "AssumedRole", account, action, resource, get_region())
    policies = iam_evaluator._gather_role_policies(role["RoleName"], account)
    if iam_evaluator.evaluate(context, policies).decision != "Allow":
        raise PermissionError(f"User: {arn} is not authorized to perform: {action} on resource: {resource}")


def _trusts(role: dict[str, Any], principal: str, source_arn: str) -> bool:
    document = role.get("AssumeRolePolicyDocument") or {}
    document = json.loads(document) if isinstance(document, str) else document
    account = get_account_id()
    context = iam_evaluator.EvalContext(
        principal, "Service", account, "sts:AssumeRole", role["Arn"], get_region(),
        service_context={"aws:sourceaccount": account, **({"aws:sourcearn": source_arn} if source_arn else {})},
    )  # fmt: skip
    effects = {
        statement.get("Effect")
        for statement in many(document.get("Statement"))
        if _names(statement.get("Principal"), principal)
        and iam_evaluator._action_matches("sts:AssumeRole", many(statement.get("Action")), [])
        and iam_evaluator._conditions_met(statement.get("Condition") or {}, context)
    }
    return "Allow" in effects and "Deny" not in effects


def _names(principals: Any, service: str) -> bool:
    return isinstance(principals, dict) and service in many(principals.get("Service"))


def many(value: Any) -> list[Any]:
    """The value as a list: policy documents and templates allow one item without brackets."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _refuse_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("a call to the gateway from an event loop: leave the loop first (asyncio.to_thread)")


@functools.lru_cache(maxsize=512)
def _client(key: str, secret: str, service: str, region: str) -> Any:
    with _creating:  # creating clients from one session is not thread-safe; using them is
        return session.create_client(
            service,
            region_name=region,
            endpoint_url=f"http://127.0.0.1:{os.environ.get('GATEWAY_PORT', '4566')}",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=_SESSION_TOKEN,
            config=Config(
                retries={"total_max_attempts": 1},
                max_pool_connections=512,
                inject_host_prefix=False,
                s3={"addressing_style": "path"},
                connect_timeout=5,
                # StartSyncExecution answers when the execution has ended.
                read_timeout=310 if service == "stepfunctions" else 65,
            ),
        )


def install() -> None:
    """Nothing to install: the other extensions call it."""
