"""Settings of the console in the browser."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from edge.settings_section import LocalPath, Section

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*\.?", re.IGNORECASE)


def _host(name: str) -> str:
    """A name as it stands in an address, without its port."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if len(name) > 253 or not _HOST.fullmatch(name):
            raise ValueError("is no name or address of a machine, as `box-1.plant.local` is one") from None
    return name.lower().rstrip(".")


HostName = Annotated[str, AfterValidator(_host)]


class HmiSettings(Section):
    """The console in the browser: `alfa-edge hmi`."""

    listen: HostName = "127.0.0.1"
    """Address that it listens on. Beyond loopback it needs users and `hmi.tls_cert`, or `hmi.insecure`."""
    port: int = Field(default=8480, ge=1, le=65535)
    """TCP port that it listens on."""
    hosts: tuple[HostName, ...] = Field(default=(), max_length=32)
    """Names that browsers reach it by, besides this machine's own and its addresses. Others are refused."""
    rate: float = Field(default=5.0, gt=0, le=60)
    """The most live pictures of a line per second."""
    tls_cert: LocalPath | None = None
    """Its certificate, and those that vouch for it (PEM)."""
    tls_key: LocalPath | None = None
    """The key of `hmi.tls_cert` (PEM, without a password)."""
    users_file: LocalPath | None = None
    """Who may use it, as `alfa-edge users` writes it. Default: `users.toml` in `service.state_dir`."""
    insecure: bool = False
    """Listen beyond loopback without users or without encryption. Every page says so."""
    session_hours: float = Field(default=12.0, gt=0, le=8760)
    """Hours after which people have to log in again."""
    language: Literal["en", "de"] = "en"
    """Language of the pages, where nobody has chosen another."""

    @property
    def encrypted(self) -> bool:
        """Whether it speaks TLS."""
        return self.tls_cert is not None

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.listen).is_loopback
        except ValueError:
            return self.listen == "localhost"

    @model_validator(mode="after")
    def _certificate_and_key(self) -> HmiSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; set both or none")
        return self
