# SPDX-License-Identifier: GPL-3.0-or-later
"""The role jitp refuses a CA whose devices register-device lets in, before anything is changed in any region."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

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


def test_one_regions_reason_stops_all_and_nothing_is_changed(sandbox: Sandbox, pki: Path, tmp_path: Path) -> None:
    iot = sandbox.client("iot", AWAY)
    pem = (pki / "intermediateCA/certs/issuing.cert.pem").read_text()
    registered = {"certificateMode": "SNI_ONLY", "setAsActive": True, "allowAutoRegistration": True}
    ca_id = iot.register_ca_certificate(caCertificate=pem, **registered)["certificateId"]
    play = {
        "hosts": "regions",
        "gather_facts": False,
        "module_defaults": {"group/iotops.fleet.aws": "{{ fleet_aws }}"},
        "roles": [{"role": "iotops.fleet.jitp"}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    inputs = {"fleet_pki_dir": str(pki), "jitp_authority": f"{pki}/intermediateCA", "fleet_account_id": "0" * 12}
    files = {path: path.stat().st_mtime_ns for path in pki.rglob("*")}
    began = sandbox.now()
    try:
        done = subprocess.run(
            ["ansible-playbook", "-i", "inventories/sandbox", "-e", json.dumps(inputs), str(tmp_path / "play.yml")],
            cwd=ROOT,
            env={**os.environ, "IOTOPS_SANDBOX_DIR": str(sandbox.directory), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stdout
        said = " ".join(done.stdout.split())
        assert (
            f"is the certificate of {pki}/intermediateCA/certs/issuing.cert.pem, whose devices register-device" in said
        )
        assert f"{AWAY} registers the devices of this CA without a template" in said
        assert f"{HOME} registers" not in said
        for region in BOTH:
            calls = [call["operation"] for call in sandbox.journal(since=began, region=region)]
            assert [call for call in calls if not call.startswith(READS)] == [], region
        assert {path: path.stat().st_mtime_ns for path in pki.rglob("*")} == files
    finally:
        iot.update_ca_certificate(certificateId=ca_id, newStatus="INACTIVE", newAutoRegistrationStatus="DISABLE")
        iot.delete_ca_certificate(certificateId=ca_id)
