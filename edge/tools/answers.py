"""What a language model has answered so far, kept beside the draft until that is there: an answer may cost minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core import files
from core.packs.content import PackError
from core.regular_file import SMALL, read_regular

SUFFIX = ".answers.json"
"""How the name of the file ends, behind that of the pack."""


class _Kept(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    noun: str
    plural: str
    model: str
    asked: list[str] = []
    items: dict[str, dict[str, Any]] = {}


class Answers:
    """Answers of one model about one class, each question's by what was asked for."""

    def __init__(self, path: Path, noun: str, plural: str, model: str) -> None:
        """Reads what an earlier run has left at `path`.

        Raises:
            PackError: what is there cannot be read, or is about something else.
        """
        self.path = path
        self._kept = _Kept(noun=noun, plural=plural, model=model)
        self._is_there = False
        try:
            earlier = _Kept.model_validate_json(read_regular(path, SMALL))
        except FileNotFoundError:
            return
        except (ValidationError, OSError):
            raise PackError(f"{path}: cannot be read as earlier answers; remove it, and ask anew") from None
        if (earlier.noun, earlier.plural, earlier.model) != (noun, plural, model):
            about = f"{earlier.noun}, {earlier.plural}, of the model {earlier.model}"
            raise PackError(f"{path}: has answers about {about}; remove it, or give another --name or --out")
        self._kept, self._is_there = earlier, True

    @property
    def asked(self) -> list[str]:
        """The questions, word for word."""
        return self._kept.asked

    def of(self, what: str) -> dict[str, Any]:
        """The items that came of one kind, by key."""
        return dict(self._kept.items.get(what, {}))

    def keep(self, what: str, items: dict[str, Any]) -> None:
        """Writes down all the items of one kind. None are no reason for a file."""
        if not items:
            return
        self._kept.items[what] = items
        files.write(self.path, json.dumps(self._kept.model_dump(), indent=1).encode(), sync=False)
        self._is_there = True

    def remove(self) -> None:
        """The draft has them now."""
        self.path.unlink(missing_ok=True)

    def __str__(self) -> str:
        """What to say of them where there is no draft."""
        if not self._is_there:
            return "Nothing was written"
        return f"What came is kept in {self.path}, and the same command goes on there"
