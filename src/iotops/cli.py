# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``iotops``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from iotops.device import cli as device_cli
from iotops.device.errors import DeviceError
from iotops.sandbox import cli as sandbox_cli
from iotops.sandbox.errors import SandboxError


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; each command stores the function that runs it as ``run``."""
    parser = argparse.ArgumentParser(prog="iotops", description="Companion of the Ansible collection iotops.fleet.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    sandbox_cli.add_parser(commands)
    device_cli.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the command's own, or 2 with one line on stderr for bad input."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (SandboxError, DeviceError) as error:
        print(f"iotops: {error}", file=sys.stderr)
        return 2
    except (BrokenPipeError, KeyboardInterrupt):
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
