# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops device connect``, ``rotate``, ``publish`` and ``subscribe``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from iotops.device import files
from iotops.device.attempts import Limits
from iotops.device.device import Device
from iotops.device.errors import DeviceError, Failed
from iotops.device.line import Line
from iotops.device.opening import opened
from iotops.device.rotation import Patience
from iotops.device.talk import Publisher, Subscriber, bytes_of, line_of

_LONGEST_TOPIC = 256
_LARGEST_MESSAGE = 128 * 1024


def connect(arguments: argparse.Namespace) -> int:
    """Be the device until SIGTERM or SIGINT."""
    _on_line(arguments, Device, telemetry=arguments.telemetry, patience=Patience(pending=arguments.ask_again))
    return 0


def rotate(arguments: argparse.Namespace) -> int:
    """Do the rotation job that waits, and end.

    Raises:
        Failed: it failed; the cloud has been told why.

    """
    device = _on_line(arguments, Once, patience=Patience(pending=arguments.ask_again))
    if device.failure:
        raise Failed(f"the rotation failed: {device.failure}")
    return 0


class Once(Device):
    """A device that ends when no job waits."""

    def run(self, *, once: bool = True) -> None:
        """Do the jobs; see Device."""
        super().run(once=once)


def publish(arguments: argparse.Namespace) -> int:
    """Publish a message."""
    topic = _topic(arguments.topic or f"i/{arguments.thing_name}/m")
    if set(topic) & {"+", "#"}:
        raise DeviceError(f"--topic {topic}: it cannot have + or #: give one topic")
    payload = bytes_of(arguments.message)
    if len(payload) > _LARGEST_MESSAGE:
        raise DeviceError(f"--message: it has {len(payload)} bytes: AWS IoT takes {_LARGEST_MESSAGE}")
    _on_line(
        arguments, Publisher, topic=topic, payload=payload, count=max(1, arguments.count), pause=arguments.interval
    )
    return 0


def subscribe(arguments: argparse.Namespace) -> int:
    """Print the messages of a topic."""

    def show(topic: str, payload: bytes) -> None:
        try:
            sys.stdout.buffer.write(line_of(topic, payload))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Else the interpreter would try again at its end, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise

    _on_line(arguments, Subscriber, topic=_topic(arguments.topic), count=arguments.count, heard=show)
    return 0


def _topic(topic: str) -> str:
    try:
        size = len(topic.encode())
    except UnicodeEncodeError as error:
        raise DeviceError(f"--topic {topic!a}: it is no UTF-8") from error
    if not 0 < size <= _LONGEST_TOPIC or "\0" in topic:
        raise DeviceError(f"--topic: it has {size} bytes: 1 to {_LONGEST_TOPIC}, none of them NUL, are a topic")
    return topic


def _on_line(arguments: argparse.Namespace, kind: Callable[..., Any], **options: Any) -> Any:
    """Let a line run until it ends or is told to by a signal; the line.

    Raises:
        DeviceError: the input is not what it should be, or the line has reached its limits.

    """
    limits = Limits(alone=arguments.give_up, refused=arguments.refused)
    with files.locked(arguments.directory):
        credentials, dial = opened(arguments)
        line: Line = kind(credentials, dial, limits=limits, **options)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: line.stop())
        try:
            line.run()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise DeviceError(f"{error.filename or arguments.directory}: {error.strerror}") from error
    return line
