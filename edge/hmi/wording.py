"""All texts of the pages, by language and key. English is there for each key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.toml import parse_toml

FOLDER = Path(__file__).parent / "texts"
ENGLISH = "en"


class Wording:
    """The texts of one language; where it lacks one, the English."""

    def __init__(self, language: str) -> None:
        """`language`: one of `languages()`."""
        self.language = language
        self._texts = texts(ENGLISH) | (texts(language) if language != ENGLISH else {})

    def __call__(self, key: str, **values: object) -> str:
        """The text of `key`, as `wall.title`, with `{name}` replaced by what `values` say.

        Raises:
            KeyError: there is no such text.
        """
        text = self._texts[key]
        return text.format_map(values) if values else text

    def or_else(self, key: str, otherwise: str) -> str:
        """The text of `key`, or `otherwise` where there is none: for words of the service, which may be new."""
        return self._texts.get(key, otherwise)

    def table(self, name: str) -> dict[str, str]:
        """All texts of a table, by their keys in it."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): text for key, text in self._texts.items() if key.startswith(prefix)}


def languages() -> tuple[str, ...]:
    """What there are texts in."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def texts(language: str) -> dict[str, str]:
    """The texts of a language by their dotted keys."""
    _, tables = parse_toml((FOLDER / f"{language}.toml").read_bytes())
    return dict(_flat(tables))


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value)
