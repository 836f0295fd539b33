# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a replacement of the server certificate would do in each region, and what forbids it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Row = dict[str, Any]
Seen = Mapping[str, Any]
Regions = Mapping[str, Seen]

DONE = "done"


def server_replacement_rows(regions: Regions, wanted: str, domain: str, chosen: Iterable[str]) -> list[Row]:
    """Return one row for each region, in the order in which a run takes them: those that are out of DNS come first.

    ``regions`` says of each region: ``certificates``, ours in ACM as acm_imported_certificate_info returns them;
    ``domains`` and ``served`` as their modules return them; ``records``, the regions that the name leads to.
    ``wanted`` is the certificate in PEM form, empty while it is not issued. ``chosen`` are the regions to work on.

    ``dns``; ``serves``, serial number of the certificate of the domain configuration, None without one; ``until``;
    ``status``, what a device says of what it is shown; ``step``; ``arn`` of the wanted certificate and ``former`` of
    the one to go, empty where there is none; ``problem``, None where there is none.
    """
    order = sorted(regions, key=lambda region: region in regions[region]["records"])
    chosen = set(chosen)
    rows: list[Row] = []
    for region in order:
        begun = [row["region"] for row in rows if row["step"] != DONE and row["region"] in chosen]
        rows.append(_row(region, regions, _squeezed(wanted), domain, begun=begun, chosen=region in chosen))
    return rows


def _row(region: str, regions: Regions, wanted: str, domain: str, *, begun: list[str], chosen: bool) -> Row:
    seen = regions[region]
    arns = {each["certificate_arn"]: each for each in seen["certificates"]}
    present = next((arn for arn, each in arns.items() if wanted and _squeezed(each["certificate"]) == wanted), "")
    serving = _serving(seen)
    former = serving if serving and serving != present else next((arn for arn in arns if arn != present), "")
    serves_it = bool(serving) and serving == present
    step = _step(serves_it=serves_it, settled=region in seen["records"] and not former, chosen=chosen)
    takes_out = chosen and not serves_it and region in seen["records"]
    return {
        "region": region,
        "dns": "yes" if region in seen["records"] else "no",
        "serves": arns[serving]["serial"] if serving in arns else serving or None,
        "until": arns[serving]["not_after"] if serving in arns else None,
        "status": _status(seen),
        "step": step,
        "arn": present,
        "former": former,
        "problem": None
        if step == DONE or not chosen
        else _problem(region, seen, domain) or (_alone(region, regions, begun) if takes_out else None),
    }


def _squeezed(pem: str) -> str:
    """Without blanks, which may differ."""
    return "".join(pem.split())


def _serving(seen: Seen) -> str:
    """ARN of the certificate that the domain configuration has."""
    served = [each["server_certificate_arn"] for found in seen["domains"] for each in found["server_certificates"]]
    return served[0] if served else ""


def _status(seen: Seen) -> str:
    if not seen["served"]:
        return "not served"
    return "; ".join(each["distrust"] for each in seen["served"] if each["distrust"]) or "trusted"


def _step(*, serves_it: bool, settled: bool, chosen: bool) -> str:
    if serves_it and settled:
        return DONE
    if not chosen:
        return "not in this run"
    return "prove it, into DNS" if serves_it else "out of DNS, serve it, prove it, into DNS"


def _problem(region: str, seen: Seen, domain: str) -> str | None:
    build = f"build the region first (playbooks/site.yml --limit {region})"
    if not seen["certificates"]:
        return f"{region}: ACM has no server certificate of this fleet: {build}"
    for found in seen["domains"]:
        name = found["domain_configuration_name"]
        if found["domain_name"] != domain:
            return f"{region}: {name} is for {found['domain_name']}, not for {domain}: {build}"
    serving = _serving(seen)
    if serving and serving not in [each["certificate_arn"] for each in seen["certificates"]]:
        return f"{region}: serves {serving}, which has not the tag Name of this fleet's server certificate: {build}"
    return None


def _alone(region: str, regions: Regions, begun: list[str]) -> str | None:
    """Why the region cannot be spared: no other one is in DNS, or will be when its turn comes, and would be trusted."""
    others = [each for each in regions[region]["records"] if each != region]
    trusted = [each for each in others if each not in regions or _is_trusted(regions[each])]
    if trusted or begun:
        return None
    return (
        f"{region}: no other region is in DNS and trusted, so that devices would find none"
        f" ({', '.join(others) or 'it stands alone'}): put another one right first, or add one"
        " (docs/runbooks/add_region.md)"
    )


def _is_trusted(seen: Seen) -> bool:
    return bool(seen["served"]) and not any(each["distrust"] for each in seen["served"])


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"server_replacement_rows": server_replacement_rows}
