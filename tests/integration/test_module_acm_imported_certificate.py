# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._acm.calls import list_imported
from tests.certificates import DAY, Issued, issue, new_key
from tests.integration.modules import Region

MODULE = "acm_imported_certificate"


class Authority:
    """Root, issuing CA and the files of one server certificate."""

    def __init__(self, directory: Path, domain: str) -> None:
        self.directory, self.domain = directory, domain
        self.root = issue("Demo Root", ca=True, key=new_key())
        self.issuing = issue("Demo Issuing CA G1", ca=True, signer=self.root)
        self.chain_path = directory / "chain.pem"
        self.chain(self.issuing, self.root)

    def chain(self, *links: Issued) -> None:
        """Write the chain file."""
        self.chain_path.write_text("".join(link.pem for link in links))

    def server(self, **more: Any) -> Issued:
        """A server certificate."""
        wanted = {"names": [self.domain], "server": True, "signer": self.issuing, **more}
        return issue(self.domain, **wanted)

    def files(self, made: Issued | None = None) -> dict[str, str]:
        """Write a server certificate; the options that name the files."""
        return {**(made or self.server()).write(self.directory, "server"), "chain_path": str(self.chain_path)}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, f"{uuid.uuid4().hex}.example.com")


@pytest.fixture
def name(region: Region) -> Iterator[str]:
    unique = f"demo-{uuid.uuid4()}"
    yield unique
    region.run(MODULE, name=unique, state="absent")


def read(region: Region, name: str) -> dict[str, Any] | None:
    found = region.run(f"{MODULE}_info", name=name)["certificates"]
    assert len(found) < 2
    return found[0] if found else None


def test_imports_with_chain_and_tags_in_one_call(region: Region, sandbox_only: Any, authority: Authority, name: str):
    made = authority.server()
    wanted = {**authority.files(made), "name": name, "tags": {"Application": "demo"}}

    predicted = region.run(MODULE, check=True, **wanted)
    assert predicted["changed"]
    assert predicted["reasons"] == ["imported"]
    assert read(region, name) is None

    start = sandbox_only.now()
    done = region.run(MODULE, **wanted)
    writes = [call["operation"] for call in sandbox_only.journal(since=start, service="acm")]
    assert writes.count("ImportCertificate") == 1
    assert "AddTagsToCertificate" not in writes

    found = read(region, name)
    assert done["certificate"] == found
    assert found["certificate"] == made.pem
    assert found["tags"] == predicted["certificate"]["tags"] == {"Application": "demo", "Name": name}
    assert found["domain_name"] == predicted["certificate"]["domain_name"] == authority.domain
    assert found["not_after"] == predicted["certificate"]["not_after"]
    assert found["key_algorithm"] == predicted["certificate"]["key_algorithm"] == "EC_prime256v1"
    assert found["type"] == "IMPORTED"
    for check in (True, False):
        assert not region.run(MODULE, check=check, **wanted)["changed"]


def test_a_renewed_certificate_keeps_its_arn(region: Region, authority: Authority, name: str):
    first = region.run(MODULE, name=name, **authority.files())["certificate"]
    renewed = {"name": name, **authority.files(authority.server(days=60))}

    predicted = region.run(MODULE, check=True, **renewed)
    assert predicted["reasons"] == ["leaf changed"]
    assert read(region, name) == first

    done = region.run(MODULE, **renewed)
    assert done["reasons"] == ["leaf changed"]
    assert done["certificate"]["certificate_arn"] == first["certificate_arn"]
    assert done["certificate"]["serial"] != first["serial"]
    assert done["certificate"]["not_after"] == predicted["certificate"]["not_after"] > first["not_after"]
    assert done["diff"]["before"]["fingerprint"] != done["diff"]["after"]["fingerprint"]
    assert done["certificate"]["tags"] == {"Name": name}
    for check in (True, False):
        assert not region.run(MODULE, check=check, **renewed)["changed"]


def test_a_changed_chain_is_imported_anew(region: Region, authority: Authority, name: str):
    files = authority.files()
    first = region.run(MODULE, name=name, **files)["certificate"]
    authority.chain(authority.issuing)
    done = region.run(MODULE, name=name, **files)
    assert done["reasons"] == ["chain changed"]
    assert done["certificate"]["certificate_arn"] == first["certificate_arn"]
    assert done["certificate"]["certificate_chain"] == authority.issuing.pem
    assert not region.run(MODULE, name=name, **files)["changed"]


def test_only_tags_change(region: Region, sandbox_only: Any, authority: Authority, name: str):
    wanted = {"name": name, **authority.files()}
    region.run(MODULE, tags={"Application": "demo", "Old": "1"}, **wanted)
    assert not region.run(MODULE, **wanted)["changed"]

    start = sandbox_only.now()
    done = region.run(MODULE, tags={"Application": "demo", "New": 2}, **wanted)
    assert done["reasons"] == ["tags changed"]
    assert done["certificate"]["tags"] == {"Application": "demo", "New": "2", "Name": name}
    assert "ImportCertificate" not in [call["operation"] for call in sandbox_only.journal(since=start, service="acm")]

    kept = region.run(MODULE, tags={"More": "3"}, purge_tags=False, **wanted)["certificate"]["tags"]
    assert kept == {"Application": "demo", "New": "2", "More": "3", "Name": name}
    assert region.run(MODULE, tags={}, **wanted)["certificate"]["tags"] == {"Name": name}


def test_deletes(region: Region, authority: Authority, name: str):
    region.run(MODULE, name=name, **authority.files())
    gone = {"name": name, "state": "absent"}
    assert region.run(MODULE, check=True, **gone)["reasons"] == ["deleted"]
    assert read(region, name)
    assert region.run(MODULE, **gone)["changed"]
    assert read(region, name) is None
    for check in (True, False):
        assert not region.run(MODULE, check=check, **gone)["changed"]


def test_a_certificate_in_use_is_not_deleted(region: Region, sandbox_only: Any, authority: Authority, name: str):
    arn = region.run(MODULE, name=name, **authority.files())["certificate"]["certificate_arn"]
    acm, iot = region.client("acm"), region.client("iot")
    public = acm.request_certificate(DomainName=authority.domain, ValidationMethod="DNS")["CertificateArn"]
    domain = f"demo-{uuid.uuid4().hex}"
    iot.create_domain_configuration(
        domainConfigurationName=domain,
        domainName=authority.domain,
        serverCertificateArns=[arn],
        validationCertificateArn=public,
    )
    try:
        message = region.refusal(MODULE, name=name, state="absent", wait_timeout=1)
        assert "released by" in message
        assert domain in message
        assert read(region, name)["in_use_by"]
    finally:
        iot.update_domain_configuration(domainConfigurationName=domain, domainConfigurationStatus="DISABLED")
        iot.delete_domain_configuration(domainConfigurationName=domain)
        acm.delete_certificate(CertificateArn=public)


def import_by_hand(region: Region, authority: Authority, made: Issued, **more: Any) -> str:
    return region.client("acm").import_certificate(
        Certificate=made.pem.encode(),
        PrivateKey=made.key_pem().encode(),
        CertificateChain=authority.chain_path.read_bytes(),
        **more,
    )["CertificateArn"]


def test_one_imported_by_hand_is_adopted(region: Region, authority: Authority, name: str):
    made = authority.server()
    arn = import_by_hand(region, authority, made)
    done = region.run(MODULE, name=name, **authority.files(made))
    assert done["reasons"] == ["tags changed"]
    assert done["certificate"]["certificate_arn"] == arn


def test_one_of_other_names_or_with_a_name_is_left_alone(region: Region, authority: Authority, name: str):
    wider = import_by_hand(region, authority, authority.server(names=[authority.domain, f"x.{authority.domain}"]))
    named = import_by_hand(region, authority, authority.server(), Tags=[{"Key": "Name", "Value": "of someone else"}])
    try:
        done = region.run(MODULE, name=name, **authority.files())
        assert done["reasons"] == ["imported"]
        assert done["certificate"]["certificate_arn"] not in (wider, named)
    finally:
        for arn in (wider, named):
            region.run(MODULE, certificate_arn=arn, state="absent")


def test_by_arn(region: Region, authority: Authority, name: str):
    arn = region.run(MODULE, name=name, **authority.files())["certificate"]["certificate_arn"]
    done = region.run(MODULE, certificate_arn=arn, **authority.files())
    assert done["reasons"] == ["leaf changed"]
    assert done["certificate"]["tags"] == {"Name": name}
    unknown = arn[:-4] + "0000"
    assert unknown in region.refusal(MODULE, certificate_arn=unknown, **authority.files())


def test_one_that_acm_issued_is_refused(region: Region, authority: Authority):
    acm = region.client("acm")
    arn = acm.request_certificate(DomainName=authority.domain, ValidationMethod="DNS")["CertificateArn"]
    try:
        assert "AMAZON_ISSUED" in region.refusal(MODULE, certificate_arn=arn, **authority.files())
        assert "AMAZON_ISSUED" in region.refusal(MODULE, certificate_arn=arn, state="absent")
    finally:
        acm.delete_certificate(CertificateArn=arn)


def test_what_aws_would_not_take_up_is_refused(region: Region, authority: Authority, name: str):
    first = region.run(MODULE, name=name, **authority.files())["certificate"]

    def refused(made: Issued) -> str:
        return region.refusal(MODULE, name=name, **authority.files(made))

    other_names = refused(authority.server(names=[f"other.{authority.domain}"]))
    assert f"other.{authority.domain}" in other_names
    assert "issue it for the same names" in other_names
    assert "extended key usage" in refused(authority.server(server=False))
    rsa = issue("RSA Root", ca=True, key=new_key("rsa"))
    authority.chain(rsa)
    assert "RSA_2048" in refused(authority.server(signer=rsa, key=new_key("rsa")))
    assert read(region, name) == first


def test_what_cannot_work_is_refused_before_any_call(
    region: Region, sandbox_only: Any, authority: Authority, name: str
):
    start = sandbox_only.now()

    def refused(made: Issued | None = None, **files: str) -> str:
        return region.refusal(MODULE, name=name, **{**authority.files(made), **files})

    assert "expired" in refused(authority.server(start=-9 * DAY, days=1))
    assert "not valid before" in refused(authority.server(start=DAY))
    other_key = authority.server().write(authority.directory, "other")["private_key_path"]
    assert "not the private key" in refused(private_key_path=other_key)
    locked = authority.server().write(authority.directory, "locked", passphrase="open sesame")["private_key_path"]
    assert "passphrase" in refused(private_key_path=locked)
    assert "cannot read" in refused(chain_path=str(authority.directory / "none.pem"))
    foreign = issue("Demo Issuing CA G1", ca=True)
    assert "did not sign" in refused(authority.server(signer=foreign))
    rsa = issue("Demo RSA CA", ca=True, key=new_key("rsa"))
    authority.chain(rsa)
    assert "algorithm" in refused(authority.server(signer=rsa))
    authority.chain(authority.root, authority.issuing)
    assert "in order" in refused()
    files = authority.files()
    del files["chain_path"]
    assert "chain_path" in region.refusal(MODULE, name=name, **files)
    assert sandbox_only.journal(since=start, service="acm") == []


def test_missing_files_are_predicted_in_check_mode(region: Region, tmp_path: Path, name: str):
    files = {option: str(tmp_path / "none") for option in ("certificate_path", "private_key_path", "chain_path")}
    assert region.run(MODULE, name=name, check=True, **files)["reasons"] == ["imported"]
    assert "cannot read" in region.refusal(MODULE, name=name, **files)


def test_an_import_whose_answer_was_lost_is_not_repeated(
    region: Region, sandbox_only: Any, authority: Authority, name: str
):
    rule = sandbox_only.fault(service="acm", operation="ImportCertificate", effect="fail-after", times=1)
    try:
        assert region.run(MODULE, name=name, **authority.files())["changed"]
    finally:
        sandbox_only.clear_faults(rule)
    assert read(region, name)


def test_throttling_is_waited_out(region: Region, sandbox_only: Any, authority: Authority, name: str):
    rule = sandbox_only.fault(service="acm", operation="ImportCertificate", effect="throttle", times=3)
    try:
        assert region.run(MODULE, name=name, **authority.files())["changed"]
    finally:
        sandbox_only.clear_faults(rule)
    assert read(region, name)


def test_nothing_is_deleted_when_tagging_fails(region: Region, sandbox_only: Any, authority: Authority, name: str):
    first = region.run(MODULE, name=name, **authority.files())["certificate"]
    renewed = authority.files()
    fault = {"effect": "error", "error": "TooManyTagsException", "status": 400}
    rule = sandbox_only.fault(service="acm", operation="AddTagsToCertificate", **fault)
    try:
        assert "TooManyTagsException" in region.refusal(MODULE, name=name, tags={"New": "1"}, **renewed)
    finally:
        sandbox_only.clear_faults(rule)
    assert read(region, name)["certificate_arn"] == first["certificate_arn"]
    assert region.run(MODULE, name=name, tags={"New": "1"}, **renewed)["reasons"] == ["tags changed"]


def test_listing_pages_and_knows_every_key_type(region: Region, authority: Authority, name: str):
    rsa = issue("Demo RSA CA", ca=True, key=new_key("rsa"))
    others = [import_by_hand(region, authority, authority.server()) for _ in range(2)]
    try:
        authority.chain(rsa)
        made = authority.server(signer=rsa, key=new_key("rsa"), names=["rsa." + authority.domain])
        mine = region.run(MODULE, name=name, **authority.files(made))["certificate"]["certificate_arn"]
        listed = {item["CertificateArn"] for item in list_imported(region.client("acm"), page_size=1)}
        assert {*others, mine} <= listed
        assert len(region.run(f"{MODULE}_info")["certificates"]) == len(listed)
    finally:
        for arn in others:
            region.run(MODULE, certificate_arn=arn, state="absent")


def test_the_key_never_shows(region: Region, authority: Authority, name: str):
    made = authority.server()
    files = authority.files(made)
    answers = [region.attempt(MODULE, name=name, **files), region.attempt(f"{MODULE}_info", name=name)]
    Path(files["private_key_path"]).write_text(made.key_pem()[:-60])
    answers.append(region.attempt(MODULE, name=name, **files))
    assert answers[-1]["failed"]
    for line in made.key_pem().splitlines()[1:-1]:
        assert line not in str(answers)
