# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``iotops``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from iotops.device.errors import DeviceError
from iotops.loadtest.errors import LoadTestError
from iotops.sandbox.errors import SandboxError

_COMMANDS = ("sandbox", "device", "loadtest")


def build_parser(first: str = "") -> argparse.ArgumentParser:
    """The whole command line; each command stores the function that runs it as ``run``.

    ``first``: its first word. If that is a command, the others are not imported: a device may be small.
    """
    parser = argparse.ArgumentParser(prog="iotops", description="Companion of the Ansible collection iotops.fleet.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in (first,) if first in _COMMANDS else _COMMANDS:
        importlib.import_module(f"iotops.{name}.cli").add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the command's own, or the error's (2: bad input) with one line on stderr."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        arguments = build_parser(words[0] if words else "").parse_args(words)
        return int(arguments.run(arguments))
    except (SandboxError, DeviceError, LoadTestError) as error:
        print(f"iotops: {error}", file=sys.stderr)
        return 2 if isinstance(error, SandboxError) else error.code
    except (BrokenPipeError, KeyboardInterrupt):
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
