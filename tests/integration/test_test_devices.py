# SPDX-License-Identifier: GPL-3.0-or-later
"""Test devices: what they may do, and that one joins the fleet by nothing but its user data and the playbook."""

from __future__ import annotations

import base64
import email
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import namespace
from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import HOME
from tests.integration.revocable import ROOT, Revocable

IMAGE = "ami-0123456789abcdef0"  # an older one
CLI = ROOT / ".venv-awscli/bin"


@pytest.fixture(scope="module")
def fleet(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Revocable:
    """A fleet with one test device, which does not run yet."""
    files = ROOT / "files/cloudformation"
    ec2 = deployment.sandbox.client("ec2", HOME)
    subnet = min(ec2.describe_subnets()["Subnets"], key=lambda each: each["SubnetId"])
    deployment.stack(HOME, "test-devices", body=(files / "test_devices.yaml").read_text())
    deployment.stack(
        HOME,
        "test-device-probe",
        body=(files / "test_device.yaml").read_text(),
        Name="probe",
        Endpoint="iot.example.com",
        Interval="1",
        ImageId=IMAGE,
        SubnetId=subnet["SubnetId"],
        VpcId=subnet["VpcId"],
    )
    return Revocable(deployment, tmp_path_factory.mktemp("test-devices"))


def deploy(fleet: Revocable, *, fails: bool = False, **more: Any) -> str:
    """Run the playbook for a device that hardly waits."""
    given = {
        "fleet_test_devices": [{"name": "probe", "region": HOME}],
        "fleet_tags": {"Application": fleet.deployment.application},
        "fleet_key_profile": "ec",
        "fleet_state_machine_type": "EXPRESS",
        "fleet_home_region": HOME,
        "fleet_hosted_zone_id": fleet.deployment.sandbox.hosted_zone_id,
        "test_devices_wait": 0,
        "test_devices_interval": 1,
        **more,
    }
    code, output = fleet.playbook(json.dumps(given), name="test_devices", limit=HOME)
    assert (code != 0) == fails, output
    return output


@pytest.fixture(scope="module")
def bucket(fleet: Revocable) -> str:
    sandbox = fleet.deployment.sandbox
    return f"{fleet.deployment.application}-{sandbox.account_id}-{HOME}-test-devices"


@pytest.fixture(scope="module")
def outputs(fleet: Revocable) -> dict[str, str]:
    stacks = fleet.deployment.sandbox.client("cloudformation", HOME)
    [stack] = stacks.describe_stacks(StackName=f"{fleet.deployment.application}-test-device-probe")["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}


@pytest.fixture(scope="module")
def keys(fleet: Revocable, outputs: dict[str, str]) -> dict[str, str]:
    """A session of the instance's role, as environment variables."""
    sts = fleet.deployment.sandbox.client("sts", HOME)
    made = sts.assume_role(RoleArn=outputs["RoleArn"], RoleSessionName="instance")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "AWS_SESSION_TOKEN": made["SessionToken"],
    }


@pytest.fixture(scope="module")
def as_instance(fleet: Revocable, keys: dict[str, str]) -> Callable[[str], Any]:
    session = boto3.session.Session(
        *(keys[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")), region_name=HOME
    )
    return lambda service: session.client(service, endpoint_url=fleet.deployment.sandbox.gateway)


def refused(call: Callable[..., Any], **arguments: Any) -> bool:
    """Whether IAM denies the call, whatever it would find."""
    try:
        call(**arguments)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status == 403 or error.response["Error"]["Code"].startswith("AccessDenied")
    return False


@pytest.mark.defect("S1-37")
def test_the_bucket_is_closed_encrypted_and_versioned(fleet: Revocable, bucket: str) -> None:
    s3 = fleet.deployment.sandbox.client("s3", HOME)
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    [encryption] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    [statement] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@pytest.mark.defect("S1-37")
def test_an_instance_reads_its_own_folder_leaves_its_request_and_can_do_nothing_else(
    fleet: Revocable, bucket: str, as_instance: Callable[[str], Any]
) -> None:
    root, s3 = fleet.deployment.sandbox.client("s3", HOME), as_instance("s3")
    for key in ("devices/probe/own", "devices/other/cert.pem", "devices/probe2/cert.pem", "clients/c.key.pem"):
        root.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert s3.get_object(Bucket=bucket, Key="devices/probe/own")["Body"].read() == b"x"
    s3.put_object(Bucket=bucket, Key="devices/probe/request.csr", Body=b"x")
    for key in ("devices/other/cert.pem", "devices/probe2/cert.pem", "clients/c.key.pem"):
        assert refused(s3.get_object, Bucket=bucket, Key=key), key
    for key in ("devices/probe/cert.pem", "devices/other/request.csr", "devices/probe/request.csr.2"):
        assert refused(s3.put_object, Bucket=bucket, Key=key, Body=b"x"), key
    assert refused(s3.list_objects_v2, Bucket=bucket)
    assert refused(s3.list_objects_v2, Bucket=bucket, Prefix="devices/probe/")
    assert refused(s3.delete_object, Bucket=bucket, Key="devices/probe/request.csr")
    assert refused(s3.list_buckets)
    artifacts = bucket.replace("test-devices", "artifacts")
    assert refused(s3.list_objects_v2, Bucket=artifacts)
    assert refused(as_instance("iot").list_things)
    assert refused(as_instance("iot-data").publish, topic="i/probe/x", payload=b"x")
    assert refused(as_instance("dynamodb").scan, TableName=f"{fleet.deployment.application}-device-inventory")
    assert refused(as_instance("ec2").describe_instances)
    assert refused(as_instance("ssm").describe_instance_information)
    root.delete_object(Bucket=bucket, Key="devices/probe/request.csr")


def test_an_instance_is_closed_and_encrypted(fleet: Revocable, outputs: dict[str, str]) -> None:
    ec2 = fleet.deployment.sandbox.client("ec2", HOME)
    [reservation] = ec2.describe_instances(InstanceIds=[outputs["InstanceId"]])["Reservations"]
    [instance] = reservation["Instances"]
    groups = [group["GroupId"] for group in instance["SecurityGroups"]]
    [group] = ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]
    assert group["IpPermissions"] == []
    assert {rule["ToPort"] for rule in group["IpPermissionsEgress"]} == {80, 443, 8883}
    volumes = [mapping["Ebs"]["VolumeId"] for mapping in instance["BlockDeviceMappings"]]
    assert [volume["Encrypted"] for volume in ec2.describe_volumes(VolumeIds=volumes)["Volumes"]] == [True]


def ask(fleet: Revocable, bucket: str, name: str) -> ec.EllipticCurvePrivateKey:
    """Leave a request as an instance does that has just made its key, which is returned."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    body = request.public_bytes(serialization.Encoding.PEM)
    s3 = fleet.deployment.sandbox.client("s3", HOME)
    s3.put_object(Bucket=bucket, Key=f"devices/{name}/request.csr", Body=body)
    return key


@pytest.mark.long
def test_a_device_has_a_second_life(fleet: Revocable, bucket: str, outputs: dict[str, str]) -> None:
    sandbox = fleet.deployment.sandbox
    s3, cloudformation = (sandbox.client(service, HOME) for service in ("s3", "cloudformation"))

    def given(name: str) -> x509.Certificate:
        body = s3.get_object(Bucket=bucket, Key=f"devices/{name}/cert.pem")["Body"].read()
        return x509.load_pem_x509_certificate(body)

    def certificate_id(name: str) -> str:
        return given(name).fingerprint(hashes.SHA256()).hex()

    key = ask(fleet, bucket, "probe")
    deploy(fleet, test_devices_interval=2)
    [stack] = cloudformation.describe_stacks(StackName=f"{fleet.deployment.application}-test-device-probe")["Stacks"]
    assert {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]} == outputs  # the same instance
    assert {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}["ImageId"] == IMAGE
    assert given("probe").public_key() == key.public_key()
    former = certificate_id("probe")
    assert "changed=0" in deploy(fleet, test_devices_interval=2)
    assert certificate_id("probe") == former

    key = ask(fleet, bucket, "probe")
    assert f"fleet_certificates={former}" in deploy(fleet).replace("\n", "")
    assert given("probe").public_key() == key.public_key()
    former = certificate_id("probe")

    s3.put_object(Bucket=bucket, Key="devices/probe/request.csr", Body=b"x" * 16385)
    assert "devices/probe/request.csr has 16385 bytes" in deploy(fleet, fails=True)

    both = [{"name": name, "region": HOME} for name in ("other", "other")]
    assert "fleet_test_devices has a name twice" in deploy(fleet, fails=True, fleet_test_devices=both)

    said = deploy(fleet, fleet_test_devices=both[:1])
    assert f"fleet_certificates={former}" in said.replace("\n", "")
    assert "other has not asked yet" in said
    names = [each["StackName"] for each in cloudformation.describe_stacks()["Stacks"]]
    assert f"{fleet.deployment.application}-test-device-other" in names
    assert f"{fleet.deployment.application}-test-device-probe" not in names
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="devices/probe/request.csr")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="devices/probe/cert.pem")

    key = ask(fleet, bucket, "probe")
    deploy(fleet)
    assert given("probe").public_key() == key.public_key()
    s3.delete_object(Bucket=bucket, Key="devices/probe/request.csr")
    s3.delete_object(Bucket=bucket, Key="devices/probe/cert.pem")
    s3.delete_object(Bucket=bucket, Key="devices/probe/root.pem")


@pytest.mark.long
def test_the_user_data_asks_is_dropped_and_then_accepted_in_its_region(
    fleet: Revocable, bucket: str, outputs: dict[str, str], keys: dict[str, str], tmp_path: Path
) -> None:
    for program in ("mosquitto_pub", "openssl", "ip"):
        if not shutil.which(program):
            pytest.skip(f"no {program} here")
    if not (CLI / "aws").exists():
        pytest.skip("the AWS CLI is not installed: make .venv-awscli/ok")
    if not namespace.is_allowed():
        pytest.skip("no private network namespace here (unshare -rmn)")
    sandbox = fleet.deployment.sandbox
    ec2, s3 = (sandbox.client(service, HOME) for service in ("ec2", "s3"))
    found = ec2.describe_instance_attribute(InstanceId=outputs["InstanceId"], Attribute="userData")
    parts = email.message_from_bytes(base64.b64decode(found["UserData"]["Value"])).walk()
    [script] = [str(each.get_payload()) for each in parts if each.get_content_type() == "text/x-shellscript"]
    gateway = urlsplit(sandbox.gateway)
    host, port = sandbox.regions[HOME]["mqtt"].split(":")
    ways = {gateway.port: ("127.0.0.1", gateway.port), 8883: (host, int(port))}
    environment = {**keys, "PATH": f"{CLI}:/usr/sbin:/usr/bin:/sbin:/bin", "AWS_ENDPOINT_URL": sandbox.gateway}

    def objects() -> set[str]:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="devices/probe/").get("Contents", [])
        return {each["Key"].rsplit("/", 1)[-1] for each in listed} - {"own"}

    with namespace.run(script, tmp_path, ways, ["iot.example.com"], environment) as output:
        eventually(lambda: objects() == {"request.csr"} or _ended(output), seconds=60)
        deploy(fleet)
        eventually(lambda: "accepted" in output.read_text(), seconds=90)
    said = output.read_text().splitlines()
    assert "dropped 1" in said
    [own] = (tmp_path / "lib").iterdir()
    assert (own / "key.pem").stat().st_mode & 0o777 == 0o600
    assert objects() == {"request.csr", "cert.pem", "root.pem"}
    [first, *_] = eventually(lambda: fleet.deployment.messages(HOME, "probe"))
    assert (first["region"], first["message"]["region"]) == (HOME, HOME)
    deploy(fleet, fleet_test_devices_state="absent")
    assert bucket not in [each["Name"] for each in s3.list_buckets()["Buckets"]]
    stacks = sandbox.client("cloudformation", HOME).describe_stacks()["Stacks"]
    assert [each["StackName"] for each in stacks if "test-device" in each["StackName"]] == []
    assert not (fleet.pki / "test-devices" / HOME).exists()


def _ended(output: Path) -> bool:
    """What the script said when it did not get so far, where a failure shows it."""
    text = output.read_text()
    assert "rror" not in text, text
    return False
