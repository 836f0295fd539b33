# SPDX-License-Identifier: GPL-3.0-or-later
"""Every extension of the base, in the order in which they are installed."""

from __future__ import annotations

from iotops.sandbox import (
    acm_certificates,
    cloudformation_drift,
    cloudformation_types,
    dynamodb_scans,
    ec2_instances,
    embedded_metrics,
    event_sources,
    eventbridge,
    execution_role,
    fleet_indexing,
    fleet_provisioning,
    gateway,
    global_tables,
    http_apis,
    iam_requests,
    interrupted_stacks,
    iot_api,
    iot_ca_validity,
    iot_listings,
    iot_registry,
    just_in_time_provisioning,
    lambda_functions,
    message_moves,
    mqtt_keep_alive,
    mqtt_listeners,
    mqtt_trust,
    persistence,
    physical_names,
    pipes,
    route53_api,
    schedules,
    service_metrics,
    service_quotas,
    step_functions,
    sts_sessions,
    topic_rules,
)

ORDER = (
    gateway,
    persistence,
    interrupted_stacks,
    mqtt_trust,
    mqtt_listeners,
    mqtt_keep_alive,
    acm_certificates,
    sts_sessions,
    iot_registry,
    iot_api,
    iot_ca_validity,
    iot_listings,
    fleet_indexing,
    fleet_provisioning,
    just_in_time_provisioning,
    route53_api,
    lambda_functions,
    event_sources,
    message_moves,
    iam_requests,
    execution_role,
    step_functions,
    topic_rules,
    pipes,
    eventbridge,
    schedules,
    service_metrics,
    embedded_metrics,
    global_tables,
    dynamodb_scans,
    cloudformation_types,
    ec2_instances,
    cloudformation_drift,
    http_apis,
    physical_names,
    service_quotas,
)


def install() -> None:
    """Install all of them.

    Raises:
        BaseChangedError: the installed base is not the pinned one.

    """
    for extension in ORDER:
        extension.install()
