# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that says in plain words what is wrong with the inputs of a fleet."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.compat.version import LooseVersion
from ansible.release import __version__ as ansible_version

DOCUMENTATION = r"""
name: input_problems
short_description: What is wrong with the inputs of a fleet, one line each
version_added: 0.1.0
description:
  - Judges the C(fleet_*) variables before anything is changed, each line with the variable, its value and the remedy.
  - Asks no service; regions are looked up in the botocore of the controller.
options:
  _input:
    description:
      - The variables by their name without C(fleet_), and C(regions), the regions of the inventory.
      - V(null) stands for a variable that is not set.
    type: dict
    required: true
author: The iotops.fleet maintainers (@iotops)
"""

EXAMPLES = r"""
- name: Refuse inputs that cannot work
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: "{{ {'application': fleet_application, 'regions': groups['regions']} | iotops.fleet.input_problems }}"
"""

RETURN = r"""
_value:
  description: One line for each problem; empty when there is none.
  type: list
  elements: str
"""

PYTHON = (3, 11)
ANSIBLE = "2.19.0"
AMAZON_AWS = "10.1.0"
CHOICES = {"key_profile": ("ec", "rsa"), "state_machine_type": ("EXPRESS", "STANDARD")}
OPTIONAL_CHOICES = {"rotation_signer": ("offline", "function")}
REQUIRED = ("application", "home_region", "write_region", "domain", "hosted_zone_id", "pki_dir", *CHOICES)
# The longest name that is made of the application: <application>-<account>-<region>-artifacts, a bucket's.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BUCKET_LENGTH = 63
MAX_TAGS = 40  # of AWS's 50; CloudFormation and some resources add their own
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.){{2,}}{_LABEL}")
_ZONE = re.compile(r"Z[A-Z0-9]{1,31}")
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+")


def input_problems(inputs: Mapping[str, Any]) -> list[str]:
    """The problems of ``inputs``, one line each."""
    given = {name: value for name, value in inputs.items() if value not in (None, "")}
    missing = [
        f"fleet_{name} is not set: set it in group_vars/all of the inventory" for name in REQUIRED if name not in given
    ]
    checks = (_versions, _regions, _application, _choices, _domain, _hosted_zone, _tags, _role)
    return [*missing, *(problem for check in checks for problem in check(given))]


def _versions(_inputs: Mapping[str, Any]) -> Iterator[str]:
    if sys.version_info < PYTHON:
        yield f"Python {sys.version.split()[0]} runs Ansible: use {'.'.join(map(str, PYTHON))} or later"
    if LooseVersion(ansible_version) < LooseVersion(ANSIBLE):
        yield f"ansible-core is {ansible_version}: install {ANSIBLE} or later"
    found = _amazon_aws_version()
    if found is None or LooseVersion(found) < LooseVersion(AMAZON_AWS):
        yield f"The collection amazon.aws is {found or 'missing'}: install {AMAZON_AWS} or later"


def _amazon_aws_version() -> str | None:
    try:
        from ansible_collections.amazon.aws.plugins.module_utils.common import AMAZON_AWS_COLLECTION_VERSION
    except ImportError:
        return None
    return str(AMAZON_AWS_COLLECTION_VERSION)


def _regions(inputs: Mapping[str, Any]) -> Iterator[str]:
    regions: Sequence[str] = inputs.get("regions", [])
    if not regions:
        yield "The inventory has no region: add hosts named like AWS regions to the group regions"
        return
    known = _known_regions()
    for region in sorted(set(regions) - known):
        yield f"Host '{region}' is no region of AWS IoT Core that botocore knows: correct it, or install a newer boto3"
    for name in ("home_region", "write_region"):
        if name in inputs and inputs[name] not in regions:
            yield f"fleet_{name} is '{inputs[name]}': name one of the inventory's regions, {', '.join(sorted(regions))}"


def _known_regions() -> set[str]:
    """Regions of AWS IoT Core in all partitions. Imports here: Ansible loads every filter that it lists."""
    from botocore.session import Session

    session = Session()
    return {
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("iot", partition_name=partition)
    }


def _application(inputs: Mapping[str, Any]) -> Iterator[str]:
    name = str(inputs.get("application", "fleet"))
    longest = max((len(region) for region in inputs.get("regions", [])), default=0)
    limit = BUCKET_LENGTH - len("-123456789012--artifacts") - longest
    if len(name) > limit or not re.fullmatch(r"[a-z]([a-z0-9]|-(?=[a-z0-9]))*", name):
        yield (
            f"fleet_application is '{name}': use at most {limit} of a-z, 0-9 and single '-' between them, "
            "beginning with a letter, as the names of stacks and buckets are made of it"
        )


def _choices(inputs: Mapping[str, Any]) -> Iterator[str]:
    for name, choices in {**CHOICES, **OPTIONAL_CHOICES}.items():
        if name in inputs and inputs[name] not in choices:
            yield f"fleet_{name} is '{inputs[name]}': use {' or '.join(choices)}"


def _domain(inputs: Mapping[str, Any]) -> Iterator[str]:
    domain = str(inputs.get("domain", "iot.example.com"))
    if not _DOMAIN.fullmatch(domain):
        yield f"fleet_domain is '{domain}': use a lower-case name below your zone, for example iot.example.com"


def _hosted_zone(inputs: Mapping[str, Any]) -> Iterator[str]:
    zone = str(inputs.get("hosted_zone_id", "Z0"))
    if not _ZONE.fullmatch(zone):
        yield f"fleet_hosted_zone_id is '{zone}': use the id of a public hosted zone, for example Z0123456789EXAMPLE"


def _tags(inputs: Mapping[str, Any]) -> Iterator[str]:
    tags = inputs.get("tags", {})
    if not isinstance(tags, Mapping):
        yield f"fleet_tags is '{tags}': use a dictionary of names and values"
        return
    if len(tags) > MAX_TAGS:
        yield f"fleet_tags has {len(tags)} tags: use at most {MAX_TAGS}"
    for key, value in tags.items():
        if not 1 <= len(str(key)) <= 128 or len(str(value)) > 256 or str(key).lower().startswith("aws:"):
            yield f"fleet_tags has '{key}: {value}': names take 1 to 128 characters, not 'aws:'; values up to 256"


def _role(inputs: Mapping[str, Any]) -> Iterator[str]:
    role = inputs.get("assume_role_arn")
    if role and not _ROLE.fullmatch(str(role)):
        yield f"fleet_assume_role_arn is '{role}': use an ARN like arn:aws:iam::123456789012:role/fleet-operator"


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by name."""
        return {"input_problems": input_problems}
