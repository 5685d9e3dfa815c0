"""Reads the configuration, and names in words all that is wrong with it."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from core.regular_file import SMALL, read_regular
from edge.ops.redact import redact
from edge.settings import ENV_PREFIX, LineSettings, Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the configuration."""

    where: str
    key: str
    value: str
    remedy: str

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
        data = tomllib.loads(read_regular(path, SMALL).decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError([Problem(str(path), "", "", "no such file; `alfa-edge config example` prints one")]) from None
    except OSError as error:
        raise ConfigError([Problem(str(path), "", "", f"cannot be read: {error.strerror or error}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), "", "", f"cannot be read: {error}")]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem(str(path), "", "", f"not valid TOML: {error}")]) from error
    try:
        return Settings(**data)
    except ValidationError as error:
        raise ConfigError(list(_problems(error, str(path), os.environ))) from None


def _problems(error: ValidationError, path: str, environ: Mapping[str, str]) -> Iterator[Problem]:
    variables = {name.upper(): name for name in environ}
    for item in error.errors():
        loc = tuple(str(part) for part in item["loc"] if part != "[key]")
        key = ".".join(loc)
        variable = variables.get((ENV_PREFIX + "__".join(loc)).upper())
        yield Problem(
            f"environment {variable}" if variable else path,
            key,
            _shown(key, item["input"]),
            _remedy(item, loc),
        )


def _shown(key: str, value: object) -> str:
    if "password" in key:
        return "***"
    if isinstance(value, Mapping):
        return ""
    return redact(repr(value))[:120]


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
