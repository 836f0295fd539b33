# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import LOG_DELIVERY, REGION, eventually, queue, role, unique
from tests.integration.sandbox.mqtt import issue

Resources = dict[str, dict[str, Any]]


class Stack:
    """A stack in one region; each operation waits for its end."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.name, self._client = unique("stack"), sandbox.client("cloudformation", REGION)

    def create(self, resources: Resources, outputs: dict[str, Any] | None = None) -> str:
        self._client.create_stack(StackName=self.name, TemplateBody=self._body(resources, outputs))
        return self._ended()

    def update(self, resources: Resources, outputs: dict[str, Any] | None = None) -> str:
        self._client.update_stack(StackName=self.name, TemplateBody=self._body(resources, outputs))
        return self._ended()

    def delete(self) -> None:
        self._client.delete_stack(StackName=self.name)
        self._client.get_waiter("stack_delete_complete").wait(StackName=self.name, WaiterConfig={"Delay": 1})

    @property
    def outputs(self) -> dict[str, str]:
        described = self._client.describe_stacks(StackName=self.name)["Stacks"][0]
        return {entry["OutputKey"]: entry["OutputValue"] for entry in described["Outputs"]}

    @property
    def failures(self) -> list[str]:
        events = self._client.describe_stack_events(StackName=self.name)["StackEvents"]
        return [event["ResourceStatusReason"] for event in events if event["ResourceStatus"].endswith("_FAILED")]

    def _ended(self) -> str:
        def status() -> str:
            return str(self._client.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"])

        eventually(lambda: not status().endswith("PROGRESS"))
        return status()

    @staticmethod
    def _body(resources: Resources, outputs: dict[str, Any] | None) -> str:
        values = {key: {"Value": value} for key, value in (outputs or {}).items()}
        return json.dumps({"Resources": resources, "Outputs": values})


@pytest.fixture
def stack(sandbox: Sandbox) -> Stack:
    return Stack(sandbox)


def one(kind: str, **properties: Any) -> Resources:
    return {"It": {"Type": kind, "Properties": properties}}


ID = {"Id": {"Ref": "It"}}


def check(**more: Any) -> Resources:
    configuration = {"Type": "TCP", "FullyQualifiedDomainName": "a.example.com", "Port": 8883, **more}
    tags = [{"Key": "Application", "Value": "fleet"}]
    return one("AWS::Route53::HealthCheck", HealthCheckConfig=configuration, HealthCheckTags=tags)


def test_health_check(sandbox: Sandbox, stack: Stack) -> None:
    route53 = sandbox.client("route53", REGION)
    assert stack.create(check(), {**ID, "Got": {"Fn::GetAtt": ["It", "HealthCheckId"]}}) == "CREATE_COMPLETE"
    identity = stack.outputs["Id"]
    assert stack.outputs["Got"] == identity
    made = route53.get_health_check(HealthCheckId=identity)["HealthCheck"]["HealthCheckConfig"]
    assert (made["Type"], made["Port"], made["RequestInterval"], made["FailureThreshold"]) == ("TCP", 8883, 30, 3)
    tags = route53.list_tags_for_resource(ResourceType="healthcheck", ResourceId=identity)["ResourceTagSet"]["Tags"]
    assert {"Key": "Application", "Value": "fleet"} in tags
    assert stack.update(check(FailureThreshold=5), ID) == "UPDATE_COMPLETE"
    changed = route53.get_health_check(HealthCheckId=identity)["HealthCheck"]
    assert (changed["HealthCheckConfig"]["FailureThreshold"], changed["HealthCheckVersion"]) == (5, 2)
    assert stack.update(check(RequestInterval=10), ID) == "UPDATE_COMPLETE"
    replaced = stack.outputs["Id"]
    assert replaced != identity
    with pytest.raises(ClientError, match="NoSuchHealthCheck"):
        route53.get_health_check(HealthCheckId=identity)
    stack.delete()
    with pytest.raises(ClientError, match="NoSuchHealthCheck"):
        route53.get_health_check(HealthCheckId=replaced)


def test_bad_health_check_rolls_back_with_the_reason(sandbox: Sandbox, stack: Stack) -> None:
    assert stack.create(check(RequestInterval=7)) == "ROLLBACK_COMPLETE"
    assert "RequestInterval must be 10 or 30" in stack.failures[0]


def records(sandbox: Sandbox, name: str) -> list[dict[str, Any]]:
    listed = sandbox.client("route53", REGION).list_resource_record_sets(HostedZoneId=sandbox.hosted_zone_id)
    return [record for record in listed["ResourceRecordSets"] if record["Name"] == name]


def test_latency_record_keeps_region_and_health_check(sandbox: Sandbox, stack: Stack) -> None:
    name = unique("latency") + ".example.com"
    record = {
        "HostedZoneId": sandbox.hosted_zone_id, "Name": name, "Type": "CNAME", "TTL": "60",
        "ResourceRecords": ["x.iot.eu-west-1.amazonaws.com"], "Region": REGION, "SetIdentifier": REGION,
    }  # fmt: skip
    resources = check() | {
        "Record": {"Type": "AWS::Route53::RecordSet", "Properties": {**record, "HealthCheckId": {"Ref": "It"}}}
    }
    assert stack.create(resources, ID) == "CREATE_COMPLETE"
    (made,) = records(sandbox, f"{name}.")
    assert (made["Region"], made["SetIdentifier"], made["HealthCheckId"]) == (REGION, REGION, stack.outputs["Id"])
    stack.delete()
    assert records(sandbox, f"{name}.") == []


def test_record_set_group(sandbox: Sandbox, stack: Stack) -> None:
    name = unique("group") + ".example.com"

    def group(**targets: str) -> Resources:
        sets = [
            {"Name": f"{label}.{name}", "Type": "CNAME", "TTL": "60", "ResourceRecords": [target]}
            for label, target in targets.items()
        ]
        return one("AWS::Route53::RecordSetGroup", HostedZoneId=sandbox.hosted_zone_id, RecordSets=sets)

    def values() -> dict[str, str]:
        return {
            label: records(sandbox, f"{label}.{name}.")[0]["ResourceRecords"][0]["Value"]
            for label in "abc"
            if records(sandbox, f"{label}.{name}.")
        }

    assert stack.create(group(a="1.example.com", b="2.example.com")) == "CREATE_COMPLETE"
    assert values() == {"a": "1.example.com", "b": "2.example.com"}
    assert stack.update(group(b="3.example.com", c="4.example.com")) == "UPDATE_COMPLETE"
    assert values() == {"b": "3.example.com", "c": "4.example.com"}
    stack.delete()
    assert values() == {}


def test_composite_alarm(sandbox: Sandbox, stack: Stack) -> None:
    cloudwatch, name = sandbox.client("cloudwatch", REGION), unique("alarm")
    child = {
        "Child": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "AlarmName": f"{name}-child", "Namespace": "N", "MetricName": "M", "Statistic": "Sum", "Period": 60,
                "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold",
            },
        }
    }  # fmt: skip

    def composite(description: str) -> Resources:
        resources = one(
            "AWS::CloudWatch::CompositeAlarm",
            AlarmName=name,
            AlarmRule=f"ALARM({name}-child)",
            AlarmDescription=description,
        )
        resources["It"]["DependsOn"] = "Child"
        return resources | child

    outputs = {**ID, "Arn": {"Fn::GetAtt": ["It", "Arn"]}}
    assert stack.create(composite("first"), outputs) == "CREATE_COMPLETE", stack.failures
    assert stack.update(composite("second"), outputs) == "UPDATE_COMPLETE"
    (made,) = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert (made["AlarmDescription"], made["AlarmArn"]) == ("second", stack.outputs["Arn"])
    stack.delete()
    assert not cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]


def test_iot_logging(sandbox: Sandbox, stack: Stack) -> None:
    iot, arn = sandbox.client("iot", REGION), role(sandbox, "iot.amazonaws.com", {})

    def logging(level: str) -> Resources:
        return one("AWS::IoT::Logging", AccountId={"Ref": "AWS::AccountId"}, RoleArn=arn, DefaultLogLevel=level)

    assert stack.create(logging("ERROR")) == "CREATE_COMPLETE"
    assert stack.update(logging("INFO")) == "UPDATE_COMPLETE"
    options = iot.get_v2_logging_options()
    assert (options["roleArn"], options["defaultLogLevel"]) == (arn, "INFO")
    second = Stack(sandbox)
    assert second.create(logging("ERROR")) == "ROLLBACK_COMPLETE"
    assert "already exists" in second.failures[0]
    stack.delete()
    with pytest.raises(ClientError, match="NotConfigured"):
        iot.get_v2_logging_options()


def test_state_machine_keeps_its_logging_and_takes_yaml(sandbox: Sandbox, stack: Stack) -> None:
    states, name = sandbox.client("stepfunctions", REGION), unique("machine")
    bucket, s3 = unique("bucket"), sandbox.client("s3", REGION)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    definition = "StartAt: End\nStates:\n  End: {Type: Succeed, Comment: '${Word}'}\n"
    s3.put_object(Bucket=bucket, Key="m.yaml", Body=definition.encode())

    def machine(level: str, **more: Any) -> Resources:
        resources = one(
            "AWS::StepFunctions::StateMachine",
            StateMachineName=name,
            StateMachineType="EXPRESS",
            RoleArn=role(sandbox, "states.amazonaws.com", LOG_DELIVERY),
            DefinitionS3Location={"Bucket": bucket, "Key": "m.yaml"},
            DefinitionSubstitutions={"Word": "hello"},
            LoggingConfiguration={
                "Level": level,
                "IncludeExecutionData": True,
                "Destinations": [{"CloudWatchLogsLogGroup": {"LogGroupArn": {"Fn::GetAtt": ["Logs", "Arn"]}}}],
            },
            **more,
        )
        return resources | {"Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": f"/{name}"}}}

    for operation, level in ((stack.create, "ERROR"), (stack.update, "ALL")):
        assert operation(machine(level), ID).endswith("_COMPLETE"), stack.failures
        described = states.describe_state_machine(stateMachineArn=stack.outputs["Id"])
        assert described["loggingConfiguration"]["level"] == level
        (destination,) = described["loggingConfiguration"]["destinations"]
        assert destination["cloudWatchLogsLogGroup"]["logGroupArn"].endswith(f":log-group:/{name}:*")
        assert json.loads(described["definition"])["States"]["End"]["Comment"] == "hello"
    broken = {"Definition": {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}}
    other = one("AWS::StepFunctions::StateMachine", RoleArn=role(sandbox, "states.amazonaws.com", {}), **broken)
    refused = Stack(sandbox)
    assert refused.create(other) == "ROLLBACK_COMPLETE"
    assert "MISSING_TRANSITION_TARGET" in refused.failures[0]


def test_table_keeps_expiry_backups_and_protection(sandbox: Sandbox, stack: Stack) -> None:
    dynamodb, name = sandbox.client("dynamodb", REGION), unique("table")

    def table(protected: str) -> Resources:
        return one(
            "AWS::DynamoDB::Table",
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "Name", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "Name", "KeyType": "HASH"}],
            DeletionProtectionEnabled=protected,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            TimeToLiveSpecification={"AttributeName": "ExpiresAt", "Enabled": True},
        )

    assert stack.create(table("true")) == "CREATE_COMPLETE"
    assert dynamodb.describe_table(TableName=name)["Table"]["DeletionProtectionEnabled"] is True
    expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ExpiresAt"}
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert stack.update(table("false")) == "UPDATE_COMPLETE"
    assert dynamodb.describe_table(TableName=name)["Table"]["DeletionProtectionEnabled"] is False
    stack.delete()


def test_what_is_there_is_not_taken_over(sandbox: Sandbox, stack: Stack) -> None:
    name = queue(sandbox)[1].rsplit(":", 1)[-1]
    assert stack.create(one("AWS::SQS::Queue", QueueName=name)) == "ROLLBACK_COMPLETE"
    assert "already exists" in stack.failures[0]
    assert sandbox.client("sqs", REGION).get_queue_url(QueueName=name)


def test_dead_letter_queue_of_a_queue(sandbox: Sandbox, stack: Stack) -> None:
    resources = {
        "Dead": {"Type": "AWS::SQS::Queue"},
        "It": {
            "Type": "AWS::SQS::Queue",
            "Properties": {
                "RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 3}
            },
        },
    }
    assert stack.create(resources, {**ID, "Dead": {"Fn::GetAtt": ["Dead", "Arn"]}}) == "CREATE_COMPLETE"
    attributes = sandbox.client("sqs", REGION).get_queue_attributes(
        QueueUrl=stack.outputs["Id"], AttributeNames=["RedrivePolicy"]
    )["Attributes"]
    policy = json.loads(attributes["RedrivePolicy"])
    assert (policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])) == (stack.outputs["Dead"], 3)


def test_validated_certificate_and_the_domain_it_proves(sandbox: Sandbox, stack: Stack) -> None:
    domain, root = unique("iot") + ".example.com", issue("Test Root", authority=True)
    server = issue(domain, root, dns=(domain,))
    acm = sandbox.client("acm", REGION)
    imported = acm.import_certificate(Certificate=server.pem, PrivateKey=server.key_pem, CertificateChain=root.pem)[
        "CertificateArn"
    ]
    resources = {
        "Proof": {
            "Type": "AWS::CertificateManager::Certificate",
            "Properties": {
                "DomainName": domain,
                "ValidationMethod": "DNS",
                "DomainValidationOptions": [{"DomainName": domain, "HostedZoneId": sandbox.hosted_zone_id}],
            },
        },
        "It": {
            "Type": "AWS::IoT::DomainConfiguration",
            "Properties": {
                "DomainConfigurationName": unique("domain"),
                "DomainConfigurationStatus": "ENABLED",
                "DomainName": domain,
                "ServiceType": "DATA",
                "ServerCertificateArns": [imported],
                "ValidationCertificateArn": {"Ref": "Proof"},
                "TlsConfig": {"SecurityPolicy": "IoTSecurityPolicy_TLS13_1_3_2022_10"},
            },
        },
    }
    assert stack.create(resources, {**ID, "Proof": {"Ref": "Proof"}}) == "CREATE_COMPLETE", stack.failures
    certificate = acm.describe_certificate(CertificateArn=stack.outputs["Proof"])["Certificate"]
    assert (certificate["Status"], certificate["Type"]) == ("ISSUED", "AMAZON_ISSUED")
    wanted = certificate["DomainValidationOptions"][0]["ResourceRecord"]
    (record,) = records(sandbox, wanted["Name"])
    assert (record["Type"], record["ResourceRecords"]) == ("CNAME", [{"Value": wanted["Value"]}])
    domain_configuration = sandbox.client("iot", REGION).describe_domain_configuration(
        domainConfigurationName=stack.outputs["Id"]
    )
    assert domain_configuration["tlsConfig"] == {"securityPolicy": "IoTSecurityPolicy_TLS13_1_3_2022_10"}
    assert domain_configuration["domainConfigurationStatus"] == "ENABLED"

    # Another certificate is another domain configuration, and one that has a name is not replaced.
    other = issue(domain, root, dns=(domain,))
    arn = acm.import_certificate(Certificate=other.pem, PrivateKey=other.key_pem, CertificateChain=root.pem)[
        "CertificateArn"
    ]
    changed = {**resources["It"], "Properties": {**resources["It"]["Properties"], "ServerCertificateArns": [arn]}}
    assert stack.update({**resources, "It": changed}) == "UPDATE_ROLLBACK_COMPLETE"
    assert any("cannot update a stack when a custom-named resource requires replacing" in why for why in stack.failures)
    assert stack.update({"Proof": resources["Proof"]}) == "UPDATE_COMPLETE"
    assert stack.update({**resources, "It": changed}, ID) == "UPDATE_COMPLETE", stack.failures
    domain_configuration = sandbox.client("iot", REGION).describe_domain_configuration(
        domainConfigurationName=stack.outputs["Id"]
    )
    assert domain_configuration["serverCertificates"][0]["serverCertificateArn"] == arn
    stack.delete()
    assert records(sandbox, wanted["Name"])  # as on AWS, where CloudFormation leaves the validation record
