"""TLS to the broker: what the settings ask for, and, in words, why a handshake failed."""

from __future__ import annotations

import ssl
from pathlib import Path

from core.regular_file import read_regular
from edge.clock import iso_ms, utc_now
from edge.settings import MqttSettings
from edge.settings_file import ConfigError, Problem

_LARGEST = 16 << 20  # bytes; a system's list of authorities has a quarter of one
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_...
_OTHER_NAME = {62, 64}  # of a host, of an address
_PLAIN = {"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"}


def context_of(settings: MqttSettings) -> ssl.SSLContext | None:
    """What a TLS connection is made with: TLS 1.2 or later, the broker's certificate and name checked. None: no TLS.

    Raises:
        ConfigError: a file is missing, cannot be read, or is not what it should be.
    """
    if not settings.tls:
        return None
    if settings.ca_file is not None and b"-----BEGIN" not in _content("ca_file", settings.ca_file):
        raise _problem("ca_file", settings.ca_file, "holds no certificate in PEM form")
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except ssl.SSLError as error:
        assert settings.ca_file is not None
        raise _problem("ca_file", settings.ca_file, f"holds no usable certificate: {error.reason}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.cert_file is not None and settings.key_file is not None:
        _identify(context, settings.cert_file, settings.key_file)
    return context


def failed(error: ssl.SSLError | ConnectionError, settings: MqttSettings) -> str:
    """Why a handshake failed, and what to do."""
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_NAME:
            return f"the certificate of the broker at {where} is not for this name; set mqtt.host to one that is in it"
        if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
            state = "has expired" if error.verify_code == _EXPIRED else "is not valid yet"
            return f"the certificate of the broker at {where} {state}; or the clock here is wrong: {iso_ms(utc_now())}"
        trusted = "mqtt.ca_file" if settings.ca_file else "this system; set mqtt.ca_file to its authority's certificate"
        return f"the certificate of the broker at {where} is not trusted by {trusted} ({error.verify_message})"
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)) or error.reason in _PLAIN:
        return f"what listens on {where} does not seem to speak TLS; check mqtt.port (with TLS it is often 8883)"
    why = (error.reason or str(error)).replace("_", " ").lower()
    return f"the TLS handshake with {where} failed ({why}); {identity_hint(settings)}"


def identity_hint(settings: MqttSettings) -> str:
    """What a broker that hangs up on a TLS client most often misses."""
    if settings.cert_file is None:
        return "does the broker want a client certificate (mqtt.cert_file and mqtt.key_file)?"
    return "does the broker trust the certificate in mqtt.cert_file?"


def _identify(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    if b"-----BEGIN CERTIFICATE" not in _content("cert_file", cert_file):
        raise _problem("cert_file", cert_file, "holds no certificate in PEM form")
    key = _content("key_file", key_file)
    if b"PRIVATE KEY-----" not in key:
        raise _problem("key_file", key_file, "holds no private key in PEM form")
    if b"ENCRYPTED" in key:  # OpenSSL would ask for its password on the terminal
        raise _problem("key_file", key_file, "has a password; write one without: openssl pkey -in ... -out ...")
    try:
        context.load_cert_chain(cert_file, key_file)
    except ssl.SSLError as error:
        raise _problem("key_file", key_file, f"is not the key of mqtt.cert_file, or damaged: {error.reason}") from None


def _content(key: str, path: Path) -> bytes:
    try:
        return read_regular(path, _LARGEST)
    except OSError as error:
        remedy = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise _problem(key, path, remedy) from error


def _problem(key: str, path: Path, remedy: str) -> ConfigError:
    return ConfigError([Problem("mqtt", key, str(path), remedy)])
