# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imported certificates of AWS Certificate Manager: find ours, import, import anew, remove.

A certificate that exists is never deleted to make place for another one, and never because a later call failed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._acm import calls
from ansible_collections.iotops.fleet.plugins.module_utils._acm.material import Material, require_reimportable
from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import (
    certificates,
    fingerprints,
    key_description,
    names,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import (
    FleetError,
    error_code,
    may_have_happened,
    poll,
    tags_diff,
)

__all__ = ["Identity", "Outcome", "ensure_absent", "ensure_present", "find_tagged", "read"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """What tells our certificate from others: its ARN, else its tag ``Name``."""

    name: str | None = None
    arn: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """Summaries before and after (None: not there), and in words what differed."""

    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reasons: list[str]


def read(acm: Any, arn: str, *, tags: dict[str, str] | None = None) -> dict[str, Any] | None:
    """DescribeCertificate snake-cased, with ``tags``, ``certificate`` and ``certificate_chain`` (PEM).

    ``tags`` that are known already are not read again. None when there is no such certificate.

    Raises:
        FleetError: ACM issued it; it is not ours to import or to delete.

    """
    described = calls.describe(acm, arn)
    if described is None:
        return None
    if described.get("type") != "IMPORTED":
        raise FleetError(f"certificate_arn: {arn} is {described.get('type')}, not IMPORTED; give one that was imported")
    certificate, chain = calls.bodies(acm, arn)
    return {
        **described,
        "tags": (calls.tags(acm, arn) or {}) if tags is None else tags,
        "certificate": certificate,
        "certificate_chain": chain,
    }


def _tags_of_imported(acm: Any) -> dict[str, tuple[set[str], dict[str, str]]]:
    """ARN -> (names, tags) of every imported certificate."""
    return {
        summary["CertificateArn"]: (
            {summary.get("DomainName", ""), *summary.get("SubjectAlternativeNameSummaries", [])},
            calls.tags(acm, summary["CertificateArn"]) or {},
        )
        for summary in calls.list_imported(acm)
    }


def find_tagged(acm: Any, name: str) -> list[dict[str, Any]]:
    """The imported certificates with this tag ``Name``."""
    tagged = {arn: tags for arn, (_, tags) in _tags_of_imported(acm).items() if tags.get("Name") == name}
    return [found for arn, tags in tagged.items() if (found := read(acm, arn, tags=tags))]


def _find(acm: Any, identity: Identity, material: Material) -> dict[str, Any] | None:
    """Our certificate: by ARN, by the tag ``Name``, else one without it that has exactly the same names."""
    if identity.arn:
        found = read(acm, identity.arn)
        if found is None:
            raise FleetError(
                f"certificate_arn: {identity.arn} does not exist in {acm.meta.region_name};"
                " give the ARN of an imported certificate of this region, or a name"
            )
        return found
    ours = names(material.leaf)
    imported = _tags_of_imported(acm)
    named = {arn: tags for arn, (_, tags) in imported.items() if tags.get("Name") == identity.name}
    nameless = {arn: tags for arn, (has, tags) in imported.items() if "Name" not in tags and has & set(ours)}
    candidates = [found for arn, tags in (named or nameless).items() if (found := read(acm, arn, tags=tags))]
    if not named:
        candidates = [found for found in candidates if _names_of(found) == ours]
    # Several with our name can only come from two runs at once: the one that is used comes first.
    candidates.sort(
        key=lambda found: (
            not found.get("in_use_by"),
            fingerprints(found["certificate"]) != fingerprints(material.certificate),
            found["certificate_arn"],
        )
    )
    return candidates[0] if candidates else None


def _names_of(found: Mapping[str, Any]) -> list[str]:
    return names(certificates(found["certificate"], option="certificate")[0])


def ensure_present(
    acm: Any,
    identity: Identity,
    material: Material,
    *,
    importer: Callable[[], Any],
    tags: Mapping[str, str] | None,
    purge_tags: bool,
    check_mode: bool,
    timeout: float,
) -> Outcome:
    """Import ``material``, or import it anew under the same ARN when leaf or chain changed, and set the tags.

    ``importer`` gives the client for the import itself; it must not repeat a call of its own accord.

    Raises:
        FleetError: the material is unfit, or may not replace what is there.

    """
    material.check()
    purge_tags = purge_tags and tags is not None
    tags = {key: str(value) for key, value in (tags or {}).items()}
    if identity.name:
        tags["Name"] = identity.name
    before = _find(acm, identity, material)
    change = _Change(acm=acm, importer=importer, material=material, timeout=timeout)
    if before is not None:
        return _converge(change, before, tags=tags, purge_tags=purge_tags, check_mode=check_mode)
    if check_mode:
        return Outcome(before=None, after=_prediction(material, {}, tags), reasons=["imported"])
    arn = _import_new(change, identity, tags)
    return Outcome(before=None, after=_settled(change, arn, tags), reasons=["imported"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Change:
    """What every step of a change needs."""

    acm: Any
    importer: Callable[[], Any]
    material: Material
    timeout: float

    def put(self, *, arn: str | None, tags: Mapping[str, str]) -> str:
        """Import under ``arn``, or as a new certificate; returns the ARN."""
        return calls.import_certificate(
            self.acm if arn else self.importer(),  # under an ARN it may be repeated
            certificate=self.material.certificate,
            private_key=self.material.private_key,
            chain=self.material.chain,
            arn=arn,
            new_tags=tags,
        )


def _import_new(change: _Change, identity: Identity, tags: Mapping[str, str]) -> str:
    """Import once: a second import would make a second certificate, so after a lost answer it is looked for first."""
    last = ""

    def attempt() -> str | None:
        nonlocal last
        try:
            return change.put(arn=None, tags=tags)
        except AnsibleAWSError as error:
            if not may_have_happened(error):
                raise
            last = str(error)
        found = _find(change.acm, identity, change.material)
        return found["certificate_arn"] if found else None

    arn = poll(attempt, bool, timeout=change.timeout, describe=lambda _: f"ACM to take the certificate: {last}")
    return arn or ""


def _converge(
    change: _Change, before: dict[str, Any], *, tags: Mapping[str, str], purge_tags: bool, check_mode: bool
) -> Outcome:
    arn, material = before["certificate_arn"], change.material
    changed = material.changes(certificate=before["certificate"], chain=before["certificate_chain"])
    if changed:
        require_reimportable(before["certificate"], material.leaf, arn=arn)
    to_set, to_remove = tags_diff(before["tags"], tags, purge=purge_tags)
    wanted_tags = {key: value for key, value in {**before["tags"], **to_set}.items() if key not in to_remove}
    reasons = [f"{part} changed" for part in changed] + (["tags changed"] if to_set or to_remove else [])
    if not reasons:
        return Outcome(before=before, after=before, reasons=[])
    if check_mode:
        return Outcome(before=before, after=_prediction(material, before, wanted_tags), reasons=reasons)
    if changed:
        change.put(arn=arn, tags={})
    if to_set:
        calls.add_tags(change.acm, arn, to_set)
    if to_remove:
        calls.remove_tags(change.acm, arn, to_remove)
    return Outcome(before=before, after=_settled(change, arn, wanted_tags), reasons=reasons)


def _settled(change: _Change, arn: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Read back until ACM shows what was written."""

    def done(seen: dict[str, Any] | None) -> bool:
        return (
            seen is not None
            and seen["tags"] == tags
            and not change.material.changes(certificate=seen["certificate"], chain=seen["certificate_chain"])
        )

    what = f"{arn} to show what was imported"
    return poll(lambda: read(change.acm, arn), done, timeout=change.timeout, describe=what) or {}


def _prediction(material: Material, seen: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """The summary as an import would make it."""
    leaf = material.leaf
    return {
        **seen,
        "certificate": material.certificate,
        "certificate_chain": material.chain,
        "domain_name": names(leaf)[0] if names(leaf) else "",
        "key_algorithm": key_description(leaf),
        "not_after": iso(leaf.not_valid_after_utc),
        "not_before": iso(leaf.not_valid_before_utc),
        "subject_alternative_names": names(leaf),
        "tags": dict(tags),
        "type": "IMPORTED",
    }


def ensure_absent(acm: Any, identity: Identity, *, check_mode: bool, timeout: float) -> list[dict[str, Any]]:
    """Delete the certificates of this identity, waiting until nothing uses them. Returns what was there before.

    One without our tag is deleted by its ARN only.

    Raises:
        FleetError: still in use after ``timeout`` seconds.

    """
    by_arn = [certificate for certificate in [read(acm, identity.arn)] if certificate] if identity.arn else []
    found = by_arn if identity.arn else find_tagged(acm, identity.name or "")
    if not check_mode:
        for certificate in found:
            _delete(acm, certificate["certificate_arn"], timeout=timeout)
    return found


def _delete(acm: Any, arn: str, *, timeout: float) -> None:
    def attempt() -> bool:
        try:
            calls.delete(acm, arn)
        except AnsibleAWSError as error:
            if error_code(error) != "ResourceInUseException":
                raise
            return False
        return True

    def users(_: bool) -> str:
        used_by = (calls.describe(acm, arn) or {}).get("in_use_by") or ["something that ACM does not name"]
        return f"{arn} to be released by {', '.join(used_by)}; remove that first, then run again"

    poll(attempt, bool, timeout=timeout, describe=users)
