# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS answers a detachment before it is done, so the first deletions may be refused."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from botocore.exceptions import ClientError

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._devices.calls import Certificate
from ansible_collections.iotops.fleet.plugins.module_utils._devices.removal import Devices, Removal
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

CERTIFICATE = Certificate("ab12", "arn:aws:iot:eu-west-1:1:cert/ab12", "INACTIVE")


def refusal(code):
    return ClientError({"Error": {"Code": code, "Message": "still attached"}}, "Delete")


def removal(iot, timeout=5.0):
    return Removal(iot=iot, threads=2, timeout=timeout, report=lambda _line: None)


def listing(member, entries):
    paginator = MagicMock()
    paginator.paginate.return_value = [{member: entries}]
    return paginator


def test_a_certificate_that_is_still_attached_is_detached_and_deleted_again():
    iot = MagicMock()
    iot.get_paginator.return_value = listing("things", ["dev-1"])
    iot.delete_certificate.side_effect = [refusal("DeleteConflictException"), None]
    removal(iot).remove(Devices(certificates=[CERTIFICATE]))
    iot.detach_thing_principal.assert_called_once_with(thingName="dev-1", principal=CERTIFICATE.arn)
    assert iot.delete_certificate.call_count == 2
    iot.update_certificate.assert_not_called()


def test_a_thing_that_stays_attached_is_named_when_time_is_up():
    iot = MagicMock()
    iot.get_paginator.return_value = listing("principals", [CERTIFICATE.arn])
    iot.delete_thing.side_effect = refusal("InvalidRequestException")
    with pytest.raises(FleetError, match=r"thing dev-1 to be detached: .*still attached"):
        removal(iot, timeout=0.1).remove(Devices(things=["dev-1"]))


def test_an_error_of_another_kind_is_not_tried_again():
    iot = MagicMock()
    iot.delete_certificate.side_effect = refusal("UnauthorizedException")
    with pytest.raises(AnsibleAWSError):
        removal(iot).remove(Devices(certificates=[CERTIFICATE]))
    assert iot.delete_certificate.call_count == 1


def test_the_calls_of_a_removal_are_known_before():
    active = Certificate("cd34", "arn:aws:iot:eu-west-1:1:cert/cd34", "ACTIVE")
    assert Devices(things=["dev-1"], certificates=[CERTIFICATE, active]).removal_calls == {
        "ListThingPrincipals": 1,
        "DetachThingPrincipal": 1,
        "DeleteThing": 1,
        "UpdateCertificate": 1,
        "DeleteCertificate": 2,
    }
    assert Devices().removal_calls == {}
