# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._iot import ca_certificates, ca_changes, verification
from ansible_collections.iotops.fleet.plugins.module_utils._iot.registration import Registration
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError
from tests.certificates import issue

CA = issue("Demo Issuing CA G1", ca=True)


@pytest.fixture
def iot() -> Any:
    return boto3.session.Session().client(
        "iot", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


def description(certificate_id: str, pem: str) -> dict[str, Any]:
    return {"certificateDescription": {"certificateId": certificate_id, "certificatePem": pem}}


def test_a_ca_is_found_by_its_certificate_on_the_second_page_under_any_id(iot: Any):
    ids = [letter * 64 for letter in "abc"]
    with Stubber(iot) as stub:
        stub.add_response("list_ca_certificates", {"certificates": [{"certificateId": ids[0]}], "nextMarker": "2"})
        stub.add_response("list_ca_certificates", {"certificates": [{"certificateId": each} for each in ids[1:]]})
        stub.add_response("describe_ca_certificate", description(ids[0], issue("Other", ca=True).pem))
        stub.add_client_error("describe_ca_certificate", "ResourceNotFoundException", http_status_code=404)
        stub.add_response("describe_ca_certificate", description(ids[2], CA.pem))
        found = ca_certificates.find(iot, CA.fingerprint)
        stub.assert_no_pending_responses()
    assert found is not None
    assert found["certificateId"] == ids[2]


def test_where_the_id_is_the_fingerprint_one_description_is_enough(iot: Any):
    listed = [{"certificateId": each} for each in ("0" * 64, CA.fingerprint)]
    with Stubber(iot) as stub:
        stub.add_response("list_ca_certificates", {"certificates": listed})
        stub.add_response("describe_ca_certificate", description(CA.fingerprint, CA.pem))
        assert ca_certificates.find(iot, CA.fingerprint)


def test_a_ca_that_registers_devices_is_removed_in_three_steps(iot: Any):
    ca_id = CA.fingerprint
    seen = description(ca_id, CA.pem)
    seen["certificateDescription"] |= {
        "certificateArn": "arn:ca",
        "status": "ACTIVE",
        "autoRegistrationStatus": "ENABLE",
    }
    with Stubber(iot) as stub:
        stub.add_response("list_ca_certificates", {"certificates": [{"certificateId": ca_id}]})
        stub.add_response("describe_ca_certificate", seen)
        stub.add_response("list_tags_for_resource", {"tags": []})
        stub.add_response("update_ca_certificate", {}, {"certificateId": ca_id, "newAutoRegistrationStatus": "DISABLE"})
        stub.add_response("update_ca_certificate", {}, {"certificateId": ca_id, "newStatus": "INACTIVE"})
        stub.add_response("delete_ca_certificate", {}, {"certificateId": ca_id})
        stub.add_client_error("describe_ca_certificate", "ResourceNotFoundException", http_status_code=404)
        assert ca_certificates.ensure_absent(iot, CA.pem, check_mode=False, timeout=5)
        stub.assert_no_pending_responses()


def test_the_verification_certificate_names_the_code_and_is_signed_by_the_ca():
    pem = verification.verification_certificate(
        ca_certificate=CA.pem, ca_key=CA.key_pem("secret"), passphrase="secret", registration_code="f00d" * 16
    )
    made = x509.load_pem_x509_certificate(pem.encode())
    made.verify_directly_issued_by(CA.certificate)
    assert made.subject.rfc4514_string() == "CN=" + "f00d" * 16


def test_the_key_is_not_part_of_what_a_registration_shows():
    shown = repr(Registration(certificate=CA.pem, private_key=CA.key_pem(), passphrase="open sesame"))
    assert "PRIVATE KEY" not in shown
    assert "open sesame" not in shown


def test_a_leaf_is_no_ca():
    with pytest.raises(FleetError, match="CA:TRUE"):
        Registration(certificate=issue("dev-1", signer=CA).pem).check()


@pytest.mark.parametrize("name", ["has space", "x" * 37, "a.b"])
def test_a_name_that_no_template_can_have_is_refused_before_any_call(name: str):
    with pytest.raises(FleetError, match="at most 36"):
        Registration(certificate=CA.pem, provisioning_template=name).check()


@pytest.mark.parametrize(
    ("configuration", "shown"),
    [({"templateName": "demo-jitp"}, "demo-jitp"),
     ({"templateBody": "{}", "roleArn": "arn:aws:iam::1:role/x"}, "(inline)"),
     (None, "")],
)  # fmt: skip
def test_a_ca_tells_which_template_provisions_its_devices(iot: Any, configuration: dict[str, str] | None, shown: str):
    seen = description(CA.fingerprint, CA.pem) | ({"registrationConfig": configuration} if configuration else {})
    with Stubber(iot) as stub:
        stub.add_response("describe_ca_certificate", seen)
        found = ca_certificates.describe(iot, CA.fingerprint)
    assert found is not None
    assert found["provisioningTemplate"] == shown


def test_who_lets_devices_in_otherwise_does_not_touch_a_ca_with_a_template(iot: Any):
    seen = description(CA.fingerprint, CA.pem) | {"registrationConfig": {"templateName": "demo-jitp"}}
    seen["certificateDescription"] |= {"certificateArn": "arn:ca", "certificateMode": "SNI_ONLY", "status": "INACTIVE"}
    with Stubber(iot) as stub:
        stub.add_response("list_ca_certificates", {"certificates": [{"certificateId": CA.fingerprint}]})
        stub.add_response("describe_ca_certificate", seen)
        stub.add_response("list_tags_for_resource", {"tags": []})
        wanted = Registration(certificate=CA.pem, adopts_template=False)
        with pytest.raises(FleetError, match="the template demo-jitp provisions the devices of this CA in eu-west-1"):
            ca_certificates.ensure_present(iot, wanted, check_mode=False, timeout=5)
        stub.assert_no_pending_responses()


def test_a_template_is_taken_away_before_automatic_registration_goes_on():
    seen = {"status": "ACTIVE", "auto_registration_status": "ENABLE", "provisioning_template": "demo-jitp"}
    assert ca_changes.updates(Registration(certificate=CA.pem, provisioning_template=""), seen) == [
        {"removeAutoRegistration": True}, {"newAutoRegistrationStatus": "ENABLE"},
    ]  # fmt: skip
    assert ca_changes.updates(Registration(certificate=CA.pem), seen) == []
