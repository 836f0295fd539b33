# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of an operator's modules share: the regions of a deployment, and a module that is run four times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.integration.deployment import Deployment
from tests.integration.modules import Region

HOME, AWAY = "eu-west-1", "us-west-2"
BOTH = (HOME, AWAY)


def at(deployment: Deployment, region: str = HOME) -> Region:
    """The region as modules reach it."""
    gateway = deployment.sandbox.gateway
    return Region({"region": region, "endpoint_url": gateway, "access_key": "test", "secret_key": "any-will-do"})


def four_times(run: Callable[..., dict[str, Any]], look: Callable[[], Any]) -> dict[str, Any]:
    """Check mode, real, check mode again, real again; the answer of the real run that changed something.

    ``run(check=...)`` runs the module, ``look()`` reads what it changes.
    Check mode predicts the diff, and writes nothing.
    """
    before = look()
    predicted = run(check=True)
    assert predicted["changed"]
    assert look() == before
    real = run(check=False)
    assert real["changed"]
    assert real["diff"] == predicted["diff"]
    after = look()
    assert after != before
    for check in (True, False):
        again = run(check=check)
        assert not again["changed"], again
        assert again["diff"]["before"] == again["diff"]["after"]
    assert look() == after
    return real
