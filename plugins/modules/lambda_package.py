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
