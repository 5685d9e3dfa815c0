"""A recipe as a folder, for Git and for the next box: `recipe.toml`, the shots' pictures, and the calibration.

recipe.toml        name, number and settings, and the calibration, to be read and compared by people
calibration.json   the normal scores that the calibration came from
shots/             as `core.bank.shot_folder` writes it
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from core.bank.memory_bank import Bank, BankError
from core.bank.shot_folder import check_shots, export_shots
from core.files import replacing
from core.picture_files import entries
from core.regular_file import read_regular
from core.toml import MOST_BYTES, TomlError, parse_toml
from edge.settings_recipe import RecipeName, RecipeNumber, RecipeSettings
from edge.settings_section import Label, Section
from edge.storage.recipe_tables import RecipeError, StoredRecipe
from edge.storage.settings_database import LineCalibration

RECIPE, SCORES, SHOTS = "recipe.toml", "calibration.json", "shots"
_MOST_OF_SCORES = 16 * 1024 * 1024  # bytes
Score = Annotated[float, Field(ge=0, le=1)]


class _Calibration(Section):
    """As `LineCalibration`, without the scores; `holds`: the shots have not changed since."""

    threshold: Score
    pixel_threshold: Score
    rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    count: int = Field(ge=0)
    source: Label
    fingerprint: str
    pack_sha256: str
    holds: bool
    review_below: Score | None = None
    rejected_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    escape_rate: Annotated[float, Field(gt=0, lt=1)] | None = None


class _Document(Section):
    format: int = Field(ge=1, le=1)
    name: RecipeName
    number: RecipeNumber
    settings: RecipeSettings
    calibration: _Calibration | None = None


class _Scores(Section):
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class RecipeFolder:
    """What a folder says.

    Attributes:
        name: Of the recipe.
        number: Of the recipe, on the line that it was of.
        settings: What it says.
        calibration: Its last one, whose `revision` is 0 where the shots are those that it was made with, else -1.
        shots: The folder of its shots.
    """

    name: str
    number: int
    settings: RecipeSettings
    calibration: LineCalibration | None
    shots: Path


def write_recipe(folder: Path, stored: StoredRecipe, bank: Bank, calibration: LineCalibration | None) -> list[int]:
    """Writes a recipe into a new or empty folder; the numbers of its shots.

    Raises:
        RecipeError: the folder holds something, or cannot be written.
        BankError: a shot's picture is damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if entries(folder):
            raise RecipeError(f"{folder} is not empty; name a new folder")
        shots = export_shots(bank, stored.key, folder / SHOTS)
        document: dict[str, Any] = {"format": 1, "name": stored.name, "number": stored.number}
        document["settings"] = stored.settings.model_dump(mode="json")
        if calibration is not None:
            holds = calibration.revision == bank.revision(stored.key)
            known = asdict(calibration) | {"holds": holds}
            document["calibration"] = {name: known[name] for name in _Calibration.model_fields}
            (folder / SCORES).write_text(json.dumps({"scores": calibration.scores}) + "\n", "utf-8")
        with replacing(folder / RECIPE) as draft:  # last: all is there
            draft.write_text(to_toml(document), "utf-8")
    except OSError as error:
        raise RecipeError(f"{folder} cannot be written: {error}; name another folder") from error
    return [shot.id for shot in shots]


def read_recipe(folder: Path) -> RecipeFolder:
    """What `write_recipe` wrote; all of it is checked, each picture by its SHA-256.

    Raises:
        RecipeError: the folder is none, or was altered; the message says which file and why.
    """
    document = _document(folder / RECIPE)
    calibration = None
    if document.calibration is not None:
        found = document.calibration
        scores = _scores(folder / SCORES)
        if len(scores) != found.count:
            raise RecipeError(f"{folder / SCORES}: {len(scores)} scores, not {found.count}; export the recipe again")
        known = {name: getattr(found, name) for name in _Calibration.model_fields if name != "holds"}
        calibration = LineCalibration(**known, revision=0 if found.holds else -1, scores=scores)
    try:
        check_shots(folder / SHOTS)
    except BankError as error:
        raise RecipeError(str(error)) from error
    return RecipeFolder(document.name, document.number, document.settings, calibration, folder / SHOTS)


def to_toml(document: dict[str, Any]) -> str:
    """Tables of tables as a TOML file; what is None is left out, which is its default."""
    lines, tables = list[str](), list[str]()
    for name, value in document.items():
        if isinstance(value, dict):
            tables += _table(name, value)
        elif value is not None:
            lines.append(f"{name} = {_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _table(path: str, values: dict[str, Any]) -> list[str]:
    lines, inner = [f"\n[{path}]"], list[str]()
    for name, value in values.items():
        if isinstance(value, dict):
            inner += _table(f"{path}.{name}", value)
        elif value is not None:
            lines.append(f"{name} = {_value(value)}")
    return [*lines, *inner]


def _value(value: Any) -> str:
    """JSON's numbers, texts, lists and booleans are TOML's, but for DEL, which TOML wants as an escape."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _document(path: Path) -> _Document:
    try:
        return _Document.model_validate(_toml(path))
    except ValidationError as error:
        raise _none(path, error) from error


def _toml(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(read_regular(path, MOST_BYTES))[1]
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}; name a folder that `alfa-edge recipe export` wrote") from error
    except TomlError as error:
        raise RecipeError(f"{path}: {error}; export the recipe again") from error


def _scores(path: Path) -> tuple[float, ...]:
    try:
        return _Scores.model_validate_json(read_regular(path, _MOST_OF_SCORES)).scores
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}; export the recipe again") from error
    except ValidationError as error:
        raise _none(path, error) from error


def _none(path: Path, error: ValidationError) -> RecipeError:
    first = error.errors(include_input=False, include_url=False)[0]
    where, reason = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return RecipeError(f"{path}: {where}: {reason}; mend the file, or export the recipe again")
