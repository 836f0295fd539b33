# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules as processes of their own, where several run at once or one is to be stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.modules import Region

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from tests.integration.modules import run_module
module, check, arguments = json.loads(sys.argv[1])
print(json.dumps(run_module(module, check=check, **arguments)))
"""


def start(region: Region, module: str, *, check: bool = False, **arguments: Any) -> subprocess.Popen[str]:
    """A module at work in a region."""
    asked = json.dumps([module, check, {**region.connection, **arguments}])
    environment = {"PYTHONPATH": f"{REPOSITORY}/collections:{REPOSITORY}"}
    command = [sys.executable, "-c", PROGRAM, asked]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a module said; it must not have failed."""
    output, _nothing = process.communicate()
    said = dict(json.loads(output.splitlines()[-1]))
    assert not said.get("failed"), said
    return said
