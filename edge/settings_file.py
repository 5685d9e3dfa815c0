"""Reads the configuration, and names in words all that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsError

from core.printable import shown
from core.regular_file import read_regular
from core.toml import MOST_BYTES, TomlError, parse_toml
from edge.address import encoded, shown_source
from edge.ops.redact import redact
from edge.settings import ENV_PREFIX, LineSettings, Settings
from edge.settings_words import MOST_PROBLEMS, Location, keys_of, no_such_setting, wrong_settings

CONFIG_VARIABLE = "ALFA_EDGE_CONFIG"
"""The environment variable that names the file, where the command line does not."""
DEFAULT_CONFIG = Path("/etc/alfa-edge/edge.toml")
"""The file where neither names one."""
_ABSENT = f"no such file; name one with --config or ${CONFIG_VARIABLE}; `alfa-edge config example` prints one"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the configuration."""

    where: str
    key: str
    value: str
    remedy: str
    written: str = field(default="", repr=False)
    """The value as it is to be written, where that can be told. It may be secret: only for who asks about the file."""

    def __str__(self) -> str:
        shown = f" = {self.value}" if self.value else ""
        return f"{self.where}: {self.key}{shown}: {self.remedy}" if self.key else f"{self.where}: {self.remedy}"


class ConfigError(Exception):
    """The configuration cannot be used; each problem names its file or variable, key, value and remedy."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


def load_settings(path: Path) -> Settings:
    """Reads and validates the TOML file at `path` under the environment's overrides.

    Raises:
        ConfigError: the file is missing, not TOML, or holds a wrong key or value.
    """
    try:
        _, data = parse_toml(read_regular(path, MOST_BYTES))
    except FileNotFoundError:
        raise ConfigError([Problem(str(path), "", "", _ABSENT)]) from None
    except OSError as error:
        raise ConfigError([Problem(str(path), "", "", f"cannot be read: {error.strerror or error}")]) from error
    except TomlError as error:
        raise ConfigError([Problem(str(path), "", "", str(error))]) from None
    if ours := [key for key in data if key.startswith("_")]:  # would reach pydantic's own switches
        raise ConfigError(
            [Problem(str(path), shown(key), "", no_such_setting(key, _keys(()))) for key in ours[:MOST_PROBLEMS]]
        )
    try:
        return Settings(**data)
    except ValidationError as error:
        raise ConfigError(list(islice(_problems(error, str(path), os.environ), MOST_PROBLEMS))) from None
    except SettingsError as error:  # of a variable that is no JSON; its cause would repeat the value
        raise ConfigError([Problem(f"environment {ENV_PREFIX}...", "", "", str(error))]) from None


def _problems(error: ValidationError, path: str, environ: Mapping[str, str]) -> Iterator[Problem]:
    variables = {name.upper(): name for name in environ}
    for wrong in wrong_settings(error, _keys):
        loc, value = wrong.location, wrong.value
        variable = variables.get((ENV_PREFIX + "__".join(loc)).upper())
        yield Problem(
            f"environment {variable}" if variable else path,
            shown(".".join(loc)),
            _shown(loc, value) if wrong.known else "",
            wrong.remedy,
            (encoded(value) or "") if _is_source(loc) and isinstance(value, str) else "",
        )


def _shown(loc: Location, value: object) -> str:
    """A value of a setting that is known: under a name that is mistyped a password may stand, and in a table."""
    if "password" in loc[-1]:
        return "***"
    if _is_source(loc) and isinstance(value, str):
        return repr(shown_source(value))[:120]
    parts = value if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(part, (Mapping, list, tuple)) for part in parts):
        return ""
    return redact(repr(value))[:120]


def _is_source(loc: Location) -> bool:
    return loc[-1] == "camera" or loc[-2:] == ("camera", "source")


def _keys(location: Location) -> list[str]:
    """The settings known in the table at `location`; lines have names of their own."""
    if location[:1] == ("lines",):
        return keys_of(LineSettings, location[2:])
    return keys_of(Settings, location)
