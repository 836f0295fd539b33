# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment did: read from the sandbox's journal, execution history and logs, whatever is deployed."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.joining.bill import item_bytes
from benchmarks.joining.prices import CALL_SECONDS, FUNCTION_SECONDS, STATE_SECONDS
from tests.integration.deployment import Deployment, eventually


@dataclass(frozen=True)
class Owner:
    """Whose role makes a call: ``role`` as the template calls it, and the state machine that has it ("" for others)."""

    region: str
    role: str
    machine: str = ""


@dataclass(frozen=True)
class Table:
    """A table: replicas (1 when it is regional), global secondary indexes, and bytes of each item."""

    replicas: int
    indexes: int
    sizes: list[int]

    def units(self, step: int) -> int:
        """What one operation on the largest item takes, in steps of so many bytes."""
        return max(1, math.ceil(max(self.sizes, default=0) / step))


@dataclass(frozen=True)
class Standing:
    """What works by the clock, in all regions together."""

    pipes: int
    queues: int  # that functions are woken by
    sweeps: int
    sweep_gb: float = 0.0
    comparison_interval: float = math.inf  # seconds between two comparisons with IoT's listing of things
    listed_kb: float = 0.0  # of a listing's answer, a thing


@dataclass
class Execution:
    """One execution of a state machine: the states that it entered, and how often it tried a task again."""

    region: str
    machine: str
    states: list[str] = field(default_factory=list)
    tasks: int = 0
    attempts: int = 0

    @property
    def transitions(self) -> int:
        """What STANDARD charges: each state entered, and each further attempt."""
        return len(self.states) + max(0, self.attempts - self.tasks)


class Observer:
    """Reads what happened in one deployment since ``since``."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.since = deployment, deployment.sandbox.now()
        self.functions: dict[str, tuple[str, ...]] = {}  # region -> names
        self._owners: dict[str, Owner] = {}
        for region in deployment.regions:
            resources = list(self._resources(region))
            self.functions[region] = tuple(name for kind, _id, name in resources if kind == "AWS::Lambda::Function")
            self._owners |= {
                name: Owner(region, logical) for kind, logical, name in resources if kind.endswith("::Role")
            }

    def _client(self, service: str, region: str) -> Any:
        return self.deployment.sandbox.client(service, region)

    def _resources(self, region: str) -> Iterator[tuple[str, str, str]]:
        """Type, logical and physical id of everything in the fleet's stacks."""
        cloudformation = self._client("cloudformation", region)
        for stack in cloudformation.describe_stacks()["Stacks"]:
            for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack["StackName"]):
                for resource in page["StackResourceSummaries"]:
                    yield resource["ResourceType"], resource["LogicalResourceId"], resource["PhysicalResourceId"]

    def machine_arns(self, region: str) -> list[str]:
        """The state machines of the region."""
        machines = self._client("stepfunctions", region).list_state_machines()["stateMachines"]
        return [machine["stateMachineArn"] for machine in machines]

    def log_everything(self) -> None:
        """Let EXPRESS machines log every event: the log group is their only history."""
        for region in self.deployment.regions:
            stepfunctions = self._client("stepfunctions", region)
            for arn in self.machine_arns(region):
                logging = stepfunctions.describe_state_machine(stateMachineArn=arn)["loggingConfiguration"]
                stepfunctions.update_state_machine(
                    stateMachineArn=arn, loggingConfiguration={**logging, "level": "ALL", "includeExecutionData": False}
                )

    def calls(self) -> list[tuple[Owner, dict[str, Any]]]:
        """The journal's lines of calls that the fleet's own roles made."""
        found = []
        for call in self.deployment.sandbox.journal(since=self.since):
            parts = str(call["caller"]).split("/")
            if ":assumed-role" in parts[0] and parts[1] in self._owners:
                found.append((self._owners[parts[1]], call))
        return found

    def rule_filters(self, region: str) -> list[str]:
        """The topic filter of each topic rule."""
        iot = self._client("iot", region)
        names = [rule["ruleName"] for rule in iot.list_topic_rules()["rules"]]
        statements = [iot.get_topic_rule(ruleName=name)["rule"]["sql"] for name in names]
        return [re.findall(r"FROM\s+'([^']+)'", sql, re.IGNORECASE)[0] for sql in statements]

    def executions(self) -> list[Execution]:
        """Every execution that has ended or still runs."""
        express = self.deployment.machine_type == "EXPRESS"
        history = self._logged if express else self._recorded
        return [execution for region in self.deployment.regions for execution in history(region)]

    def _recorded(self, region: str) -> list[Execution]:
        stepfunctions, found = self._client("stepfunctions", region), []
        for arn in self.machine_arns(region):
            for page in stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=arn):
                for execution in page["executions"]:
                    found.append(Execution(region, arn.rsplit(":", 1)[-1]))
                    pages = stepfunctions.get_paginator("get_execution_history")
                    for events in pages.paginate(executionArn=execution["executionArn"]):
                        for event in events["events"]:
                            _count(found[-1], event["type"], event.get("stateEnteredEventDetails", {}).get("name"))
        return found

    def _logged(self, region: str) -> list[Execution]:
        found: dict[str, Execution] = {}
        for message in self._log(region, f"/aws/vendedlogs/states/{self.deployment.application}"):
            event = json.loads(message)
            arn = event["execution_arn"]
            execution = found.setdefault(arn, Execution(region, arn.split(":")[6]))
            _count(execution, event["type"], event["details"].get("name"))
        return list(found.values())

    def _log(self, region: str, group: str) -> Iterator[str]:
        since = int(self.since.timestamp() * 1000)
        logs = self._client("logs", region)
        try:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since):
                yield from (event["message"] for event in page["events"])
        except logs.exceptions.ResourceNotFoundException:
            return  # the function never ran

    def invocations(self) -> tuple[Counter[str], int]:
        """How often each function ran, and the bytes that all of them logged."""
        counted: Counter[str] = Counter()
        size = 0
        for region in self.deployment.regions:
            for function in self.functions[region]:
                configuration = self._client("lambda", region).get_function_configuration(FunctionName=function)
                group = configuration.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{function}"
                for message in self._log(region, group):
                    counted[function] += message.startswith("START ")
                    size += len(message.encode()) + 26  # what CloudWatch Logs adds to each event
        return counted, size

    def memory_gb(self, function: str) -> float:
        """What a function is given."""
        region = next(region for region in self.deployment.regions if function in self.functions[region])
        configuration = self._client("lambda", region).get_function_configuration(FunctionName=function)
        return float(configuration["MemorySize"]) / 1024

    def table(self, name: str) -> Table:
        """A table as it is in the first region."""
        region = self.deployment.regions[0]
        dynamodb = self._client("dynamodb", region)
        described = dynamodb.describe_table(TableName=name)["Table"]
        replicas = {region, *(replica["RegionName"] for replica in described.get("Replicas", ()))}
        pages = dynamodb.get_paginator("scan").paginate(TableName=name)
        sizes = [item_bytes(item) for page in pages for item in page["Items"]]
        return Table(len(replicas), len(described.get("GlobalSecondaryIndexes", ())), sizes)

    def standing(self) -> Standing:
        """Pipes, queues and sweeps of all regions."""
        pipes = queues = 0
        sweeps: list[tuple[str, str]] = []
        for region in self.deployment.regions:
            pipes += len(self._client("pipes", region).list_pipes()["Pipes"])
            mappings = self._client("lambda", region).list_event_source_mappings()["EventSourceMappings"]
            queues += sum(":sqs:" in mapping["EventSourceArn"] for mapping in mappings)
            sweeps += [(region, name) for name in self.functions[region] if name.endswith("-sweep-devices")]
        if not sweeps:
            return Standing(pipes, queues, 0)
        region, name = sweeps[0]
        variables = self._client("lambda", region).get_function_configuration(FunctionName=name)["Environment"]
        things = self._client("iot", region).list_things()["things"]
        return Standing(
            pipes,
            queues,
            len(sweeps),
            sweep_gb=self.memory_gb(name),
            comparison_interval=60 * float(variables["Variables"]["THINGS_MINUTES"]),
            listed_kb=len(json.dumps(things)) / len(things) / 1024,
        )

    def store_messages(self, things: list[str]) -> tuple[int, int]:
        """Let each thing send a message: how many are in the data table, and how many executions that took."""
        region, application = self.deployment.regions[0], self.deployment.application
        began = self.deployment.sandbox.now()
        for thing in things:
            self._client("iot-data", region).publish(topic=f"i/{thing}/benchmark", payload=b'{"n": 1}')
        dynamodb = self._client("dynamodb", region)
        eventually(lambda: dynamodb.scan(TableName=f"{application}-data", Select="COUNT")["Count"] >= len(things))
        started = self.deployment.sandbox.journal(since=began, operation="StartExecution")
        return len(things), len(started)

    def _machines(self, region: str) -> dict[str, dict[str, Any]]:
        stepfunctions = self._client("stepfunctions", region)
        described = (stepfunctions.describe_state_machine(stateMachineArn=arn) for arn in self.machine_arns(region))
        return {machine["name"]: machine for machine in described}

    def definitions(self) -> dict[str, dict[str, Any]]:
        """The definitions of the machines by name; they are alike in all regions but for ARNs."""
        region = self.deployment.regions[0]
        return {name: json.loads(machine["definition"]) for name, machine in self._machines(region).items()}


def _count(execution: Execution, event: str, state: str | None) -> None:
    if event.endswith("StateEntered") and state:
        execution.states.append(state)
    execution.tasks += event == "TaskStateEntered"
    execution.attempts += event == "TaskScheduled"


def tasks(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Task state, also those inside of Maps, with its name."""
    for name, state in definition["States"].items():
        if state["Type"] == "Task":
            yield name, state
        for inner in filter(None, (state.get("ItemProcessor"), *state.get("Branches", ()))):
            yield from tasks(inner)


def assumed_seconds(execution: Execution, definition: dict[str, Any]) -> float:
    """How long the execution would take on AWS (``prices.CALL_SECONDS``)."""
    services = {name: _service(state["Resource"]) for name, state in tasks(definition)}
    seconds = STATE_SECONDS * len(execution.states)
    for state in execution.states:
        service = services.get(state)
        seconds += CALL_SECONDS[service] if service else 0.0
        seconds += FUNCTION_SECONDS if service == "lambda" else 0.0
    return seconds


def _service(resource: str) -> str:
    """``dynamodb`` of ``arn:aws:states:::aws-sdk:dynamodb:updateItem``."""
    return resource.split(":::")[1].removeprefix("aws-sdk:").split(":")[0]


def reads_consistently(definition: dict[str, Any], operation: str, table: str) -> bool:
    """Whether one of the machine's tasks with that operation on the table asks for a strongly consistent read."""
    for _name, state in tasks(definition):
        arguments = json.dumps(state.get("Arguments"))
        same = state["Resource"].lower().endswith(f"dynamodb:{operation.lower()}") and table in arguments
        if same and re.search(r"ConsistentRead\W+true", arguments):
            return True
    return False
