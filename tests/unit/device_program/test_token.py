# SPDX-License-Identifier: GPL-3.0-or-later
"""A device whose keys are in a PKCS #11 token: SoftHSM."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import pkcs11
import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from iotops.device.errors import DeviceError
from iotops.device.token import Token, TokenCredentials
from tests.certificates import issue
from tests.unit.device_program.cloud import (
    AUTHORITY,
    ROOT,
    THING,
    Cloud,
    PowerCut,
    Requested,
    World,
    let_power_go,
)
from tests.unit.pki.tokens import PIN, token

__all__ = ["token"]

LABEL = "device"


@dataclass
class TokenWorld(World):
    """A device with a token."""

    session: object = None

    def credentials(self):
        return TokenCredentials(self.directory, THING, self.session, LABEL)

    def keys(self, label):
        """What the token holds of a label, as attributes that tell whether a key can get out."""
        found = self.session.get_objects({Attribute.LABEL: label, Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        return [(key[Attribute.SENSITIVE], key[Attribute.EXTRACTABLE]) for key in found]

    def begin(self):
        """The token's first key, a certificate for it, and a cloud that knows it and has a job."""
        for found in self.session.get_objects():
            found.destroy()
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = self.session.create_domain_parameters(KeyType.EC, curve, local=True)
        public, _private = parameters.generate_keypair(store=True, label=LABEL)

        class Key:
            def public_key(self):
                return load_der_public_key(encode_ec_public_key(public))

        old = issue(THING, signer=AUTHORITY, key=Key())
        (self.directory / f"{THING}.cert.pem").write_text(old.pem)
        (self.directory / "root.cert.pem").write_text(ROOT.pem)
        self.cloud = Cloud(current=old.fingerprint, certificates={old.fingerprint: ""}, active={old.fingerprint})
        self.cloud.give()
        return old


@pytest.fixture
def world(tmp_path, monkeypatch, token):
    directory = tmp_path / "device"
    directory.mkdir()
    world = TokenWorld(directory, session=Token(Path(token.module), token.label, PIN).open())
    world.public_key = lambda label: world.credentials()._public(label)
    let_power_go(world, monkeypatch)
    yield world
    pkcs11.lib(token.module).finalize()


def rotated(world, old):
    assert world.held == world.cloud.current != old.fingerprint
    assert world.cloud.status() == ("SUCCEEDED", "")
    assert sorted(path.name for path in world.directory.rglob("*")) == [
        "dev-1.accepted", "dev-1.cert.pem", "dev-1.cert.pem", "previous", "root.cert.pem",
    ]  # fmt: skip
    assert (world.directory / "previous/dev-1.cert.pem").read_text() == old.pem


@pytest.mark.parametrize("key_type", ["ec256", "ec384", "rsa2048"])
def test_a_rotation(world, key_type):
    """The labels are used in turns, and no key can leave the token."""
    old = world.begin()
    world.cloud.jobs["fleet-rotate-1"][1]["keyType"] = key_type
    world.run()
    rotated(world, old)
    assert world.credentials().pair("current").key == "device-alternate"
    assert world.keys("device-alternate") == [(True, False)]
    request = next(body["csr"] for _topic, body, _principal in world.cloud.said if "csr" in body)
    assert Requested(request).request.is_signature_valid
    world.cloud.give("fleet-rotate-2")
    world.run()
    assert world.cloud.status("fleet-rotate-2") == ("SUCCEEDED", "")
    assert world.credentials().pair("current").key == "device"
    assert len(world.keys("device")) == len(world.keys("device-alternate")) == 1


def test_power_is_lost(world):
    for after in itertools.count(step=3):  # each one is tried with files
        old = world.begin()
        world.cloud.power.left = after
        try:
            world.run()
        except PowerCut:
            world.cloud.line = None
        else:
            break
        world.cloud.power.left = None
        assert world.device().credentials.certificate_id() in world.cloud.active, f"locked out after {after} things"
        world.run()
        rotated(world, old)
    assert after > 20


def test_what_does_not_fit(world, token, tmp_path):
    world.begin()

    def refused(open_it):
        with pytest.raises(DeviceError) as error:
            open_it()
        assert PIN not in str(error.value)
        return str(error.value)

    nothing = TokenCredentials(world.directory, THING, world.session, "nothing")
    assert refused(nothing.check) == "--pkcs11-key nothing: the token has no key pair (private and public key)"
    (world.directory / f"{THING}.cert.pem").write_text(issue(THING, signer=AUTHORITY).pem)
    assert refused(world.credentials().check).endswith("dev-1.cert.pem is not for the key device: restore the pair")
    pkcs11.lib(token.module).finalize()
    said = refused(Token(Path(token.module), token.label, "0000").open)
    assert said == "--pkcs11-pin-file: token Fleet does not take the PIN (PinIncorrect)"
    said = refused(Token(Path(token.module), "none", PIN).open)
    assert said == f"--pkcs11-token none: {token.module} has no such token"
    said = refused(Token(tmp_path / "none.so", "none", PIN).open)
    assert said.startswith(f"--pkcs11-module {tmp_path / 'none.so'}: it cannot be loaded (")
    assert os.linesep not in said


def test_a_token_does_not_show_its_pin():
    assert PIN not in repr(Token(Path("m.so"), "t", PIN))
