# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quotas, other than those of operations of AWS IoT, that a large fleet meets. Private to the collection."""

from __future__ import annotations

from functools import partial

from ansible_collections.iotops.fleet.plugins.module_utils._quotas.quota import Quota, select

_step_functions = partial(
    Quota, service="states", source="Quotas, AWS Step Functions Developer Guide", date="2023-06"
)  # fmt: skip
_dynamodb = partial(Quota, service="dynamodb", source="Quotas, Amazon DynamoDB Developer Guide", date="2023-06")
_events = partial(Quota, service="events", source="Quotas, Amazon EventBridge User Guide", date="2026")
_route_53 = partial(
    Quota, service="route53", unit="in all", source="Quotas, Amazon Route 53 Developer Guide", date="2023-06"
)
LARGEST = ("us-east-1", "us-west-2", "eu-west-1")
LARGE = ("us-east-2", "eu-central-1", "eu-south-2")
MIDDLE = ("us-west-1", "ap-northeast-1", "ap-southeast-1", "ap-southeast-2", "eu-west-2")
SMALL = ("ap-east-1", "ap-northeast-2", "ap-south-1", "ca-central-1", "eu-north-1", "eu-west-3", "sa-east-1")


def _sizes(largest: float, large: float, middle: float, small: float) -> dict[str, float]:
    """Values of EventBridge by the size of a region."""
    regions = {LARGEST: largest, LARGE: large, MIDDLE: middle, SMALL: small}
    return {region: value for names, value in regions.items() for region in names}


_RECORDS = (
    # The broker
    Quota(
        "Connect",
        3000,
        code="L-AEA1E176",
        exceptions=select(100),
        title="Connect requests per second per account",
        source="Service Quotas in us-east-1; of the select Regions AWS General Reference, 2023-07-27",
        date="2025",
    ),
    Quota(
        "ConnectOfClient",
        1,
        adjustable=False,
        unit="a second and client ID",
        title="Connect requests per second per client ID",
    ),
    Quota(
        "ConcurrentConnections",
        500_000,
        code="L-75CAB723",
        exceptions=select(100_000),
        unit="at a time",
        title="Maximum concurrent client connections per account",
    ),
    Quota(
        "InboundPublish",
        20_000,
        code="L-4B33E451",
        exceptions=select(2000),
        title="Inbound publish requests per second per account",
    ),
    Quota(
        "OutboundPublish",
        20_000,
        code="L-FE4EDCF9",
        exceptions=select(2000),
        title="Outbound publish requests per second per account",
    ),
    Quota(
        "PublishOfConnection",
        100,
        adjustable=False,
        unit="a second and connection",
        title="Publish requests per second per connection",
    ),
    Quota("MessageSize", 128 * 1024, adjustable=False, unit="bytes", title="Message size"),
    Quota("Subscribe", 500, code="L-589D5E1D", exceptions=select(200), title="Subscriptions per second per account"),
    Quota("Subscriptions", 500_000, code="L-52CBB99B", unit="at a time", title="Subscriptions per account"),
    Quota(
        "RuleEvaluations",
        20_000,
        code="L-5E9B88DA",
        exceptions=select(2000),
        title="Rule evaluations per second per AWS account",
    ),
    Quota(
        "JustInTimeRegistration",
        15,
        code="L-3E927DFC",
        title="Maximum number of device certificates that can be registered per second",
    ),
    # Step Functions; its buckets hold more than the second's worth that is refilled
    _step_functions(
        "StartExecutionStandard",
        150,
        exceptions=dict.fromkeys(LARGEST, 300),
        title="StartExecution throttle token refill rate per second",
    ),
    _step_functions("StartExecutionExpress", 6000, title="StartExecution of EXPRESS, refill rate per second"),
    _step_functions(
        "StateTransition",
        500,
        exceptions=dict.fromkeys(LARGEST, 1500),
        title="StateTransition throttle token refill rate per second",
    ),
    _step_functions("OpenExecutions", 1_000_000, unit="at a time", title="Open STANDARD executions"),
    # DynamoDB
    _dynamodb(
        "TableWrites",
        40_000,
        code="L-AB614373",
        unit="write units a second and table",
        title="Table-level write throughput limit",
    ),
    _dynamodb(
        "TableReads",
        40_000,
        code="L-CF0CBE56",
        unit="read units a second and table",
        title="Table-level read throughput limit",
    ),
    # EventBridge and its pipes
    _events(
        "PutEvents",
        400,
        code="L-9B653E91",
        exceptions=_sizes(10_000, 2400, 1200, 600),
        title="PutEvents throttle limit in transactions per second",
    ),
    _events(
        "EventInvocations",
        750,
        code="L-5540C5E3",
        exceptions=_sizes(18_750, 4500, 2250, 1100),
        title="Invocations throttle limit in transactions per second",
    ),
    _events(
        "ConcurrentPipeExecutions",
        1000,
        service="pipes",
        unit="at a time",
        exceptions=dict.fromkeys(LARGEST, 3000),
        title="Concurrent pipe executions per account",
    ),
    # Route 53
    _route_53("Route53Requests", 5, adjustable=False, unit="a second", title="Amazon Route 53 API requests"),
    _route_53("HealthChecks", 200, title="Health checks"),
)
LIMITS = {quota.name: quota for quota in _RECORDS}

__all__ = ["LIMITS"]
