# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim certificates of a fleet: those that carry its claim policy. Private to the collection."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._devices import calls


def claim_certificates(iot: Any, application: str) -> list[calls.Certificate]:
    """The region's certificates with the policy ``<application>-claim``, by id."""
    ids = calls.certificates_with_policy(iot, f"{application}-claim")
    found = calls.all_certificates(iot) if ids else []
    return sorted((each for each in found if each.certificate_id in (ids or ())), key=lambda each: each.certificate_id)


__all__ = ["claim_certificates"]
