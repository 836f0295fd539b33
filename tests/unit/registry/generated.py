# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows as Hypothesis makes them up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows

REGIONS = ("eu-west-1", "us-west-2", "ap-southeast-2")
IDS = ("c1", "c2", "c3")
NOW = datetime.now(UTC).replace(microsecond=0)

QUICK = settings(max_examples=60, deadline=None)

# Hours around NOW, so that some are past, some are to come, and one is this very moment.
TIMES = st.integers(-3, 3).map(lambda hours: rows.timestamp(NOW + timedelta(hours=hours)))
CLOCKS = st.dictionaries(st.sampled_from(REGIONS), st.integers(0, 3))


@st.composite
def certificates(draw: st.DrawFn, certificate_id: str) -> rows.Row:
    optional = {
        name: draw(TIMES) for name in ("RetireAt", "RevokeAt", "PresentBy", "PresentedAt") if draw(st.booleans())
    }
    return {
        "Pem": f"PEM of {certificate_id}",
        "Status": draw(st.sampled_from(rows.STATUSES)),
        "NotAfter": draw(TIMES),
        "IssuerFingerprint": "f1",
        "Serial": f"5e{certificate_id}",
        "RegisteredAt": draw(TIMES),
        "RegisteredIn": draw(st.sampled_from(REGIONS)),
        **optional,
    }


@st.composite
def some_rows(draw: st.DrawFn) -> rows.Row:
    """A row of the thing ``t``, with or without certificates, the current one among them."""
    held = draw(st.sets(st.sampled_from(IDS)))
    row = {
        "ThingName": "t",
        "State": draw(st.sampled_from(rows.STATES)),
        "Version": draw(st.integers(1, 9)),
        "WriteId": str(draw(st.uuids())),
        "Ancestors": [],
        "UpdatedRegion": draw(st.sampled_from(REGIONS)),
        "Certificates": {each: draw(certificates(each)) for each in sorted(held)},
        "Attributes": draw(st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))),
    }
    if held:
        current = draw(st.sampled_from(sorted(held)))
        row |= {"CertificateId": current, "CertificateArn": f"arn of {current}", "NotAfter": "of " + current}
        if draw(st.booleans()):  # one that AWS IoT signed has no CA
            row["CaCertificateId"] = f"CA of {current}"
    return row


ROWS = some_rows()
