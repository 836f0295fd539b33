# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom just-in-time provisioning refuses, before anything is changed in any region."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._iot.jitp import template
from iotops.sandbox.client import Sandbox
from tests.integration.modules import run_module
from tests.integration.operators import AWAY, BOTH, HOME

ROOT = Path.cwd()
READS = ("List", "Describe", "Get")


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """A root and the first generation of the issuing CA."""
    common = {"organization": "refused", "key_profile": "ec"}
    path = tmp_path / "pki"
    root = run_module("x509_authority", path=f"{path}/rootCA", type="root", common_name="refused Root CA", **common)
    issuing = run_module(
        "x509_authority", path=f"{path}/intermediateCA", type="issuing", common_name="refused Issuing CA G1",
        issuer_path=f"{path}/rootCA", **common,
    )  # fmt: skip
    assert not root.get("failed") and not issuing.get("failed"), (root, issuing)
    return path


def play(sandbox: Sandbox, directory: Path, role: str, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a role in both regions."""
    plays = [
        {
            "hosts": "regions",
            "gather_facts": False,
            "module_defaults": {"group/iotops.fleet.aws": "{{ fleet_aws }}"},
            "roles": [{"role": f"iotops.fleet.{role}"}],
        }
    ]
    (directory / "play.yml").write_text(json.dumps(plays))
    inputs["fleet_account_id"] = "0" * 12
    return subprocess.run(
        ["ansible-playbook", "-i", "inventories/sandbox", "-e", json.dumps(inputs), str(directory / "play.yml")],
        cwd=ROOT,
        env={**os.environ, "IOTOPS_SANDBOX_DIR": str(sandbox.directory), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_regions_reason_stops_all_and_nothing_is_changed(sandbox: Sandbox, pki: Path, tmp_path: Path) -> None:
    iot = sandbox.client("iot", AWAY)
    pem = (pki / "intermediateCA/certs/issuing.cert.pem").read_text()
    registered = {"certificateMode": "SNI_ONLY", "setAsActive": True, "allowAutoRegistration": True}
    ca_id = iot.register_ca_certificate(caCertificate=pem, **registered)["certificateId"]
    shutil.copytree(pki / "intermediateCA", pki / "jitpCA")
    files = {path: path.stat().st_mtime_ns for path in pki.rglob("*")}
    began = sandbox.now()
    try:
        done = play(sandbox, tmp_path, "jitp", fleet_pki_dir=str(pki))
        assert done.returncode == 2, done.stdout
        said = " ".join(done.stdout.split())
        assert (
            f"is the certificate of {pki}/intermediateCA/certs/issuing.cert.pem, whose devices register-device" in said
        )
        assert f"{AWAY} registers the devices of {pki}/jitpCA/certs/issuing.cert.pem without a template" in said
        assert f"{HOME} registers" not in said
        assert f"{HOME} has no stack" in said
        for region in BOTH:
            calls = [call["operation"] for call in sandbox.journal(since=began, region=region)]
            assert [call for call in calls if not call.startswith(READS)] == [], region
        assert {path: path.stat().st_mtime_ns for path in pki.rglob("*")} == files
    finally:
        iot.update_ca_certificate(certificateId=ca_id, newStatus="INACTIVE", newAutoRegistrationStatus="DISABLE")
        iot.delete_ca_certificate(certificateId=ca_id)


@pytest.mark.long
def test_a_ca_whose_certificate_was_lost_is_not_forgotten(sandbox: Sandbox, pki: Path, tmp_path: Path) -> None:
    iot = sandbox.client("iot", AWAY)
    body = json.dumps(template("multi-region-iot", {}))
    role = f"arn:aws:iam::{sandbox.account_id}:role/any"
    iot.create_provisioning_template(
        templateName="multi-region-iot-jitp", type="JITP", templateBody=body, provisioningRoleArn=role, enabled=True
    )
    ca_id = iot.register_ca_certificate(
        caCertificate=(pki / "intermediateCA/certs/issuing.cert.pem").read_text(),
        certificateMode="SNI_ONLY",
        setAsActive=True,
        allowAutoRegistration=True,
        registrationConfig={"templateName": "multi-region-iot-jitp"},
    )["certificateId"]
    began = sandbox.now()
    try:
        for name in ("onboarding", "jitp"):
            done = play(sandbox, tmp_path, name, fleet_pki_dir=str(pki))
            assert done.returncode == 2, done.stdout
            said = " ".join(done.stdout.split())
            assert f"provisions the devices of the CA {ca_id} by multi-region-iot-jitp" in said
        calls = [call["operation"] for call in sandbox.journal(since=began, region=AWAY)]
        assert [call for call in calls if not call.startswith(READS)] == []
    finally:
        iot.update_ca_certificate(certificateId=ca_id, newStatus="INACTIVE", newAutoRegistrationStatus="DISABLE")
        iot.delete_ca_certificate(certificateId=ca_id)
        iot.delete_provisioning_template(templateName="multi-region-iot-jitp")
