# SPDX-License-Identifier: GPL-3.0-or-later
"""Every extension of the base, in the order in which they are installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

_ORDER = (
    "gateway",
    "persistence",
    "mqtt_trust",
    "mqtt_listeners",
    "acm_certificates",
    "sts_sessions",
    "iot_api",
    "route53_api",
    "lambda_functions",
    "execution_role",
    "step_functions",
    "topic_rules",
    "pipes",
    "eventbridge",
    "global_tables",
    "iam_requests",
    "physical_names",
    "cloudformation_types",
)


def install() -> None:
    """Install all of them.

    Raises:
        BaseChangedError: the installed base is not the pinned one.

    """
    for name in _ORDER:
        if find_spec(f"iotops.sandbox.{name}"):
            try:
                import_module(f"iotops.sandbox.{name}").install()
            except Exception as error:
                import logging

                logging.getLogger("sandbox").warning("extension %s not installed: %r", name, error)
