"""Reads the configuration, and names in words all that is wrong with it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError

from core.printable import shown
from core.regular_file import read_regular
from core.toml import MOST_BYTES, TomlError, parse_toml
from edge.address import encoded, shown_source
from edge.ops.redact import redact
from edge.settings import ENV_PREFIX, LineSettings, Settings

CONFIG_VARIABLE = "ALFA_EDGE_CONFIG"
"""The environment variable that names the file, where the command line does not."""
DEFAULT_CONFIG = Path("/etc/alfa-edge/edge.toml")
"""The file where neither names one."""
_ABSENT = f"no such file; name one with --config or ${CONFIG_VARIABLE}; `alfa-edge config example` prints one"
_MOST = 20  # problems that are named
_SHOULD = "input should be "
_OF_ANOTHER_KIND = ("_type", "_parsing", "literal_error")  # ends of pydantic's words for a value of another kind
_UNKNOWN = {"type": "extra_forbidden", "msg": ""}


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
        raise ConfigError([Problem(str(path), shown(key), "", _remedy(_UNKNOWN, (key,))) for key in ours[:_MOST]])
    try:
        return Settings(**data)
    except ValidationError as error:
        raise ConfigError(list(islice(_problems(error, str(path), os.environ), _MOST))) from None
    except SettingsError as error:  # of a variable that is no JSON; its cause would repeat the value
        raise ConfigError([Problem(f"environment {ENV_PREFIX}...", "", "", str(error))]) from None


def _problems(error: ValidationError, path: str, environ: Mapping[str, str]) -> Iterator[Problem]:
    variables = {name.upper(): name for name in environ}
    for items in _by_setting(error):
        item = items[0]
        loc = _location(item)
        key = shown(".".join(loc))
        variable = variables.get((ENV_PREFIX + "__".join(loc)).upper())
        yield Problem(
            f"environment {variable}" if variable else path,
            key,
            "" if item["type"] == "extra_forbidden" else _shown(loc, item["input"]),
            ", or ".join([_remedy(item, loc), *(_remedy(one, loc).removeprefix(_SHOULD) for one in items[1:])]),
            (encoded(item["input"]) or "") if _is_source(loc) and isinstance(item["input"], str) else "",
        )


def _by_setting(error: ValidationError) -> list[list[Any]]:
    """What is wrong, by setting. Of one that may be of several kinds, what is wrong with the kind that was meant, else
    with each of them."""
    groups: dict[tuple[str, ...], list[Any]] = {}
    for item in error.errors()[: 10 * _MOST]:
        groups.setdefault(_setting(item), []).append(item)
    found: list[list[Any]] = []
    for items in groups.values():
        inside = [item for item in items if isinstance(item["loc"][-1], int)]
        meant = inside or [item for item in items if not item["type"].endswith(_OF_ANOTHER_KIND)]
        found += [[item] for item in meant] or [items]
    return found


def _setting(item: Any) -> tuple[str, ...]:
    """The tables and the key, without pydantic's words for names and for the kinds that a value may be of."""
    loc = tuple(str(part) for part in item["loc"])
    for end in range(1, len(loc) + 1):
        if loc[end - 1] in _keys(loc[: end - 1]) and not _keys(loc[:end]):  # a value, and no table
            return loc[:end]
    return loc[:-1] if len(loc) > 1 and loc[-1] == "[key]" else loc


def _location(item: Any) -> tuple[str, ...]:
    """The setting, and an index where it is a list."""
    setting = _setting(item)
    return setting + tuple(str(part) for part in item["loc"][len(setting) :] if isinstance(part, int))


def _shown(loc: tuple[str, ...], value: object) -> str:
    """A value of a setting that is known: under a name that is mistyped a password may stand, and in a table."""
    if "password" in loc[-1]:
        return "***"
    if _is_source(loc) and isinstance(value, str):
        return repr(shown_source(value))[:120]
    parts = value if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(part, (Mapping, list, tuple)) for part in parts):
        return ""
    return redact(repr(value))[:120]


def _is_source(loc: tuple[str, ...]) -> bool:
    return loc[-1] == "camera" or loc[-2:] == ("camera", "source")


def _remedy(item: Any, loc: tuple[str, ...]) -> str:
    kind, message = item["type"], str(item["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return "is required; add it"
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(loc[-1], _keys(loc[:-1]), n=1)
        return "is no setting; " + (
            f"did you mean {close[0]}?" if close else f"known here: {', '.join(_keys(loc[:-1]))}"
        )
    if kind == "string_pattern_mismatch" and loc[:1] == ("lines",):
        return "a line's name has 1 to 64 of a-z, 0-9 and -, since it is part of a topic"
    message = message.replace("valid tuple", "list").replace("Tuple", "list")
    return message[0].lower() + message[1:]


def _keys(loc: tuple[str, ...]) -> list[str]:
    """The settings known in the table at `loc`."""
    model: type[BaseModel] = Settings
    steps = list(loc)
    while steps:
        step = steps.pop(0)
        if model is Settings and step == "lines":
            model = LineSettings
            steps = steps[1:]
            continue
        field = model.model_fields.get(step)
        kinds = list(_models(field.annotation)) if field else []
        if not kinds:
            return []
        model = kinds[0]
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models(part)
