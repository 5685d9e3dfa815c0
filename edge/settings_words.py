"""What is wrong with settings, in words: of the configuration, and of a recipe."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

MOST_PROBLEMS = 20
"""So many are named."""
_SHOULD = "input should be "
_OF_ANOTHER_KIND = ("_type", "_parsing", "literal_error")  # ends of pydantic's words for a value of another kind

Location = tuple[str, ...]
"""The tables and the key."""
Keys = Callable[[Location], list[str]]
"""The settings that are known in the table at a location."""


@dataclass(frozen=True)
class WrongSetting:
    """A setting that is not what it is to be."""

    location: Location
    """The setting, and an index where it is a list."""
    value: object
    """What was given."""
    known: bool
    """Whether there is such a setting."""
    remedy: str


def wrong_settings(error: ValidationError, keys: Keys) -> Iterator[WrongSetting]:
    """Each setting that is wrong, with all that is wrong with it."""
    for items in _by_setting(error, keys):
        item = items[0]
        location = _location(item, keys)
        remedies = [_remedy(item, location, keys)]
        remedies += [_remedy(other, location, keys).removeprefix(_SHOULD) for other in items[1:]]
        yield WrongSetting(location, item["input"], item["type"] != "extra_forbidden", ", or ".join(remedies))


def no_such_setting(name: str, known: Sequence[str]) -> str:
    """Says that there is no setting `name`, and which there are beside it."""
    close = difflib.get_close_matches(name, known, n=1)
    return "is no setting; " + (f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}")


def keys_of(model: type[BaseModel], location: Location) -> list[str]:
    """The settings of the table at `location` below `model`; none where there is no such table."""
    for step in location:
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


def _by_setting(error: ValidationError, keys: Keys) -> list[list[Any]]:
    """What is wrong, by setting. Of one that may be of several kinds, what is wrong with the kind that was meant, else
    with each of them."""
    groups: dict[Location, list[Any]] = {}
    for item in error.errors()[: 10 * MOST_PROBLEMS]:
        groups.setdefault(_setting(item, keys), []).append(item)
    found: list[list[Any]] = []
    for items in groups.values():
        inside = [item for item in items if isinstance(item["loc"][-1], int)]
        meant = inside or [item for item in items if not item["type"].endswith(_OF_ANOTHER_KIND)]
        found += [[item] for item in meant] or [items]
    return found


def _setting(item: Any, keys: Keys) -> Location:
    """The tables and the key, without pydantic's words for names and for the kinds that a value may be of."""
    loc = tuple(str(part) for part in item["loc"])
    for end in range(1, len(loc) + 1):
        if loc[end - 1] in keys(loc[: end - 1]) and not keys(loc[:end]):  # a value, and no table
            return loc[:end]
    return loc[:-1] if len(loc) > 1 and loc[-1] == "[key]" else loc


def _location(item: Any, keys: Keys) -> Location:
    setting = _setting(item, keys)
    return setting + tuple(str(part) for part in item["loc"][len(setting) :] if isinstance(part, int))


def _remedy(item: Any, location: Location, keys: Keys) -> str:
    kind, message = item["type"], str(item["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return "is required; add it"
    if kind == "extra_forbidden":
        return no_such_setting(location[-1], keys(location[:-1]))
    if kind == "string_pattern_mismatch" and location[:1] == ("lines",):
        return "a line's name has 1 to 64 of a-z, 0-9 and -, since it is part of a topic"
    message = message.replace("valid tuple", "list").replace("Tuple", "list")
    return message[0].lower() + message[1:]
