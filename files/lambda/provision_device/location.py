"""Where the device that asks is.

``edge`` is what CloudFront says of its viewer. ``database`` and ``ipstack`` go by the address that the connection came
from, which API Gateway saw itself; X-Forwarded-For is whatever the device likes, and is never read.

The secret ``<application>-provisioning-edge`` is what CloudFront adds to each request as x-origin-verify, so that
nobody else can claim to be the edge; ``<application>-ipstack`` is the access key of that service. Where a source cannot
tell, the device is nowhere in particular: that is never an error.
"""

from __future__ import annotations

import hmac
import http.client
import ipaddress
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import _geoip_geolite2
import maxminddb
from answers import RefusedError, unavailable
from aws import aws
from botocore.exceptions import BotoCoreError, ClientError
from choosing import Location
from countries import CONTINENTS, COUNTRIES

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

IPSTACK = "api.ipstack.com"
IPSTACK_SECONDS = 2  # for each of connecting and answering
MOST = 65536  # bytes of an answer
SECRETS_ARE_KEPT = 60  # seconds
AGAIN = 2  # seconds after which one that could not be read is tried again

_log = logging.getLogger()
_secrets: dict[str, tuple[float, str]] = {}


class UnlocatedError(Exception):
    """A source cannot tell where an address is; the words are for the log."""


def locate(event: Mapping[str, Any], sources: Collection[str]) -> Location | None:
    """Ask the sources in their order, the edge first; None where none can tell.

    ``event`` is API Gateway's of format 2.0, with the names of headers in lower case. What says that it comes through
    the edge may have the edge's address: then no other source is asked, whether it proves it or not.
    """
    headers: Mapping[str, str] = event.get("headers") or {}
    if "edge" in sources and "x-origin-verify" in headers:
        return _of_edge(event)
    address = _public(event["requestContext"]["http"]["sourceIp"])
    if address is None:
        return None
    return next(filter(None, (_tried(source, address) for source in sources if source in BY_ADDRESS)), None)


def require_edge(event: Mapping[str, Any]) -> None:
    """Refuse a request that did not come through the distribution.

    Raises:
        RefusedError: it did not, or nobody can tell now.

    """
    if not _secret("provisioning-edge"):
        raise unavailable("what the edge proves itself by cannot be read")
    if not _is_of_edge(event):
        raise RefusedError(403, "NotAllowed", "ask by the name of the API, not by its address")


def _is_of_edge(event: Mapping[str, Any]) -> bool:
    proof, secret = (event.get("headers") or {}).get("x-origin-verify", ""), _secret("provisioning-edge")
    return bool(secret) and hmac.compare_digest(proof.encode(errors="replace"), secret.encode())


def _of_edge(event: Mapping[str, Any]) -> Location | None:
    if not _is_of_edge(event):
        _log.warning("edge does not locate a device: it does not prove to be the edge")
        return None
    headers: Mapping[str, str] = event["headers"]
    # https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/adding-cloudfront-headers.html
    latitude, longitude, country = (
        headers.get(f"cloudfront-viewer-{name}") for name in ("latitude", "longitude", "country")
    )
    return _location(latitude, longitude, country)


def _public(text: str) -> Address | None:
    """The address; None for one that is not of the Internet, as the loopback's or a private one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address if address.is_global else None


def _tried(source: str, address: Address) -> Location | None:
    try:
        return BY_ADDRESS[source](address)
    except UnlocatedError as error:
        _log.warning("%s does not locate a device: %s", source, error)
        return None


def _in_database(address: Address) -> Location | None:
    try:
        found: Any = _database().get(address)
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise UnlocatedError(type(error).__name__) from error
    return _location(
        _member(found, "location", "latitude"),
        _member(found, "location", "longitude"),
        _member(found, "country", "iso_code"),
        _member(found, "continent", "code"),
    )


@cache
def _database() -> maxminddb.Reader:
    """The operator's own database beside this file, else GeoLite2 of the package."""
    own = Path(__file__).with_name("location.mmdb")
    packed = Path(_geoip_geolite2.__file__).with_name(_geoip_geolite2.database_name)
    return maxminddb.open_database(own if own.is_file() else packed)


def _at_ipstack(address: Address) -> Location:
    key = _secret("ipstack")
    if not key:
        raise UnlocatedError("it has no key")
    try:
        answer = _asked(f"/{address}?{urlencode({'access_key': key})}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnlocatedError(type(error).__name__) from error  # whose words may have the key
    # https://ipstack.com/documentation
    found = _location(*(answer.get(name) for name in ("latitude", "longitude", "country_code", "continent_code")))
    if found is None:
        code = _member(answer, "error", "code")
        raise UnlocatedError(f"error {code}" if isinstance(code, int) else "no location")
    return found


def _asked(path: str) -> dict[str, Any]:
    connection = http.client.HTTPSConnection(IPSTACK, timeout=IPSTACK_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise UnlocatedError(f"HTTP status {response.status}")
        answer = json.loads(response.read(MOST))
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise UnlocatedError("not an object")
    return answer


BY_ADDRESS: dict[str, Callable[[Address], Location | None]] = {"database": _in_database, "ipstack": _at_ipstack}


def _member(record: Any, *path: str) -> Any:
    """What is below a name of a name; None where the record is of another shape."""
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _location(latitude: Any, longitude: Any, country: Any, continent: Any = "") -> Location | None:
    """What of it can be; None when that is nothing."""
    known = (
        country if isinstance(country, str) and country in COUNTRIES else "",
        continent if isinstance(continent, str) and continent in CONTINENTS else "",
    )
    try:
        return Location(float(latitude), float(longitude), *known)
    except (TypeError, ValueError, OverflowError):
        return Location(None, None, *known) if any(known) else None


def _secret(name: str) -> str:
    """The text of ``<application>-<name>``, as it was a minute ago, or when it could be read; "" when never."""
    until, text = _secrets.get(name, (0.0, ""))
    if time.monotonic() >= until:
        found = _read(f"{os.environ['APPLICATION']}-{name}")
        text = text if found is None else found
        _secrets[name] = (time.monotonic() + (AGAIN if found is None else SECRETS_ARE_KEPT), text)
    return text


def _read(secret: str) -> str | None:
    try:
        return str(aws("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]).strip()
    except (BotoCoreError, ClientError) as error:
        _log.warning("the secret %s cannot be read: %s", secret, type(error).__name__)
        return None
