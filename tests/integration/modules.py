# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one module of the collection as Ansible would, in this process: its answer without the second of start-up.

The files that Ansible would send are the ones that are imported, so packaging is what molecule tests.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import boto3

from ansible.module_utils.testing import patch_module_args

INVENTORY_VARIABLE = "IOTOPS_TEST_INVENTORY"


def run_module(module: str, *, check: bool = False, diff: bool = True, **params: Any) -> dict[str, Any]:
    """The answer of ``iotops.fleet.<module>``; ``failed`` is set when it failed."""
    main = importlib.import_module(f"ansible_collections.iotops.fleet.plugins.modules.{module}").main
    arguments = {**params, "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_no_log": False}
    output = io.StringIO()
    with patch_module_args(arguments), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main()
    return dict(json.loads(output.getvalue().splitlines()[-1]))


@dataclass(frozen=True)
class Region:
    """One region to test in: of the sandbox, or of AWS when ``IOTOPS_TEST_INVENTORY`` names an inventory."""

    connection: dict[str, Any]

    @property
    def name(self) -> str:
        """The region's name."""
        return str(self.connection["region"])

    def run(self, module: str, *, check: bool = False, **params: Any) -> dict[str, Any]:
        """The answer of a module; it must not have failed."""
        answer = self.attempt(module, check=check, **params)
        assert not answer.get("failed"), answer
        return answer

    def attempt(self, module: str, *, check: bool = False, **params: Any) -> dict[str, Any]:
        """The answer of a module, failed or not."""
        return run_module(module, check=check, **self.connection, **params)

    def refusal(self, module: str, *, check: bool = False, **params: Any) -> str:
        """The message of a module that must fail: one line, without a traceback."""
        answer = self.attempt(module, check=check, **params)
        assert answer.get("failed"), answer
        assert "\n" not in answer["msg"]
        assert "Traceback" not in json.dumps(answer)
        return str(answer["msg"])

    def client(self, service: str) -> Any:
        """A boto3 client of this region."""
        session = boto3.session.Session(
            aws_access_key_id=self.connection.get("access_key"),
            aws_secret_access_key=self.connection.get("secret_key"),
            aws_session_token=self.connection.get("session_token"),
            profile_name=self.connection.get("profile"),
            region_name=self.name,
        )
        return session.client(service, endpoint_url=self.connection.get("endpoint_url"))


def inventory_region(inventory: str, position: int) -> Region:
    """The region at ``position`` of the group ``regions``, with the ``fleet_aws`` of that host."""
    ansible = shutil.which("ansible")
    assert ansible, "ansible is not on the PATH"
    command = [ansible, f"regions[{position}]", "-i", inventory, "-m", "ansible.builtin.debug", "-a", "var=fleet_aws"]
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "minimal", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return Region(json.loads(answer[answer.index("{") :])["fleet_aws"])
