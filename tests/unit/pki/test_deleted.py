# SPDX-License-Identifier: GPL-3.0-or-later
"""Who deletes the PKI leaves no private key behind."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROLES = Path(__file__).parents[3] / "roles"
FOLDER = re.compile(r"\{\{ (?:\w+_)?pki_dir \}\}/([A-Za-z][\w-]*)")
# Requests and certificates of keys that never leave their devices, and the code of functions.
WITHOUT_KEYS = {"device_hosts", "packages", "test-devices"}


def test_every_folder_that_a_role_keeps_keys_in_goes_with_the_pki() -> None:
    texts = [path.read_text() for path in ROLES.glob("*/*/*.yml")]
    kept = {folder for text in texts for folder in FOLDER.findall(text)} - WITHOUT_KEYS
    assert kept >= {"claims", "clients", "jitpCA", "provisioning", "rootCA", "server"}
    [task] = yaml.safe_load((ROLES / "pki/tasks/absent.yml").read_text())
    deleted = set(re.findall(r"'([\w-]+)'", task["loop"]))
    assert deleted >= kept
