"""Secrets that are planted before a campaign, and looked for in everything that comes out of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

PASSWORD = "canary-mqtt-7Qm2xW9r"  # of the broker
CAMERA = "canary-camera-4Tz8/kL1v"  # in a camera's address; a slash is what people forget to escape
TLS_KEY = "canary+tls+key+Zx3Vb6Nn"  # in a key's file
VARIABLE = "canary-variable-9Hd5sG2p"  # in the environment
SECRETS = (PASSWORD, CAMERA, TLS_KEY, VARIABLE)
_PARTS = tuple(part for secret in SECRETS for part in (secret, secret.partition("/")[2] or secret))

ENVIRONMENT: Mapping[str, str] = {
    "ALFA_FUZZ_TOKEN": VARIABLE,
    "OPENAI_API_KEY": VARIABLE,
    "AWS_SECRET_ACCESS_KEY": VARIABLE,
}


def plant_environment() -> None:
    """For this process and those that it starts."""
    os.environ.update(ENVIRONMENT)


def key_file(folder: Path) -> Path:
    """A key that is none, with a secret in it."""
    path = folder / "client.key"
    path.write_text(f"-----BEGIN PRIVATE KEY-----\n{TLS_KEY}\n-----END PRIVATE KEY-----\n")
    return path


def leaked(said: str | bytes) -> int:
    """Bytes of secrets in what was said."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return sum(len(part) * text.count(part) for part in dict.fromkeys(_PARTS))


def leaked_in(files: Iterable[Path]) -> int:
    """Bytes of secrets in files."""
    return sum(leaked(file.read_bytes()) for file in files if file.is_file())
