#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lambda_package
short_description: Build the zip file of a Lambda function, with the same bytes on every controller
version_added: 0.1.0
description:
  - Puts the function's code, further files and the wheels of its C(requirements.txt) into one zip file.
  - Wheels are fetched by pip for the runtime and architecture of the function, not for those of the controller, and are
    never built. They are kept in O(cache_dir), so that only a changed C(requirements.txt) needs the network.
  - The order, times and modes of the entries are fixed and nothing is compressed, so equal input gives equal bytes.
attributes:
  check_mode:
    support: full
    description: Builds nothing; V(sha256) is null when the package would have to be built.
  diff_mode:
    support: none
    description: The package is binary; its digest is in the result.
  idempotent:
    support: full
    description: A package whose input has not changed is not built again.
options:
  src:
    description:
      - Folder with the code and, optionally, C(requirements.txt).
      - Hidden files, byte code, caches and C(requirements.txt) itself stay out.
    type: path
    required: true
  dest:
    description: The zip file to write. Its folder is made when it is missing.
    type: path
    required: true
  files:
    description: Further files, such as a bundle of CA certificates.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path of the file on the controller.
        type: path
        required: true
      name:
        description: Its name in the package.
        type: str
        required: true
  runtime:
    description: Runtime of the function.
    type: str
    default: python3.13
  architecture:
    description: Architecture of the function.
    type: str
    choices: [x86_64, arm64]
    default: x86_64
  cache_dir:
    description: Folder that keeps fetched wheels.
    type: path
    default: ~/.cache/iotops.fleet/wheels
author: The iotops.fleet maintainers (@iotops)
requirements:
  - pip
seealso:
  - name: Working with .zip file archives for Python Lambda functions
    description: What a package has to contain.
    link: https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
"""

EXAMPLES = r"""
- name: Build the package of certificate-identity
  iotops.fleet.lambda_package:
    src: files/lambda/certificate_identity
    dest: "{{ playbook_dir }}/../.build/certificate_identity.zip"
    files:
      - path: "{{ fleet_pki_dir }}/intermediateCA/certs/issuing.cert.pem"
        name: ca-bundle.pem
  run_once: true
  register: package
"""

RETURN = r"""
path:
  description: Path of the package.
  returned: always
  type: str
sha256:
  description: SHA-256 of the package, lower-case hex; null in check mode when it would have to be built.
  returned: always
  type: str
size:
  description: Bytes of the package; null in check mode when it would have to be built.
  returned: always
  type: int
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils._packaging.package import Package, read_source
from ansible_collections.iotops.fleet.plugins.module_utils._packaging.wheels import WheelCache
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

ARGUMENT_SPEC: dict[str, Any] = {
    "src": {"type": "path", "required": True},
    "dest": {"type": "path", "required": True},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, "name": {"type": "str", "required": True}},
    },
    "runtime": {"type": "str", "default": "python3.13"},
    "architecture": {"type": "str", "choices": ["x86_64", "arm64"], "default": "x86_64"},
    "cache_dir": {"type": "path", "default": "~/.cache/iotops.fleet/wheels"},
}


def ensure(module: AnsibleModule) -> dict[str, Any]:
    """The module's answer.

    Raises:
        FleetError: bad input, or pip failed.

    """
    params = module.params
    dest = Path(params["dest"])
    if not params["runtime"].startswith("python3."):
        raise FleetError(f"runtime {params['runtime']} is not supported: name a Python runtime, for example python3.13")
    further = _further_files(params["files"], missing_allowed=module.check_mode)
    if further is None:
        return _result(dest, built=False, changed=True)
    files = {**read_source(Path(params["src"])), **further}
    requirements = files.pop("requirements.txt", b"")
    package = Package(files=files, requirements=requirements, target=f"{params['runtime']} {params['architecture']}")
    if package.is_built(dest):
        return _result(dest, built=True, changed=False)
    if not module.check_mode:
        cache = WheelCache(
            root=Path(params["cache_dir"]), runtime=params["runtime"], architecture=params["architecture"]
        )
        package.build(dest, cache.fetch)
    return _result(dest, built=not module.check_mode, changed=True)


def _further_files(wanted: Sequence[Mapping[str, str]], *, missing_allowed: bool) -> dict[str, bytes] | None:
    """Contents by name in the package; None when one will be made by a task that check mode skipped."""
    try:
        return {item["name"]: Path(item["path"]).read_bytes() for item in wanted}
    except FileNotFoundError as error:
        if missing_allowed:
            return None
        raise FleetError(f"File {error.filename} does not exist") from error
    except OSError as error:
        raise FleetError(f"Cannot read file {error.filename}: {error.strerror}") from error


def _result(dest: Path, *, built: bool, changed: bool) -> dict[str, Any]:
    content = dest.read_bytes() if built else None
    return {
        "changed": changed,
        "path": str(dest),
        "sha256": None if content is None else hashlib.sha256(content).hexdigest(),
        "size": None if content is None else len(content),
    }


def main() -> NoReturn:
    """Run the module."""
    run_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), ensure)


if __name__ == "__main__":
    main()
