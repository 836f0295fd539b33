# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim certificates of a fleet: those that carry its claim policy. Private to the collection."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._devices import calls
from ansible_collections.iotops.fleet.plugins.module_utils._iot.certificates import describe


def claim_certificates(iot: Any, application: str) -> list[calls.Certificate]:
    """The region's certificates with the policy ``<application>-claim``, by id."""
    ids = sorted(calls.certificates_with_policy(iot, f"{application}-claim") or ())  # a few, among very many
    found = [described for described in (describe(iot, each) for each in ids) if described]
    return [
        calls.Certificate(certificate_id=each["certificateId"], arn=each["certificateArn"], status=each["status"])
        for each in found
    ]


__all__ = ["claim_certificates"]
