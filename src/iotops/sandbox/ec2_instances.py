# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2 instances of CloudFormation templates, and the public image that ours run.

An instance is a record and nothing boots: a test that wants to see its user data run does that itself.
Source: AWS::EC2::Instance of the CloudFormation template reference.
"""

from __future__ import annotations

from typing import Any

from ministack.services import ec2
from ministack.services.cloudformation import provisioners

from iotops.sandbox.patching import replace

__all__ = ["install"]

Made = tuple[str, dict[str, Any]]
Properties = dict[str, Any]

# id, name, description, platform, root device, owner and its alias: Canonical's, which has none
_IMAGE = (
    "ami-0abcdef1234567891",
    "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20251022",
    "Canonical, Ubuntu, 24.04, amd64 noble image",
    "",
    "/dev/sda1",
    "099720109477",
    None,
)
# A change of these starts another instance; user data of an instance with an EBS volume is changed in place.
_FIXED = ("ImageId", "SubnetId", "BlockDeviceMappings")


def _create(logical_id: str, props: Properties, stack_name: str) -> Made:
    del logical_id, stack_name
    if not props.get("ImageId"):
        raise ValueError("AWS::EC2::Instance needs an ImageId")
    subnet = props.get("SubnetId") or ec2._DEFAULT_SUBNET_ID
    ec2._ensure_defaults_initialized()
    if subnet not in ec2._subnets:
        raise ValueError(f"The subnet ID '{subnet}' does not exist")
    for group in props.get("SecurityGroupIds") or []:
        if group not in ec2._security_groups:
            raise ValueError(f"The security group '{group}' does not exist")
    [made] = ec2._launch_instances_internal(
        image_id=props["ImageId"],
        instance_type=props.get("InstanceType") or "m1.small",
        subnet_id=subnet,
        count=1,
        key_name=props.get("KeyName") or "",
        user_data=props.get("UserData") or "",
        sg_ids=list(props.get("SecurityGroupIds") or []),
        iam_profile=_profile(props.get("IamInstanceProfile")),
    )
    _set(made, props)
    return made["InstanceId"], _attributes(made)


def _profile(name: str | None) -> dict[str, Any] | None:
    """The profile of that name, for which the base's Ref gives an ARN."""
    if not name:
        return None
    found, refused = ec2._resolve_iam_instance_profile(iam_arn="", iam_name=name.rsplit("/", 1)[-1])
    if refused:
        raise ValueError(
            f"Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile"
        )
    profile: dict[str, Any] = found
    return profile


def _set(instance: dict[str, Any], props: Properties) -> None:
    """What a launch takes besides, and an update may change."""
    ec2._tags[instance["InstanceId"]] = [dict(tag) for tag in props.get("Tags") or []]
    instance["InstanceType"] = props.get("InstanceType") or "m1.small"
    instance["UserData"] = props.get("UserData") or ""
    for mapping in props.get("BlockDeviceMappings") or []:
        if (mapping.get("Ebs") or {}).get("Encrypted"):
            for attached in instance["BlockDeviceMappings"]:
                ec2._volumes[attached["Ebs"]["VolumeId"]]["Encrypted"] = True


def _attributes(instance: dict[str, Any]) -> dict[str, Any]:
    names = ("InstanceId", "PrivateIp", "PublicIp", "PrivateDnsName", "PublicDnsName")
    return {
        name: instance.get({"PrivateIp": "PrivateIpAddress", "PublicIp": "PublicIpAddress"}.get(name, name))
        for name in names
    }


def _update(physical_id: str, old: Properties, new: Properties, stack_name: str) -> Made:
    if any(old.get(name) != new.get(name) for name in _FIXED) or physical_id not in ec2._instances:
        made = _create("", new, stack_name)
        _delete(physical_id, old)
        return made
    instance = ec2._instances[physical_id]
    _set(instance, new)
    return physical_id, _attributes(instance)


def _delete(physical_id: str, props: Properties) -> None:
    del props
    if physical_id in ec2._instances:
        ec2._terminate_instances({"InstanceId.1": [physical_id]})


def _described(original: Any) -> Any:
    def describe_instance_attribute(p: dict[str, Any]) -> Any:
        """With the user data, which the base leaves out."""
        status, headers, body = original(p)
        data = ec2._instances.get(ec2._p(p, "InstanceId"), {}).get("UserData")
        if data:
            body = body.replace(b"<userData/>", f"<userData><value>{data}</value></userData>".encode())
        return status, headers, body

    return describe_instance_attribute


def install() -> None:
    """Add the type and the image, and let user data be read."""
    replace(ec2, "_describe_instance_attribute", "p", _described)
    ec2._ACTION_MAP["DescribeInstanceAttribute"] = ec2._describe_instance_attribute
    provisioners._RESOURCE_HANDLERS.setdefault(
        "AWS::EC2::Instance", {"create": _create, "update": _update, "delete": _delete}
    )
    if _IMAGE not in ec2._STUB_AMIS:
        ec2._STUB_AMIS.append(_IMAGE)
