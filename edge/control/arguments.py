"""What commands take: each number has a range, each text a length, each moment a place in the calendar."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from core.printable import shown
from edge.clock import in_utc
from edge.control.protocol import MAX_PARTS
from edge.messages import RecipeChoice

_SHOWN = 80  # characters of a name that somebody sent
_PATH = 4096  # bytes, of the kernel
A = TypeVar("A", bound="Arguments")


class ArgumentsError(ValueError):
    """What a command was given is not what it takes; the message names the argument."""


class Arguments(BaseModel):
    """What a command takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class NoArguments(Arguments):
    """Nothing."""


class OfLine(Arguments):
    """A line."""

    line: str = Field(min_length=1, max_length=64)
    """Its name."""


class OfRecipe(OfLine):
    """A recipe of a line."""

    recipe: RecipeChoice | None = None
    """Its name or number; without it, the one that the line judges by."""


def _on_disk(path: Path) -> Path:
    if "\0" in str(path) or len(os.fsencode(path)) >= _PATH:
        raise ValueError(f"is no path: it takes less than {_PATH} bytes, and no NUL")
    if not path.is_absolute():
        beginning = shown(str(path))[:_SHOWN]
        raise ValueError(f"{beginning}: name it from the root; the service has a working directory of its own")
    return path


Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""Of a verdict or shot: no database holds a larger one."""
Moment = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""A time with its zone, within the years 1 to 9999 of UTC."""
Folder = Annotated[Path, AfterValidator(_on_disk)]
"""An absolute path."""
Names = Annotated[tuple[Annotated[str, Field(max_length=255)], ...], Field(max_length=MAX_PARTS)]
"""Of pictures that were sent along."""


def _known_flag(code: str) -> str:
    from core.bank.shot_checks import FLAGS  # whose OpenCV takes a while

    if code not in FLAGS:
        raise ValueError(f"{shown(code)!r} is no flag; there are {', '.join(FLAGS)}")
    return code


Flags = Annotated[tuple[Annotated[str, Field(max_length=32), AfterValidator(_known_flag)], ...], Field(max_length=16)]
"""Codes of `core.bank.shot_checks.FLAGS`."""


def read_arguments(model: type[A], command: str, given: dict[str, Any]) -> A:
    """What was given with a command.

    Raises:
        ArgumentsError: it is not what `model` takes.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:_SHOWN]
        reason = first["msg"].removeprefix("Value error, ")
        unknown = first["type"] in ("extra_forbidden", "missing")
    except (OverflowError, RecursionError, UnicodeError) as error:  # lists in lists in lists, half a surrogate pair
        where, reason, unknown = "a value", type(error).__name__, False
    takes = f"; its arguments: {', '.join(model.model_fields) or 'none'}" if unknown else ""
    raise ArgumentsError(f"{command}: {where}: {reason}{takes}")
