# SPDX-License-Identifier: GPL-3.0-or-later
"""A registered CA, its devices and a served domain: what most tests of the sandbox's IoT side begin with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.mqtt import Device, Issued, issue

ALLOW = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]})


@dataclass
class Fleet:
    """One CA known to several regions.

    ``trust``: the device's trust store, with the root that issued the server certificate and nothing else.
    """

    sandbox: Sandbox
    directory: Path
    regions: tuple[str, ...]
    root: Issued = field(default_factory=lambda: issue("Test Root", authority=True))
    ca: Issued = field(init=False)
    trust: Path = field(init=False)
    ca_ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trust = self.directory / "root.pem"
        self.trust.write_text(self.root.pem)
        self.ca = issue("Test Issuing CA", self.root, authority=True)
        for region in self.regions:
            answer = self.sandbox.client("iot", region).register_ca_certificate(
                caCertificate=self.ca.pem, certificateMode="SNI_ONLY", setAsActive=True, allowAutoRegistration=True
            )
            self.ca_ids[region] = answer["certificateId"]

    def serve(self, region: str, domain: str = "iot.example.com") -> str:
        """Import a server certificate and serve the domain with it; the certificate's ARN."""
        server = issue(domain, self.root, dns=(domain,))
        acm = self.sandbox.client("acm", region)
        arn: str = acm.import_certificate(
            Certificate=server.pem, PrivateKey=server.key_pem, CertificateChain=self.root.pem
        )["CertificateArn"]
        validation = acm.request_certificate(DomainName=domain, ValidationMethod="DNS")["CertificateArn"]
        self.sandbox.client("iot", region).create_domain_configuration(
            domainConfigurationName=domain.replace(".", "-"),
            domainName=domain,
            serverCertificateArns=[arn],
            validationCertificateArn=validation,
        )
        return arn

    def device(self, name: str, region: str, issued: Issued, server_name: str = "iot.example.com") -> Device:
        """A device that presents ``issued`` and its CA to ``region``."""
        files = issued.files(self.directory, chain=self.ca.pem)
        return Device(self.sandbox.regions[region]["mqtt"], self.trust, files, name, server_name)

    def activate(self, region: str, issued: Issued, policy: str = "allow") -> str:
        """Register the certificate ACTIVE with a policy; its ARN."""
        iot = self.sandbox.client("iot", region)
        if policy not in [p["policyName"] for p in iot.list_policies()["policies"]]:
            iot.create_policy(policyName=policy, policyDocument=ALLOW)
        arn: str = iot.register_certificate(certificatePem=issued.pem, caCertificatePem=self.ca.pem, status="ACTIVE")[
            "certificateArn"
        ]
        iot.attach_policy(policyName=policy, target=arn)
        return arn
