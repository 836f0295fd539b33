# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order a certificate is registered, changed and removed."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from ansible_collections.iotops.fleet.plugins.module_utils._iot import certificates
from ansible_collections.iotops.fleet.plugins.module_utils._iot.certificates import Wanted
from tests.certificates import issue

DEVICE = issue("dev-1")
ID, ARN = DEVICE.fingerprint, f"arn:aws:iot:eu-west-1:123456789012:cert/{DEVICE.fingerprint}"


@pytest.fixture
def iot() -> Any:
    return boto3.session.Session().client(
        "iot", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


class Story(Stubber):
    """The calls that are expected, in order."""

    def seen(self, status: str, *, policies: tuple[str, ...] = (), things: tuple[str, ...] = ()) -> None:
        """Somebody reads the certificate with what it is attached to."""
        self.described(status)
        self.policies(*policies)
        self.things(*things)

    def described(self, status: str) -> None:
        """The certificate alone is read."""
        told = {"certificateId": ID, "certificateArn": ARN, "status": status, "certificatePem": DEVICE.pem}
        self.add_response("describe_certificate", {"certificateDescription": told}, {"certificateId": ID})

    def unknown(self) -> None:
        """The certificate is read, and is not registered."""
        self.add_client_error("describe_certificate", "ResourceNotFoundException", http_status_code=404)

    def policies(self, *names: str) -> None:
        """Its policies are listed."""
        self.add_response("list_attached_policies", {"policies": [{"policyName": name} for name in names]})

    def things(self, *names: str) -> None:
        """Its things are listed."""
        self.add_response("list_principal_things", {"things": list(names)})

    def does(self, operation: str, **arguments: str) -> None:
        """Something is changed."""
        self.add_response(operation, {}, arguments)

    def refuses(self, operation: str, code: str) -> None:
        """AWS refuses a call."""
        self.add_client_error(operation, code, http_status_code=409)


@pytest.fixture
def story(iot: Any) -> Any:
    with Story(iot) as story:
        yield story
        story.assert_no_pending_responses()


def ensure(iot: Any, **wanted: Any) -> tuple[Any, Any]:
    return certificates.ensure_present(iot, DEVICE.pem, Wanted(**wanted), check_mode=False, timeout=5)


def test_one_that_is_new_is_let_in_after_it_has_its_policy_and_thing(iot: Any, story: Story) -> None:
    story.unknown()
    story.does("register_certificate", certificatePem=DEVICE.pem, status="INACTIVE")
    story.seen("INACTIVE")
    story.does("attach_policy", policyName="p", target=ARN)
    story.does("attach_thing_principal", thingName="t", principal=ARN)
    story.does("update_certificate", certificateId=ID, newStatus="ACTIVE")
    story.seen("ACTIVE", policies=("p",), things=("t",))
    before, after = ensure(iot, policies=["p"], things=["t"])
    assert before is None
    assert (after["status"], after["policies"], after["things"]) == ("ACTIVE", ["p"], ["t"])


def test_one_that_is_shut_out_is_shut_out_before_anything_else(iot: Any, story: Story) -> None:
    story.seen("ACTIVE", policies=("p",), things=("t",))
    story.seen("ACTIVE", policies=("p",), things=("t",))
    story.does("update_certificate", certificateId=ID, newStatus="INACTIVE")
    story.does("detach_policy", policyName="p", target=ARN)
    story.does("detach_thing_principal", thingName="t", principal=ARN)
    story.seen("INACTIVE")
    ensure(iot, status="INACTIVE", policies=[], things=[])


@pytest.mark.parametrize("code", ["CertificateStateException", "CertificateValidationException"])
def test_where_its_ca_is_not_to_be_had_it_is_registered_without(iot: Any, story: Story, code: str) -> None:
    story.unknown()
    story.refuses("register_certificate", code)
    story.does("register_certificate_without_ca", certificatePem=DEVICE.pem, status="REVOKED")
    story.seen("REVOKED")
    ensure(iot, status="REVOKED")


def test_one_that_a_device_has_registered_meanwhile_is_taken_over(iot: Any, story: Story) -> None:
    story.unknown()
    story.refuses("register_certificate", "ResourceAlreadyExistsException")
    story.seen("PENDING_ACTIVATION")
    story.does("update_certificate", certificateId=ID, newStatus="ACTIVE")
    story.seen("ACTIVE")
    ensure(iot)


def test_removal_shuts_out_detaches_and_tries_again_until_aws_has_detached(iot: Any, story: Story) -> None:
    story.seen("ACTIVE", policies=("p",), things=("t",))
    story.does("update_certificate", certificateId=ID, newStatus="INACTIVE")
    story.things("t")
    story.does("detach_thing_principal", thingName="t", principal=ARN)
    story.policies("p")
    story.does("detach_policy", policyName="p", target=ARN)
    story.refuses("delete_certificate", "DeleteConflictException")
    story.things()
    story.policies()
    story.add_response("delete_certificate", {}, {"certificateId": ID, "forceDelete": True})
    story.unknown()
    before = certificates.ensure_absent(iot, ID, check_mode=False, timeout=5)
    assert before["policies"] == ["p"]


def test_policies_that_are_not_named_stay_unless_they_are_purged() -> None:
    seen = {"policies": ["a", "b"], "things": ["t"]}
    kept = certificates.predicted(DEVICE.pem, Wanted(policies=["c"], purge_policies=False), seen)
    assert (kept["policies"], kept["things"]) == (["a", "b", "c"], ["t"])
    assert certificates.predicted(DEVICE.pem, Wanted(policies=["c"], things=[]), seen)["policies"] == ["c"]
