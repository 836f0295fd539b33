# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names in certificates: distinguished names, thing names and DNS names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from string import ascii_letters

from cryptography import x509
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError

# RFC 5280, appendix A.1: ub-common-name and ub-organization-name. AWS IoT itself would take thing names of 128.
MAX_NAME = 64

# So many devices in one run: more would be a slip of the keyboard, and take gigabytes.
MAX_DEVICES = 1_000_000

_COUNTRY = re.compile(r"[A-Z]{2}")
_THING_NAME = re.compile(r"[a-zA-Z0-9:_-]+")
_DNS_NAME = re.compile(
    r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE
)


# Parts of a subject in their order, with the lengths of RFC 5280, appendix A.1. The common name is the last one: the
# ledger and templates go by that.
_PARTS = {
    "country": (NameOID.COUNTRY_NAME, 2),
    "state": (NameOID.STATE_OR_PROVINCE_NAME, 128),
    "locality": (NameOID.LOCALITY_NAME, 128),
    "organization": (NameOID.ORGANIZATION_NAME, MAX_NAME),
    "organizational_unit": (NameOID.ORGANIZATIONAL_UNIT_NAME, MAX_NAME),
    "dn_qualifier": (NameOID.DN_QUALIFIER, MAX_NAME),
    "common_name": (NameOID.COMMON_NAME, MAX_NAME),
}
# Those that a subject may have beside organization and common name.
MORE_PARTS = tuple(part for part in _PARTS if part not in ("organization", "common_name"))


def distinguished_name(
    *, common_name: str | None, organization: str | None, more: Mapping[str, str | None] | None = None
) -> x509.Name:
    """Return the name of these parts, ``more`` being of ``MORE_PARTS``; empty ones are left out.

    Raises:
        PkiError: a part is too long, or is none of X.509's for it.

    """
    values = {**(more or {}), "organization": organization, "common_name": common_name}
    return x509.Name([_part(part, value) for part in _PARTS if (value := values.get(part))])


def _part(part: str, value: str) -> x509.NameAttribute:
    (oid, most), label = _PARTS[part], part.replace("_", " ")
    if len(value) > most and part != "country":
        raise PkiError(f"{label} {value!r} has {len(value)} characters: X.509 allows {most}; choose a shorter one")
    if part == "country" and not _COUNTRY.fullmatch(value):
        raise PkiError(f"country {value!r}: write the two capital letters of ISO 3166, such as SE")
    return x509.NameAttribute(oid, value)


def more_parts(name: x509.Name) -> dict[str, str]:
    """Return the parts of a name beside organization and common name."""
    found = {part: name.get_attributes_for_oid(_PARTS[part][0])[-1:] for part in MORE_PARTS}
    return {part: str(attributes[0].value) for part, attributes in found.items() if attributes}


def common_name_of(name: x509.Name) -> str:
    """Return the common name, or an empty string."""
    return "".join(str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME)[-1:])


def organization_of(name: x509.Name) -> str:
    """Return the organization, or an empty string."""
    return "".join(str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[-1:])


def oneline(name: x509.Name) -> str:
    """Return `name` as OpenSSL's X509_NAME_oneline writes it into index.txt: ``/O=.../CN=...``."""
    return "".join(
        f"/{_SHORT.get(part.oid, part.rfc4514_attribute_name)}={_printable(str(part.value))}" for part in name
    )


def _printable(value: str) -> str:
    return "".join(chr(octet) if 0x20 <= octet <= 0x7E else f"\\x{octet:02X}" for octet in value.encode())


# What RFC 4514 has no name for.
_SHORT = {NameOID.DN_QUALIFIER: "dnQualifier", NameOID.SERIAL_NUMBER: "serialNumber"}
_RANGE = re.compile(r"\[([0-9]+|[a-zA-Z]):([0-9]+|[a-zA-Z])(?::([0-9]+))?\]")


@dataclass(frozen=True)
class _Numbers:
    """Numbers with zeros before them up to a width."""

    numbers: range
    width: int

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[str]:
        return (str(number).zfill(self.width) for number in self.numbers)

    @property
    def last(self) -> str:
        return str(self.numbers[-1]).zfill(self.width)


@dataclass(frozen=True)
class Names:
    """The names that a text with ranges stands for, made anew each time they are asked for."""

    texts: Sequence[str]
    ranges: Sequence[_Numbers | str]

    def __len__(self) -> int:
        return prod(map(len, self.ranges))

    def __iter__(self) -> Iterator[str]:
        return _combined(self.texts, self.ranges)

    @property
    def longest(self) -> str:
        """The last name, which none is longer than."""
        ends = (each[-1] if isinstance(each, str) else each.last for each in self.ranges)
        return "".join(chain(*zip(self.texts, (*ends, ""), strict=True)))

    @property
    def are_distinct(self) -> bool:
        """Whether no name can be made in two ways: its length then tells the width of each part."""
        return sum(isinstance(each, _Numbers) and len(each.last) > each.width for each in self.ranges) <= 1


def _combined(texts: Sequence[str], ranges: Sequence[_Numbers | str]) -> Iterator[str]:
    if not ranges:
        yield texts[0]
        return
    for head in _combined(texts[:-1], ranges[:-1]):
        for value in ranges[-1]:
            yield f"{head}{value}{texts[-1]}"


def expand(pattern: str) -> Names:
    """Return the names that `pattern` stands for, with ranges as in inventories: ``dev-[001:100]``, ``[a:f]``.

    Both ends belong to a range. Raises PkiError for a range that cannot be, or one of too many names.
    """
    parts = _RANGE.split(pattern)  # text, first, last, step, text, ...
    texts = parts[::4]
    if any(bracket in text for text in texts for bracket in "[]"):
        raise PkiError(f"device names {pattern!r}: write a range like dev-[001:100], dev-[a:f] or dev-[0:90:10]")
    names = Names(texts, [_range(pattern, *parts[start : start + 3]) for start in range(1, len(parts), 4)])
    if len(names) > MAX_DEVICES:
        raise PkiError(f"device names {pattern!r} are {len(names)}: at most {MAX_DEVICES} in one run; split the range")
    return names


def _range(pattern: str, first: str, last: str, step: str | None) -> _Numbers | str:
    by = int(step or 1)
    digits = first.isdecimal()
    if not by or digits != last.isdecimal() or (first.startswith("0") and len(first) > 1 and len(first) != len(last)):
        raise PkiError(f"device names {pattern!r}: a range is of numbers of the same width, or of letters")
    values: _Numbers | str = ascii_letters[ascii_letters.find(first) : ascii_letters.find(last) + 1 : by]
    if digits:
        values = _Numbers(range(int(first), int(last) + 1, by), len(first))
        if len(values) > MAX_DEVICES:
            raise PkiError(f"device names {pattern!r}: at most {MAX_DEVICES} in one run; split the range")
    if not values:
        raise PkiError(f"device names {pattern!r}: the range ends before it begins")
    return values


def thing_names(names: Iterable[str]) -> list[str]:
    """Return the names once each, in order; raise PkiError for one that cannot be thing name and common name."""
    unique = list(dict.fromkeys(name.strip() for name in names))
    for name in unique:
        require_thing_name(name)
    return unique


def require_thing_name(name: str) -> None:
    """Raise PkiError for a name that cannot be thing name and common name."""
    if not _THING_NAME.fullmatch(name):
        raise PkiError(f"device name {name!r}: use letters, digits, colon, underscore and hyphen only")
    if len(name) > MAX_NAME:
        raise PkiError(
            f"device name {name!r} has {len(name)} characters: it is the certificate's common name, "
            f"for which X.509 allows {MAX_NAME}; choose a shorter one"
        )


def dns_names(names: Iterable[str]) -> list[str]:
    """Return the DNS names in lower case, once each, in order; raise PkiError for none, or one that is no DNS name."""
    unique = list(dict.fromkeys(name.strip().lower() for name in names))
    if not unique:
        raise PkiError("names is empty: give the DNS names of the server, the domain of the fleet first")
    for name in unique:
        if len(name) > 253 or not _DNS_NAME.fullmatch(name):
            raise PkiError(f"server name {name!r} is not a DNS name: write it like iot.example.com, or *.example.com")
    return unique


__all__ = [
    "MAX_DEVICES", "MAX_NAME", "MORE_PARTS", "Names", "common_name_of", "distinguished_name", "dns_names", "expand",
    "more_parts", "oneline", "organization_of", "require_thing_name", "thing_names",
]  # fmt: skip
