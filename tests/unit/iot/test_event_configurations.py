# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import boto3

from ansible_collections.iotops.fleet.plugins.module_utils._iot.event_configurations import EVENT_TYPES


def test_our_event_types_are_those_of_the_service_model():
    model = boto3.session.Session().client("iot", region_name="eu-west-1").meta.service_model
    assert sorted(EVENT_TYPES) == sorted(model.shape_for("EventType").enum)
