# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops device status``: what is in a device's directory, and whether a broker lets it in."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from iotops.device import files, home, opening
from iotops.device.attempts import Pace
from iotops.device.certificates import read_certificates
from iotops.device.connection import Connection
from iotops.device.credentials import FileCredentials
from iotops.device.errors import ConnectionProblem, Denied, DeviceError, NotNow, Refused, TurnedAway
from iotops.device.rotation import read_state


def run(arguments: argparse.Namespace) -> int:
    """Print the status; the exit code tells whether the device has a certificate, and if asked for, a connection.

    Raises:
        DeviceError: something in the directory is damaged.

    """
    facts = _of_files(arguments.directory, arguments.thing_name)
    if arguments.connect and facts["certificateId"]:
        facts["connection"] = _connection(arguments)
    sys.stdout.write(f"{json.dumps(facts)}\n" if arguments.json else "".join(_lines(facts)))
    if not facts["certificateId"]:
        return Denied.code
    state = facts["connection"]["state"] if facts["connection"] else "accepted"
    if state == "refused" and facts["acceptedBefore"]:
        return TurnedAway.code
    return 0 if state in ("accepted", "used") else NotNow.code


def _of_files(directory: Path, thing_name: str) -> dict[str, Any]:
    if not directory.is_dir():
        raise DeviceError(f"--directory {directory}: it is not there")
    credentials, belongs = FileCredentials(directory, thing_name), home.read(directory, thing_name)
    path, rotation = directory / f"{thing_name}.cert.pem", read_state(directory / "rotation.json")
    certificate = read_certificates(path)[0] if path.exists() else None
    return {
        "thingName": thing_name,
        "provisioned": bool(certificate and belongs),
        "certificateId": credentials.certificate_id() if certificate else None,
        "notBefore": certificate and _moment(certificate.not_valid_before_utc),
        "notAfter": certificate and _moment(certificate.not_valid_after_utc),
        "valid": certificate
        and certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc,
        "acceptedBefore": bool(certificate) and credentials.was_accepted("current"),
        "region": belongs and belongs.region,
        "endpointAddress": belongs and belongs.address,
        "serverName": belongs and belongs.server_name,
        "port": belongs and belongs.port,
        "rotation": rotation and {"jobId": rotation.job_id, "step": str(rotation.step), "reason": rotation.reason},
        "connection": None,
    }


def _connection(arguments: argparse.Namespace) -> dict[str, str]:
    """Try the addresses once each: a device that is connected elsewhere must not lose its connection for that."""
    problem: Exception = DeviceError("nothing was dialled")
    try:
        with files.locked(arguments.directory):
            credentials, dial = opening.opened(arguments)
            credentials.check()
            for _each in opening.endpoints(arguments):
                connection: Connection = dial(credentials.pair("current"))
                try:
                    with closing(connection):
                        connection.connect(Pace.network)
                    return {"state": "accepted", "message": ""}
                except ConnectionProblem as error:
                    problem = error
                if isinstance(problem, Refused):
                    break
    except files.InUse:
        return {"state": "used", "message": "another process is this device, and may be connected"}
    return {"state": "refused" if isinstance(problem, Refused) else "unreachable", "message": str(problem)}


def _lines(facts: dict[str, Any]) -> list[str]:
    validity = "has no certificate"
    if facts["certificateId"]:
        state = "valid" if facts["valid"] else "NOT valid now"
        validity = f"{facts['certificateId']}, {state}: {facts['notBefore']} to {facts['notAfter']}"
    rotation, connection = facts["rotation"], facts["connection"]
    shown = {
        "thing": f"{facts['thingName']}, {'provisioned' if facts['provisioned'] else 'not provisioned'}",
        "certificate": validity,
        "accepted before": "yes" if facts["acceptedBefore"] else "no",
        "region": facts["region"] or "unknown",
        "endpoint": facts["region"] and f"{facts['endpointAddress']}:{facts['port']}, asked for {facts['serverName']}",
        "rotation": f"{rotation['step']} {rotation['reason']} (job {rotation['jobId']})" if rotation else "none",
        "connection": connection and f"{connection['state']} {connection['message']}".strip(),
    }
    return [f"{name + ':':17}{value}\n" for name, value in shown.items() if value]


def _moment(when: datetime) -> str:
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")
