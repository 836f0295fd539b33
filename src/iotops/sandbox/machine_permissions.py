# SPDX-License-Identifier: GPL-3.0-or-later
"""What Step Functions asks of a machine's role before it takes the machine.

Source: "Creating an IAM role for your state machine" and "Logging in CloudWatch Logs" of the AWS Step Functions
Developer Guide.
"""

from __future__ import annotations

from typing import Any

from ministack.services import cloudwatch_logs

from iotops.sandbox import execution_role
from iotops.sandbox.service_tasks import PRINCIPAL

__all__ = ["refusal"]

_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
)


def refusal(role_arn: str | None, arn: str, logging: dict[str, Any]) -> tuple[str, str] | None:
    """AWS's error code and message for a role and a logging configuration (as in the API); None when both will do."""
    try:
        execution_role.require_trust(role_arn, PRINCIPAL, source_arn=arn)
    except execution_role.RoleNotAssumableError as error:
        return "AccessDeniedException", str(error)
    if logging.get("level", "OFF") == "OFF":
        return None
    groups = [
        (destination.get("cloudWatchLogsLogGroup") or {}).get("logGroupArn") or ""
        for destination in logging.get("destinations") or []
    ]
    if len(groups) != 1 or not groups[0].endswith(":*"):
        problem = "exactly one log group is required, its ARN ending with :*"
        return "InvalidLoggingConfiguration", f"Invalid Logging Configuration: {problem}"
    if groups[0].split(":")[6] not in cloudwatch_logs._log_groups:
        return "InvalidLoggingConfiguration", f"Invalid Logging Configuration: {groups[0]} does not exist"
    try:
        for action in _DELIVERY:
            execution_role.require_allowed(role_arn, PRINCIPAL, action, "*", source_arn=arn)
    except PermissionError as error:
        return (
            "AccessDeniedException",
            f"The state machine IAM Role is not authorized to access the Log Destination: {error}",
        )
    return None
