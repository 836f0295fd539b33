# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that sign for devices have in common: the desk of a region, and the CA. Private."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.desk import Desk
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.issuing import Issuing
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call


@api_call("describe the region's data endpoint")
def _data_endpoint(iot: Any) -> str:
    return str(iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"])


def desk_of(module: AnsibleAWSModule, region: str, replica: Replica) -> Desk:
    """The desk of a region, whose rows are written through ``replica``."""
    iot = module.client("iot", region=region)
    # A gateway in front of all services is in front of this one too.
    place = {} if module.params.get("endpoint_url") else {"endpoint": f"https://{_data_endpoint(iot)}"}
    return Desk(
        region=region,
        application=module.params["application"],
        tables=module.client("dynamodb", region=region),
        iot=iot,
        data=module.client("iot-data", region=region, **place),
        replica=replica,
    )


def issuing_of(params: Mapping[str, Any]) -> Issuing:
    """The CA as the module's options name it.

    Raises:
        FleetError: a time that cannot be.

    """
    for name in ("days", "present_within"):
        if params[name] < 1:
            raise FleetError(f"{name}={params[name]}: set 1 or more")
    return Issuing(
        directory=params["authority"],
        passphrase=params["passphrase"] or None,
        days=params["days"],
        present_within=timedelta(seconds=params["present_within"]),
    )


__all__ = ["desk_of", "issuing_of"]
