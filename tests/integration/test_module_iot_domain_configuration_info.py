# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import uuid

from tests.certificates import issue
from tests.integration.modules import Region


def test_what_is_served_and_whether_it_is_valid(region: Region):
    name = f"demo-{uuid.uuid4().hex}"
    domain = f"{name}.example.com"
    assert region.run("iot_domain_configuration_info", name=name)["domain_configurations"] == []

    acm, iot = region.client("acm"), region.client("iot")
    made = issue(domain, names=[domain], server=True)
    arn = acm.import_certificate(Certificate=made.pem.encode(), PrivateKey=made.key_pem().encode())["CertificateArn"]
    public = acm.request_certificate(DomainName=domain, ValidationMethod="DNS")["CertificateArn"]
    iot.create_domain_configuration(
        domainConfigurationName=name,
        domainName=domain,
        serverCertificateArns=[arn],
        validationCertificateArn=public,
    )
    try:
        found = region.run("iot_domain_configuration_info", name=name)
        assert not found["changed"]
        (configuration,) = found["domain_configurations"]
        assert configuration["domain_name"] == domain
        assert configuration["domain_configuration_status"] == "ENABLED"
        (served,) = configuration["server_certificates"]
        assert served["server_certificate_arn"] == arn
        assert served["server_certificate_status"] == "VALID"
        assert "response_metadata" not in configuration
    finally:
        iot.update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
        iot.delete_domain_configuration(domainConfigurationName=name)
        for certificate in (arn, public):
            acm.delete_certificate(CertificateArn=certificate)
