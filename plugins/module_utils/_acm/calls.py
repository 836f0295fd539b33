# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One function per call to AWS Certificate Manager.

https://docs.aws.amazon.com/acm/latest/APIReference/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils.aws import (
    api_call,
    none_if_missing,
    snake,
    tags_to_dict,
    tags_to_list,
)

__all__ = ["add_tags", "bodies", "delete", "describe", "import_certificate", "list_imported", "remove_tags", "tags"]

# Without them ListCertificates answers RSA_1024 and RSA_2048 only.
KEY_TYPES = [
    "RSA_1024",
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "EC_prime256v1",
    "EC_secp384r1",
    "EC_secp521r1",
]


@api_call("list the certificates of ACM")
def list_imported(acm: Any, *, page_size: int = 1000) -> list[dict[str, Any]]:
    """The summaries of all imported certificates, of every key type."""
    pages = acm.get_paginator("list_certificates").paginate(
        Includes={"keyTypes": KEY_TYPES}, PaginationConfig={"PageSize": page_size}
    )
    found = [summary for page in pages for summary in page.get("CertificateSummaryList", [])]
    return [summary for summary in found if summary.get("Type", "IMPORTED") == "IMPORTED"]


@none_if_missing
@api_call("list the tags of a certificate of ACM")
def tags(acm: Any, arn: str) -> dict[str, str]:
    """The tags of a certificate; None when it is gone."""
    return tags_to_dict(acm.list_tags_for_certificate(CertificateArn=arn).get("Tags", []))


@none_if_missing
@api_call("describe a certificate of ACM")
def describe(acm: Any, arn: str) -> dict[str, Any]:
    """The certificate as DescribeCertificate shows it, snake-cased; None when it is gone."""
    found = snake(acm.describe_certificate(CertificateArn=arn)["Certificate"])
    found.pop("tags", None)  # not part of AWS's answer
    return found


@api_call("read a certificate of ACM")
def bodies(acm: Any, arn: str) -> tuple[str, str]:
    """Certificate and chain as PEM."""
    answer = acm.get_certificate(CertificateArn=arn)
    return answer["Certificate"], answer.get("CertificateChain") or ""


@api_call("import the certificate into ACM", repeatable=False)
def import_certificate(
    acm: Any, *, certificate: str, private_key: str, chain: str, arn: str | None, new_tags: Mapping[str, str]
) -> str:
    """Import as a new certificate with ``new_tags``, or anew under ``arn``, where AWS takes no tags; the ARN."""
    request: dict[str, Any] = {"Certificate": certificate.encode(), "PrivateKey": private_key.encode()}
    if chain:
        request["CertificateChain"] = chain.encode()
    if arn:
        request["CertificateArn"] = arn
    elif new_tags:
        request["Tags"] = tags_to_list(new_tags)
    return acm.import_certificate(**request)["CertificateArn"]


@api_call("tag a certificate of ACM")
def add_tags(acm: Any, arn: str, to_set: Mapping[str, str]) -> None:
    """Add tags or give them new values."""
    acm.add_tags_to_certificate(CertificateArn=arn, Tags=tags_to_list(to_set))


@api_call("remove tags from a certificate of ACM")
def remove_tags(acm: Any, arn: str, keys: Iterable[str]) -> None:
    """Remove tags by key."""
    acm.remove_tags_from_certificate(CertificateArn=arn, Tags=[{"Key": key} for key in keys])


@none_if_missing
@api_call("delete a certificate of ACM")
def delete(acm: Any, arn: str) -> None:
    """Delete a certificate that nothing uses; nothing happens when it is gone."""
    acm.delete_certificate(CertificateArn=arn)
