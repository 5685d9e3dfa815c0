"""Certificates of the tests' own authorities, made with openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.mosquitto import binary


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Vouches for others; `identity.certificate` is what to trust."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        key = self._key(name)
        certificate = folder / f"{name}.pem"
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        _openssl("req", "-x509", "-key", key, "-subj", f"/CN={name}", "-days", "30", "-out", certificate, *usage)
        self.identity = Identity(certificate, key)

    def vouch(self, name: str, names: str = "", days: int = 30) -> Identity:
        """A certificate for `names` (`DNS:localhost,IP:127.0.0.1`); it has expired where `days` is negative."""
        key, request = self._key(name), self._folder / f"{name}.csr"
        certificate, extensions = self._folder / f"{name}.pem", self._folder / f"{name}.ext"
        lines = ["basicConstraints=CA:FALSE", "authorityKeyIdentifier=keyid", "subjectKeyIdentifier=hash"]
        extensions.write_text("\n".join(lines + [f"subjectAltName={names}"] * bool(names)) + "\n")
        _openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        signer = ("-CA", self.identity.certificate, "-CAkey", self.identity.key, "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *signer, "-days", days, "-extfile", extensions, "-out", certificate)
        return Identity(certificate, key)

    def _key(self, name: str) -> Path:
        path = self._folder / f"{name}.key"
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
        return path


def lock_key(key: Path, target: Path) -> Path:
    """The same key with a password, in `target`."""
    _openssl("pkcs8", "-topk8", "-in", key, "-passout", "pass:secret", "-out", target)
    return target


def _openssl(*arguments: object) -> None:
    subprocess.run([binary("openssl"), *map(str, arguments)], check=True, capture_output=True)
