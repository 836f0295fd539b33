# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to the provisioning API: JSON in, JSON out, over HTTPS with a verified server."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import logging
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from iotops.device.clocks import NOT_YET_VALID, trouble
from iotops.device.errors import DeviceError, Unreachable

# API Gateway gives a function 30 seconds.
_TIMEOUT_SECONDS = 35
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL
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

    ``slow_clock``: whether a server is taken whose certificate is not valid yet. A device without a battery wakes in
    1970; what it risks is to be answered by the holder of a certificate that has expired meanwhile.

    Raises:
        DeviceError: the URL or the root is not what it should be.

    """

    def __init__(
        self, url: str, path: str, *, root: Path | None = None, proxy: bool = False, slow_clock: bool = False
    ) -> None:
        parts = _checked(url)
        whole = parts.path.rstrip("/")
        self._url = parts._replace(path=whole if whole.endswith(path) else whole + path, fragment="").geturl()
        self._slow_clock = slow_clock
        try:
            self._context = ssl.create_default_context(cafile=root)
        except OSError as error:
            reason = "it is not a PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise DeviceError(f"--https-root {root}: {reason}: give a root certificate (PEM)") from error
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        handlers: list[urllib.request.BaseHandler] = [
            urllib.request.HTTPSHandler(context=self._context),
            _NoRedirects(),
        ]
        self._opener = urllib.request.build_opener(*handlers, *(() if proxy else (urllib.request.ProxyHandler({}),)))

    def post(self, body: dict[str, Any]) -> Reply:
        """Post a request.

        Raises:
            Unreachable: there was no whole answer; the API may have done what it was asked to.

        """
        try:
            return self._post(body)
        except (OSError, http.client.HTTPException) as error:
            cause = _cause(error)
            if (
                self._slow_clock
                and isinstance(cause, ssl.SSLCertVerificationError)
                and cause.verify_code == NOT_YET_VALID
            ):
                logging.getLogger("iotops.device").warning("%s: %s: going on all the same", self._url, trouble(cause))
                self._slow_clock = False
                self._context.verify_flags |= _NO_CHECK_TIME
                return self.post(body)
            reason = trouble(cause) if isinstance(cause, ssl.SSLCertVerificationError) else _words(cause)
            raise Unreachable(f"{self._url}: {reason}") from error

    def _post(self, body: dict[str, Any]) -> Reply:
        request = urllib.request.Request(  # noqa: S310 - _checked
            self._url, json.dumps(body).encode(), {"Content-Type": "application/json", "Accept": "application/json"}
        )
        try:
            answer = self._opener.open(request, timeout=_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read(_LARGEST_ANSWER + 1)
            return Reply(int(answer.status), _object(text), _seconds(answer.headers.get("Retry-After", "")))


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


def _cause(error: Exception) -> Any:
    return error.reason if isinstance(error, urllib.error.URLError) else error


def _words(cause: object) -> str:
    return " ".join(str(cause).split()) or type(cause).__name__
