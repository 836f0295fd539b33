"""A PKCS#11 token in a directory: SoftHSM."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pkcs11
import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._pki.token import close_tokens

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", *map(str, Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")))
PIN = "5678"


@dataclass(frozen=True)
class Token:
    """A token with a label; `module` is the library that opens it."""

    module: str
    label: str = "Fleet"

    def uri(self, name: str = "issuing", **changes: str) -> str:
        """Return the URI of a key."""
        parts = {"token": self.label, "object": name, "module-path": self.module, **changes}
        module = parts.pop("module-path")
        return f"pkcs11:{';'.join(f'{key}={value}' for key, value in parts.items())}?module-path={module}"

    def session(self, pin: str) -> pkcs11.Session:
        """Open the token to change what is in it."""
        close_tokens()
        return pkcs11.lib(self.module).get_token(token_label=self.label).open(user_pin=pin, rw=True)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed (Debian: softhsm2)")
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    close_tokens()
    made = Token(module)
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", made.label, "--so-pin", "1234", "--pin", PIN],
        check=True, capture_output=True,
    )  # fmt: skip
    yield made
    close_tokens()
