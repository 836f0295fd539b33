# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible loads the filters of the collection in the process of every task that uses one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
LOAD = """
import importlib, json, sys
import ansible.plugins.filter.core
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module("ansible_collections.iotops.fleet.plugins.filter." + name)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def test_loading_the_filters_loads_no_library() -> None:
    path = [str(ROOT / "collections"), *sys.path]
    script = f"import sys; sys.path[:0] = {path!r}\n{LOAD}"
    filters = sorted(each.stem for each in (ROOT / "plugins" / "filter").glob("*.py"))
    command = [sys.executable, "-c", script, *filters]
    loaded = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert {"boto3", "botocore", "cryptography", "pygal"}.isdisjoint(loaded)
    assert "ansible_collections" in loaded
