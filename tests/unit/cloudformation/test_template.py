# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._cloudformation.template import load_template
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

TEMPLATE = """
Parameters:
  Name: {Type: String}
  Days: {Type: Number, Default: 30}
  Topic: {Type: String, Default: ""}
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties: {QueueName: !Sub "${Name}-x", Tags: !If [A, [], !Ref "AWS::NoValue"]}
"""


def test_parameters_take_given_values_and_defaults_as_text() -> None:
    resolved = load_template(body=TEMPLATE).resolve({"Name": "n", "Days": 7})
    assert resolved == {"Name": "n", "Days": "7", "Topic": ""}


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (["a", 1], "a,1"), (None, ""), (1.5, "1.5")])
def test_values_become_the_text_that_cloudformation_shows(value: object, text: str) -> None:
    assert load_template(body=TEMPLATE).resolve({"Name": value})["Name"] == text


def test_a_parameter_that_the_template_lacks_is_refused() -> None:
    with pytest.raises(FleetError, match="no parameter Nmae; it has Days, Name, Topic"):
        load_template(body=TEMPLATE).resolve({"Nmae": "n"})


def test_a_parameter_without_value_is_refused() -> None:
    with pytest.raises(FleetError, match="Set Name in template_parameters"):
        load_template(body=TEMPLATE).resolve({})


@pytest.mark.parametrize("body", ["a: b", "just text", "[1]"])
def test_what_is_no_template_is_refused(body: str) -> None:
    with pytest.raises(FleetError, match="no Resources"):
        load_template(body=body)


def test_broken_yaml_is_refused() -> None:
    with pytest.raises(FleetError, match="neither JSON nor YAML"):
        load_template(body="Resources: [")


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(FleetError, match=r"Cannot read template /nowhere\.yaml: No such file"):
        load_template(path="/nowhere.yaml")


def test_text_equals_the_deployed_text_whatever_surrounds_it() -> None:
    assert load_template(body=TEMPLATE).equals(TEMPLATE.strip())
    assert not load_template(body=TEMPLATE).equals(TEMPLATE + "\n# more\n")


def test_a_dictionary_equals_the_deployed_json_whatever_its_layout() -> None:
    body = {"Resources": {"A": {"Type": "AWS::SNS::Topic"}}, "Description": "d"}
    assert load_template(body=body).equals(json.loads(json.dumps(body, sort_keys=True)))
    assert not load_template(body=body).equals({**body, "Description": "e"})
    assert not load_template(body=TEMPLATE).equals(body)
