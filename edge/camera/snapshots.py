"""Network cameras that give one picture for each HTTP request: they are asked again and again."""

from __future__ import annotations

import http.client
import ssl
import time
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import (
    HTTPBasicAuthHandler,
    HTTPDigestAuthHandler,
    HTTPPasswordMgrWithDefaultRealm,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    build_opener,
)

from core import image
from core.image import MOST_BYTES, Rgb
from edge.address import shown_source
from edge.camera.errors import SourceError
from edge.camera.exposure import UNKNOWN
from edge.camera.opencv import not_opened
from edge.clock import monotonic
from edge.settings import CameraSettings

INTERVAL_S = 0.1
"""Between two requests, at least: each one is work for a camera."""
_CHUNK = 1 << 16
_FAILURES = (URLError, http.client.HTTPException, OSError, ValueError)
"""Of a request; ValueError: the camera sends on to what is no address."""


class Snapshots:
    """A camera that answers each request with its newest picture."""

    live = True
    simulated = False
    lags = True  # the picture is exposed after the request, not after the answer
    exposure = UNKNOWN
    ready = None
    notice: str | None = None
    name: str | None = None

    def __init__(self, settings: CameraSettings) -> None:
        """Takes a first picture."""
        self._label = shown_source(settings.source)
        self._timeout_s = settings.read_timeout_s
        parts = urlsplit(settings.source)
        self._url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
        self._opener = _opener(self._url, unquote(parts.username or ""), unquote(parts.password or ""))
        self._due = monotonic()
        try:
            self._picture = self._request()
        except _FAILURES as error:
            raise not_opened(settings) from error

    def grab(self) -> bool:
        time.sleep(max(0.0, self._due - monotonic()))
        self._due = monotonic() + INTERVAL_S
        try:
            self._picture = self._request()
        except HTTPError as error:
            raise SourceError(f"{self._label}: broke off: the camera answers {_status(error.code)}") from error
        except _FAILURES as error:
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(reason, TimeoutError):
                raise self._stalled() from error
            what = "asks for a login of an unknown kind, or sends on to no address"
            words = f"the camera {what}" if isinstance(error, ValueError) else "the camera's answer did not come whole"
            raise SourceError(f"{self._label}: broke off: {words}") from error
        return True

    def retrieve(self) -> Rgb:
        try:
            return image.decode(self._picture, "the picture")
        except image.ImageError as error:
            raise SourceError(f"{self._label}: a frame could not be decoded: {error}") from error

    def close(self) -> None:
        """There is nothing to let go of."""

    def _request(self) -> bytes:
        deadline = monotonic() + self._timeout_s
        with self._opener.open(self._url, timeout=self._timeout_s) as answer:
            size, pieces = 0, []
            while piece := answer.read1(_CHUNK):
                pieces.append(piece)
                size += len(piece)
                if size > MOST_BYTES:
                    raise SourceError(f"{self._label}: sends a picture of more than {MOST_BYTES >> 20} MiB")
                if monotonic() > deadline:
                    raise self._stalled()
            if answer.length:  # what is left of what was announced; None where that was no number
                raise http.client.IncompleteRead(b"", answer.length)
        return b"".join(pieces)

    def _stalled(self) -> SourceError:
        return SourceError(f"{self._label}: stalled: connected, but no frame in {self._timeout_s:g} s")


def _status(code: int) -> str:
    """The number of an answer in words; the camera's own may quote the address."""
    return f"{code} {http.client.responses.get(code, '')}".rstrip()


def _opener(url: str, user: str, password: str) -> OpenerDirector:
    """What opens `url`, and logs in where the camera asks for it. As with streams, any certificate will do: cameras
    make their own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    passwords = HTTPPasswordMgrWithDefaultRealm()
    if user:
        passwords.add_password(None, url, user, password)
    logins = HTTPDigestAuthHandler(passwords), HTTPBasicAuthHandler(passwords)
    return build_opener(ProxyHandler({}), HTTPSHandler(context=context), *logins)
