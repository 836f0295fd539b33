# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of a key in a PKCS#11 token (RFC 7512)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError

SCHEME = "pkcs11:"
_EXAMPLE = "pkcs11:token=Fleet;object=issuing?module-path=/usr/lib/softhsm/libsofthsm2.so"
_TOKEN = ("token", "serial", "manufacturer", "model")
_KEY = ("object", "id", "type")


@dataclass(frozen=True)
class TokenUri:
    """Which key: `token` are attributes of its token, of `label` and `id` at least one is there."""

    text: str
    module: str
    token: tuple[tuple[str, str], ...]
    label: str | None
    id: bytes | None

    @classmethod
    def parse(cls, text: str) -> TokenUri:
        """Return what a URI says; raise PkiError when it holds a PIN or does not say which key of which token."""
        text = text.strip()
        path, _mark, query = text.removeprefix(SCHEME).partition("?")
        attributes = _attributes(path, ";") | _attributes(query, "&")
        if any(name.lower().startswith("pin") for name in attributes):
            raise PkiError("a PKCS#11 URI with a PIN in it: leave pin-value and pin-source out, give the passphrase")
        strange = attributes.keys() - {*_TOKEN, *_KEY, "module-path"}
        if strange or not text.startswith(SCHEME) or attributes.get("type", "private") != "private":
            what = f"it has {', '.join(sorted(strange))}" if strange else "it names no private key"
            raise PkiError(f"PKCS#11 URI: {what}; write it like {_EXAMPLE}")
        module = unquote(attributes.get("module-path", ""))
        token = tuple((name, unquote(attributes[name])) for name in _TOKEN if name in attributes)
        if not token or not Path(module).is_absolute() or not attributes.keys() & {"object", "id"}:
            raise PkiError(
                f"PKCS#11 URI {text!r}: it has to have token, object (or id) and the whole module-path; "
                f"write it like {_EXAMPLE}"
            )
        label = unquote(attributes["object"]) if "object" in attributes else None
        return cls(text, module, token, label, unquote_to_bytes(attributes["id"]) if "id" in attributes else None)

    @property
    def for_openssl(self) -> str:
        """The same without the module, which OpenSSL wants to know from its configuration."""
        return self.text.partition("?")[0]

    def __str__(self) -> str:
        return self.text


def _attributes(text: str, separator: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(separator) if part)
    return {name: value for name, _equals, value in pairs}


__all__ = ["SCHEME", "TokenUri"]
