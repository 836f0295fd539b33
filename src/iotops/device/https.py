# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to the provisioning API: JSON in, JSON out, over HTTPS with a verified server."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from iotops.device.clocks import trouble
from iotops.device.errors import DeviceError, Unreachable

# API Gateway gives a function 30 seconds.
_TIMEOUT_SECONDS = 35
_LARGEST_ANSWER = 256 * 1024
_LONGEST_RETRY_AFTER = 3600


@dataclass(frozen=True)
class Reply:
    """What the API answered. ``body``: {} if it is no JSON object. ``retry_after``: seconds; None: it does not say."""

    status: int
    body: dict[str, Any] = field(repr=False)  # may hold a private key
    retry_after: float | None = None


class Api:
    """An API at a URL. ``root``: what is trusted instead of the system's roots; ``proxy``: whether its settings hold.

    Raises:
        DeviceError: the URL or the root is not what it should be.

    """

    def __init__(self, url: str, path: str, *, root: Path | None = None, proxy: bool = False) -> None:
        parts = _checked(url)
        whole = parts.path.rstrip("/")
        self._url = parts._replace(path=whole if whole.endswith(path) else whole + path, fragment="").geturl()
        try:
            context = ssl.create_default_context(cafile=root)
        except OSError as error:
            reason = "it is not a PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise DeviceError(f"--https-root {root}: {reason}: give a root certificate (PEM)") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context), _NoRedirects()]
        self._opener = urllib.request.build_opener(*handlers, *(() if proxy else (urllib.request.ProxyHandler({}),)))

    def post(self, body: dict[str, Any]) -> Reply:
        """Post a request.

        Raises:
            Unreachable: there was no whole answer; the API may have done what it was asked to.

        """
        request = urllib.request.Request(  # noqa: S310 - _checked
            self._url, json.dumps(body).encode(), {"Content-Type": "application/json", "Accept": "application/json"}
        )
        try:
            try:
                answer = self._opener.open(request, timeout=_TIMEOUT_SECONDS)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                text = answer.read(_LARGEST_ANSWER + 1)
                return Reply(int(answer.status), _object(text), _seconds(answer.headers.get("Retry-After", "")))
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self._url}: {_reason(error)}") from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A signed request goes where it was meant to go."""

    def redirect_request(self, *_arguments: Any) -> None:
        """Follow nothing: the redirection itself is the answer."""


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise DeviceError(f"--url {url!a}: {error}") from error
    if not host or parts.scheme not in ("http", "https") or not url.isascii() or not url.isprintable() or " " in url:
        raise DeviceError(f"--url {url!a}: give https://<host>")
    if parts.username is not None or parts.password is not None:
        raise DeviceError("--url: it holds a user or a password: the API knows none")
    if parts.scheme == "http" and not _is_loopback(host):
        raise DeviceError(f"--url {url}: http is for loopback only: give https")
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text) if len(text) <= _LARGEST_ANSWER else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _seconds(header: str) -> float | None:
    """Return what Retry-After means: seconds, or a date."""
    if header.strip().isdigit() and header.isascii():
        return float(min(int(header.strip()[:9]), _LONGEST_RETRY_AFTER))
    try:
        moment = email.utils.parsedate_to_datetime(header).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return min(max(0.0, moment - time.time()), _LONGEST_RETRY_AFTER)


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return trouble(cause)
    return " ".join(str(cause).split()) or type(cause).__name__
