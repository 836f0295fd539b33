# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sandbox does not show of the templates of test devices."""

from __future__ import annotations

import re
from unittest.mock import ANY

from tests.unit.templates import many, of_type, template


def test_a_test_device_is_granted_its_own_folder_and_by_choice_a_shell() -> None:
    resources = template("test_device")["Resources"]
    [policy] = resources["Role"]["Properties"]["Policies"]
    granted = {
        action: [resource.rsplit(":::", 1)[-1] for resource in many(statement["Resource"])]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in many(statement["Action"])
    }
    bucket = "${Application}-${AWS::AccountId}-${AWS::Region}-test-devices"
    assert granted == {
        "s3:GetObject": [f"{bucket}/devices/${{Name}}/*"],
        "s3:PutObject": [f"{bucket}/devices/${{Name}}/request.csr"],
    }
    assert resources["ShellPolicy"]["Condition"] == "HasShell"
    assert "ManagedPolicyArns" not in resources["Role"]["Properties"]


def test_an_instance_wants_a_token_for_its_metadata_and_has_an_encrypted_disk() -> None:
    [(_, instance)] = of_type(template("test_device")["Resources"], "AWS::EC2::Instance")
    assert instance["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert [mapping["Ebs"]["Encrypted"] for mapping in instance["BlockDeviceMappings"]] == [True]


def test_nobody_connects_to_a_test_device() -> None:
    [(_, group)] = of_type(template("test_device")["Resources"], "AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group


def test_a_test_devices_key_is_made_there_and_uploaded_nowhere() -> None:
    script = template("test_device")["Resources"]["Instance"]["Properties"]["UserData"]["Fn::Base64"]
    assert "genpkey" in script
    assert [line for line in script.splitlines() if "put-object" in line and "request.csr" not in line] == []
    assert not re.search(r"(get|put-object)[^\n]*key\.pem", script)
    assert len(script) < 12 * 1024  # 16 KB, the most of EC2, in base64


def test_an_update_replaces_no_instance_by_itself() -> None:
    found = template("test_device")
    assert found["Parameters"]["ImageId"] == {"Type": "AWS::EC2::Image::Id", "Description": ANY}
    assert found["Resources"]["Instance"]["Properties"]["ImageId"] == {"Ref": "ImageId"}


def test_what_was_replaced_in_the_bucket_goes_and_its_owner_owns_everything() -> None:
    [(_, bucket)] = of_type(template("test_devices")["Resources"], "AWS::S3::Bucket")
    [rule] = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
