# SPDX-License-Identifier: GPL-3.0-or-later
"""The method of `iot-devices-cmp.py` of AWS's Disaster Recovery for AWS IoT (D in docs/defects.md), in our own words.

It asks the fleet index of the primary region for all things and looks at each by itself: in one region and then in the
other DescribeThing, ListThingPrincipals, DescribeCertificate, ListPrincipalPolicies and GetPolicy.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

PAGE = 100  # the most that SearchIndex returns


@dataclass(frozen=True)
class Compared:
    """Devices by what was seen ("same", "different", "error"), and seconds from the first call to the last answer.

    ``processor``: seconds of our process meanwhile.
    """

    devices: Counter[str]
    seconds: float
    processor: float

    def whole(self, devices: int) -> tuple[float, float]:
        """How long so many take, and how much of a processor: each costs the same."""
        share = devices / self.devices.total()
        return self.seconds * share, self.processor * share


def compare(gateway: str, primary: str, secondary: str, *, workers: int, devices: int) -> Compared:
    """Compare the first so many devices of the primary region's index, in so many threads."""
    first, second = (_client(gateway, region, workers) for region in (primary, secondary))

    def look(thing: str) -> str:
        try:
            return "same" if _state(first, thing) == _state(second, thing) else "different"
        except ClientError:
            return "error"

    started, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(workers) as pool:
        seen = Counter(pool.map(look, itertools.islice(_things(first), devices)))
    return Compared(seen, time.perf_counter() - started, time.process_time() - used)


def _client(gateway: str, region: str, workers: int) -> Any:
    """One for all threads, with a connection for each that is kept; retries as D sets them."""
    config = Config(max_pool_connections=workers + 10, retries={"max_attempts": 10, "mode": "standard"})
    session = boto3.session.Session("test", "any-will-do", region_name=region)
    return session.client("iot", endpoint_url=gateway, config=config)


def _things(iot: Any) -> Iterator[str]:
    token: dict[str, str] = {}
    while True:
        answer = iot.search_index(indexName="AWS_Things", queryString="thingName:*", maxResults=PAGE, **token)
        yield from (thing["thingName"] for thing in answer["things"])
        if not answer.get("nextToken"):
            return
        token = {"nextToken": answer["nextToken"]}


def _state(iot: Any, thing: str) -> tuple[str, str]:
    """The last certificate and the last policy of a thing; of one that is not there neither."""
    certificate_id = policy_name = ""
    try:
        iot.describe_thing(thingName=thing)
        for principal in iot.list_thing_principals(thingName=thing)["principals"]:
            certificate_id = principal.rpartition("/")[2]
            iot.describe_certificate(certificateId=certificate_id)
            for policy in iot.list_principal_policies(principal=principal)["policies"]:
                policy_name = policy["policyName"]
                iot.get_policy(policyName=policy_name)
    except iot.exceptions.ResourceNotFoundException:
        return "", ""
    return certificate_id, policy_name
