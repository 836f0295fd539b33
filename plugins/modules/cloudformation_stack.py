#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudformation_stack
short_description: Keep one CloudFormation stack as its template, parameters and artifacts say
version_added: 0.1.0
description:
  - Creates, updates or deletes one stack and waits until AWS is done.
  - An unchanged stack costs two reads, C(DescribeStacks) and C(GetTemplate). No change set is made.
  - What a killed run left is finished. An operation in progress is waited for, and the remains of a creation that
    failed are deleted before the stack is created anew.
  - When AWS gives up, the message is the first resource that failed, with AWS's reason.
attributes:
  check_mode:
    support: full
    description: Predicts without any write. A stack that does not exist yet has no outputs.
  diff_mode:
    support: full
    description: Shows the template as text, and parameters and tags.
  idempotent:
    support: full
    description: A second run with the same input changes nothing.
options:
  stack_name:
    description: Name of the stack.
    type: str
    required: true
  state:
    description: Whether the stack exists.
    type: str
    choices: [present, absent]
    default: present
  template:
    description:
      - Path of the template on the controller.
      - A template of more than 51,200 bytes is handed to AWS through O(artifact_bucket).
    type: path
  template_body:
    description: The template itself, as text or as a dictionary.
    type: raw
  template_parameters:
    description:
      - Values of the template's parameters.
      - A parameter that is not named here has the template's default, also where the running stack has another value.
    type: dict
    default: {}
  artifacts:
    description:
      - Files that the template names, such as Lambda packages and state machine definitions.
      - Each is uploaded to O(artifact_bucket) as C(<SHA-256 of the content>/<file name>), unless it is there already,
        and that key becomes the value of its parameter. So the stack changes when, and only when, the content does.
      - A YAML file is uploaded as JSON, with its aliases resolved, which the services do not do.
      - In check mode a file that does not exist counts as one that will be built.
    type: list
    elements: dict
    default: []
    suboptions:
      parameter:
        description: The template's parameter that takes the object key.
        type: str
        required: true
      path:
        description: Path of the file on the controller.
        type: path
        required: true
  artifact_bucket:
    description: Bucket in the stack's region that holds artifacts and large templates.
    type: str
  adopted_tables:
    description:
      - Parameters of the template that say whether a DynamoDB table is to be created, each with the name of its table.
      - When the stack is created, the parameter is V(false) for a table that exists already, and V(true) otherwise.
        Later updates keep the stack's value.
    type: dict
    default: {}
  capabilities:
    description: What the template may do beyond plain resources.
    type: list
    elements: str
    default: [CAPABILITY_IAM]
  tags:
    description: Tags of the stack, which CloudFormation hands on to its resources. If unset they are left alone.
    type: dict
  empty_buckets:
    description: Before the stack is deleted, delete all objects and versions in the buckets that it made.
    type: bool
    default: false
  wait_timeout:
    description: How long to wait for AWS, in seconds.
    type: int
    default: 1800
author: The iotops.fleet maintainers (@iotops)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - name: Why a global table may refuse to go
    description: DynamoDB keeps a table for 24 hours after it seeded a replica.
    link: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/globaltables_HowItWorks.html
"""

EXAMPLES = r"""
- name: Keep the stack of the onboarding machines
  iotops.fleet.cloudformation_stack:
    stack_name: multi-region-iot-onboarding
    template: files/cloudformation/onboarding.yaml
    template_parameters:
      Application: multi-region-iot
    artifact_bucket: multi-region-iot-123456789012-eu-west-1-artifacts
    artifacts:
      - parameter: DefinitionKey
        path: files/asl/register-device.asl.yaml
    tags: {Application: multi-region-iot}
  register: onboarding

- name: Delete a stack with all that is in its buckets
  iotops.fleet.cloudformation_stack:
    stack_name: multi-region-iot-foundation
    state: absent
    empty_buckets: true
"""

RETURN = r"""
stack_name:
  description: Name of the stack.
  returned: always
  type: str
stack_id:
  description: ARN of the stack; null when there is none.
  returned: always
  type: str
stack_status:
  description: AWS's status, for example C(CREATE_COMPLETE); V(ABSENT) when there is no stack.
  returned: always
  type: str
outputs:
  description: The stack's outputs by their name in the template.
  returned: always
  type: dict
  sample: {BusArn: "arn:aws:events:eu-west-1:123456789012:event-bus/multi-region-iot-eu-west-1-event-bus"}
parameters:
  description: The parameters of the stack; in check mode those that it would have.
  returned: always
  type: dict
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._cloudformation.artifacts import Artifacts
from ansible_collections.iotops.fleet.plugins.module_utils._cloudformation.converge import Request, absent, present
from ansible_collections.iotops.fleet.plugins.module_utils._cloudformation.template import load_template
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

if TYPE_CHECKING:
    from typing import NoReturn

ARGUMENT_SPEC: dict[str, Any] = {
    "stack_name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "template": {"type": "path"},
    "template_body": {"type": "raw"},
    "template_parameters": {"type": "dict", "default": {}},
    "artifacts": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"parameter": {"type": "str", "required": True}, "path": {"type": "path", "required": True}},
    },
    "artifact_bucket": {"type": "str"},
    "adopted_tables": {"type": "dict", "default": {}},
    "capabilities": {"type": "list", "elements": "str", "default": ["CAPABILITY_IAM"]},
    "tags": {"type": "dict"},
    "empty_buckets": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 1800},
}


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's answer.

    Raises:
        FleetError: bad input, or AWS gave up.

    """
    params = module.params
    request = Request(
        name=params["stack_name"],
        region=str(module.region),
        client=module.client,
        check_mode=module.check_mode,
        wait_timeout=params["wait_timeout"],
        empty_buckets=params["empty_buckets"],
    )
    if params["state"] == "absent":
        return absent(request)
    return present(
        request,
        template=load_template(path=params["template"], body=params["template_body"]),
        parameters=params["template_parameters"],
        artifacts=Artifacts.read(
            params["artifacts"], bucket=params["artifact_bucket"], missing_allowed=module.check_mode
        ),
        adopted_tables=params["adopted_tables"],
        capabilities=params["capabilities"],
        tags=params["tags"],
    )


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[("template", "template_body")],
        required_if=[("state", "present", ("template", "template_body"), True)],
    )
    run_module(module, ensure)


if __name__ == "__main__":
    main()
