# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trying again what a region gave up on. Everything that is woken here bears being woken twice. Private."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters import calls, rules
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.letters import (
    FUNCTIONS,
    Letter,
    converge_input,
    input_of_record,
)

MACHINES = ("register-device", "converge-device", "store-message")


class KeptError(Exception):
    """Why a letter stays where it is."""


@dataclass(frozen=True)
class Replay:
    """Who tries again in one region. ``client`` gives the boto3 client of a service."""

    client: Callable[[str], Any]
    application: str
    region: str
    partition: str
    account: str
    confirm_deletions: bool

    def attempt(self, letter: Letter) -> str:
        """Hand the letter to whoever finishes it, and return who that was.

        Raises:
            KeptError: nobody took it.

        """
        forms: dict[str, Callable[[Letter], str]] = {
            "machine": self._of_machine,
            "topic_rule": self._of_topic_rule,
            "bus_event": self._of_bus_event,
            "pipe": self._of_pipe,
            "look": self._of_look,
            "shadow": lambda each: self._send(FUNCTIONS["shadow"], each.body),
            "rotation": lambda each: self._send(FUNCTIONS["rotation"], each.body),
            "sweep": lambda each: self._wake(each.function),
        }
        if letter.kind not in forms:
            raise KeptError("nobody knows its form")
        try:
            return forms[letter.kind](letter)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise KeptError(f"its {letter.kind} form lacks something ({error!r})") from error
        except AnsibleAWSError as error:
            raise KeptError(str(error)) from error

    def _of_machine(self, letter: Letter) -> str:
        name, event = letter.execution
        machine = name.removeprefix(f"{self.application}-")
        if machine not in MACHINES:
            raise KeptError(f"the fleet has no state machine {name}")
        return self._start(machine, event)

    def _of_topic_rule(self, letter: Letter) -> str:
        rule = str(letter.body["ruleName"]).removeprefix(f"{self.application.replace('-', '_')}_")
        if letter.payload is None:
            raise KeptError("the message is no JSON")
        if rule == "register_device":
            return self._start("register-device", letter.payload)
        if rule == "store_message":
            # Not published again: that would wake all listeners of the topic, and store it once more each time.
            calls.put_item(self.client("dynamodb"), self._name("data"), rules.stored_item(letter, self.region))
            return "table data"
        if rule.startswith("queue_"):
            return self._send(rule.replace("_", "-"), rules.queued_item(letter, self.region))
        if rule == "rotate_certificate":
            raise KeptError("nobody knows whose connection it came over; the device asks again by itself")
        if "shadow" in rule:
            message = rules.shadow_message(letter)
            if message is None:
                raise KeptError(f"no rule on shadows listens to {letter.body['topic']}")
            return self._send("record-shadow", message)
        if letter.body["topic"].startswith("$aws/events/"):
            return self._send("ingest-thing", rules.registry_message(letter))
        raise KeptError(f"the fleet has no topic rule {letter.body['ruleName']}")

    def _of_bus_event(self, letter: Letter) -> str:
        event = converge_input(letter.body)
        if not event:
            raise KeptError("the event names no device")
        return self._start("converge-device", event)

    def _of_look(self, letter: Letter) -> str:
        if not letter.is_held:
            return self._send("ingest-thing", letter.body)
        if not self.confirm_deletions:
            raise KeptError("a deletion beyond the limit: nothing is deleted before you confirm it")
        message = {name: value for name, value in letter.body.items() if name != "held"}
        return self._send("ingest-thing", {**message, "look": 0, "confirmed": True})

    def _of_pipe(self, letter: Letter) -> str:
        batch = letter.body["DDBStreamBatchInfo"]
        table = batch["streamArn"].split("/")[1].removeprefix(f"{self.application}-")
        readers: dict[str, Callable[[list[dict[str, Any]]], str]] = {
            "device-inventory": self._converge_records,
            "definitions": lambda records: self._invoke("converge-definition", records),
            "shadows": lambda records: self._invoke("apply-shadow", records),
        }
        if table not in readers:
            raise KeptError(f"no pipe of the fleet reads {batch['streamArn']}")
        records = calls.stream_records(self.client("dynamodbstreams"), batch)
        if records is None:
            return self._without_stream(table)
        written = [record for record in records if "NewImage" in record["dynamodb"]]
        return readers[table](written) if written else "nothing: the rows are gone"

    def _without_stream(self, table: str) -> str:
        """A stream keeps records for 24 hours; later, whoever compares tables and registries finds the difference."""
        functions = {"device-inventory": "sweep-devices", "definitions": "converge-definition"}
        if table not in functions:
            raise KeptError("the stream has forgotten it (24 hours); update the shadow again, in any region")
        return f"{self._wake(functions[table])}, as the stream has forgotten it"

    def _converge_records(self, records: list[dict[str, Any]]) -> str:
        for record in records:
            self._start("converge-device", input_of_record(record))
        return f"converge-device, {len(records)} times"

    def _start(self, machine: str, event: Any) -> str:
        arn = f"arn:{self.partition}:states:{self.region}:{self.account}:stateMachine:{self._name(machine)}"
        calls.start_execution(self.client("stepfunctions"), arn, json.dumps(event))
        return machine

    def _send(self, queue: str, message: dict[str, Any]) -> str:
        if not calls.send(self.client("sqs"), self._name(queue), json.dumps(message)):
            raise KeptError(f"the region has no queue {self._name(queue)}; deploy it with site.yml")
        return f"queue {queue}"

    def _invoke(self, function: str, records: list[dict[str, Any]]) -> str:
        failure = calls.invoke(self.client("lambda"), self._name(function), records)
        if failure:
            raise KeptError(f"{function} failed: {failure}")
        return function

    def _wake(self, function: str) -> str:
        if not calls.invoke_later(self.client("lambda"), self._name(function), {}):
            raise KeptError(f"the region has no function {self._name(function)}; deploy it with site.yml")
        return function

    def _name(self, name: str) -> str:
        return f"{self.application}-{name}"


__all__ = ["KeptError", "Replay"]
