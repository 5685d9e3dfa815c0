"""`alfa-edge recipe ...`: the products of a line, and which one it judges by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edge.cli import completion
from edge.cli.ask import ConfigFile, Json, Line, Wait, ask_service, out
from edge.cli.explained import explained
from edge.cli.table import Column, Table, number
from edge.cli.terminal import counted, show_json
from edge.cli.when import local

recipe_app = typer.Typer(help="The recipes of a line: its products.", no_args_is_help=True)

Named = Annotated[str, typer.Argument(metavar="RECIPE", help="Its name or number.", autocompletion=completion.recipes)]
Chosen = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(
        metavar="[RECIPE]",
        help="Its name or number. Default: the one that the line judges by.",
        autocompletion=completion.recipes,
    ),
]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="A name that no other recipe of the line has.")]
Values = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(metavar="[KEY=VALUE]...", help="Further settings, as `health.blur=12` or `shots.augment=flips`."),
]
Number = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, max=65_535, help="Its number for controllers. Default: one above the line's largest."),
]
Pack = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Name of a pack, or path of a pack file.", autocompletion=completion.packs),
]
Region = Annotated[Optional[str], typer.Option(help="The inspected region, X,Y,WIDTH,HEIGHT in pixels, or none.")]  # noqa: UP045
Tiles = Annotated[Optional[str], typer.Option(help="ROWSxCOLUMNS into which the region is cut, or auto.")]  # noqa: UP045
Threshold = Annotated[Optional[float], typer.Option(min=0, max=1, help="Holds until the recipe is calibrated.")]  # noqa: UP045
Note = Annotated[Optional[str], typer.Option(help="What there is to say of the product.")]  # noqa: UP045
Revision = Annotated[Optional[int], typer.Option(min=1, help="A revision of it. Default: the newest.")]  # noqa: UP045


@recipe_app.command("list")
def recipe_list(config: ConfigFile, as_json: Json = False) -> None:
    """The recipes of each line, and the packs there are."""
    found = ask_service(config, "recipe_list", {})
    if as_json:
        show_json(found)
        return
    table = Table("line", Column("recipe", 9), number("number", 8), number("revision"), Column("pack", 7), "state")
    for line, recipes in found["recipes"].items():
        for recipe in recipes:
            states = [state for state in ("active", "ready", "retired") if recipe[state]]
            state = "active" if recipe["active"] else ", ".join(states)
            numbers = (str(recipe["number"]), str(recipe["revision"]))
            table.add_row(line, recipe["name"], *numbers, recipe["pack"], state)
    out.print(table)
    out.print("packs: " + ", ".join(found["packs"]), soft_wrap=True)


@recipe_app.command("show")
def recipe_show(
    config: ConfigFile, line: Line, recipe: Chosen = None, revision: Revision = None, as_json: Json = False
) -> None:
    """What a recipe says, and its history."""
    found = ask_service(config, "recipe_show", {"line": line, "recipe": recipe, "revision": revision})
    if as_json:
        show_json(found)
        return
    named, calibration = found["recipe"], found["calibration"]
    state = "retired" if named["retired"] else "active" if found["active"] else "not active"
    out.print(f"{_called(line, named)}, revision {named['revision']}, {state}, {counted(found['shots'], 'shot')}")
    if calibration is not None:
        out.print(f"last calibration: {calibration['threshold']:.4f}, {calibration['source']}", soft_wrap=True)
    for name, value in found["settings"].items():
        out.print(f"  {name} = {_written(value)}", soft_wrap=True)
    for entry in found["revisions"]:
        reason = f": {entry['reason']}" if entry["reason"] else ""
        out.print(f"revision {entry['revision']} by {entry['who']} at {local(entry['at'])}{reason}", soft_wrap=True)


@recipe_app.command("new")
def recipe_new(
    config: ConfigFile,
    line: Line,
    name: NewName,
    values: Values = None,
    number: Number = None,
    pack: Pack = None,
    roi: Region = None,
    tiles: Tiles = None,
    threshold: Threshold = None,
    note: Note = None,
) -> None:
    """Make a recipe, which is not set yet. What is not named is as every setting's default."""
    settings = _settings(values, pack=pack, roi=roi, tiles=tiles, threshold=threshold, note=note)
    arguments = {"line": line, "name": name, "number": number, "settings": settings}
    _say_changed(line, ask_service(config, "recipe_new", arguments), "is made")


@recipe_app.command("copy")
def recipe_copy(
    config: ConfigFile,
    line: Line,
    recipe: Named,
    name: NewName,
    values: Values = None,
    number: Number = None,
    pack: Pack = None,
    roi: Region = None,
    tiles: Tiles = None,
    threshold: Threshold = None,
    note: Note = None,
) -> None:
    """Make a recipe like another, with its shots and its calibration; what is named is changed."""
    settings = _settings(values, pack=pack, roi=roi, tiles=tiles, threshold=threshold, note=note)
    arguments = {"line": line, "recipe": recipe, "name": name, "number": number, "settings": settings}
    _say_changed(line, ask_service(config, "recipe_copy", arguments), f"is a copy of {recipe}")


@recipe_app.command("edit")
def recipe_edit(
    config: ConfigFile,
    line: Line,
    recipe: Named,
    values: Values = None,
    pack: Pack = None,
    roi: Region = None,
    tiles: Tiles = None,
    threshold: Threshold = None,
    note: Note = None,
    reason: Annotated[str, typer.Option(help="Why, for the recipe's history.")] = "",
    timeout: Wait = 120.0,
) -> None:
    """Change a recipe: its next revision. The line goes on by it from its next part on."""
    settings = _settings(values, pack=pack, roi=roi, tiles=tiles, threshold=threshold, note=note)
    if not settings:
        raise typer.BadParameter("say what is to change, as `--pack bottle` or `health.blur=12`")
    arguments = {"line": line, "recipe": recipe, "settings": settings, "reason": reason}
    _say_changed(line, ask_service(config, "recipe_edit", arguments, timeout=timeout), "is changed")


@recipe_app.command("set")
def recipe_set(
    config: ConfigFile,
    line: Line,
    recipe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="[RECIPE]", help="Its name or number.", autocompletion=completion.recipes),
    ] = None,
    pack: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Instead: another pack for the recipe of now.", autocompletion=completion.packs),
    ] = None,
    timeout: Wait = 120.0,
) -> None:
    """Have a line judge by another recipe from its next part on, also after a restart."""
    if (recipe is None) == (pack is None):
        raise typer.BadParameter("name a recipe, or a pack with --pack")
    arguments = {"line": line, "recipe": recipe, "pack": None if pack is None else _rooted(pack)}
    say_recipe(line, ask_service(config, "recipe_set", arguments, timeout=timeout))


@recipe_app.command("prepare")
def recipe_prepare(config: ConfigFile, line: Line, recipe: Named, timeout: Wait = 120.0) -> None:
    """Make a recipe ready ahead, so that to set it costs no part any time."""
    found = ask_service(config, "recipe_prepare", {"line": line, "recipe": recipe}, timeout=timeout)
    out.print(f"{_called(line, found['prepared'])} is ready", soft_wrap=True)


@recipe_app.command("rename")
def recipe_rename(config: ConfigFile, line: Line, recipe: Named, name: NewName) -> None:
    """Give a recipe another name. Its number stays."""
    found = ask_service(config, "recipe_rename", {"line": line, "recipe": recipe, "name": name})
    _say_changed(line, found, f"was {found['before']['name']}")


@recipe_app.command("retire")
def recipe_retire(
    config: ConfigFile,
    line: Line,
    recipe: Named,
    back: Annotated[bool, typer.Option("--back", help="Take a retired one back.")] = False,
) -> None:
    """Take a recipe out of use. It is kept, with its shots and its history."""
    found = ask_service(config, "recipe_retire", {"line": line, "recipe": recipe, "back": back})
    _say_changed(line, found, "is in use again" if back else "is retired")


@recipe_app.command("reset")
def recipe_reset(config: ConfigFile, line: Line, timeout: Wait = 120.0) -> None:
    """Have a line judge by its first recipe, as the configuration has that."""
    say_recipe(line, ask_service(config, "recipe_reset", {"line": line}, timeout=timeout))


@recipe_app.command("export")
def recipe_export(
    config: ConfigFile,
    line: Line,
    recipe: Named,
    folder: Annotated[Path, typer.Argument(help="A new or empty folder that the service can write.")],
) -> None:
    """Write a recipe into a folder, for Git and for another box: settings, shots and calibration."""
    arguments = {"line": line, "recipe": recipe, "folder": str(folder.absolute())}
    found = ask_service(config, "recipe_export", arguments, timeout=600)
    out.print(
        f"{_called(line, found['recipe'])} with {counted(len(found['shots']), 'shot')} in {folder}", soft_wrap=True
    )


@recipe_app.command("import")
def recipe_import(
    config: ConfigFile,
    line: Line,
    folder: Annotated[Path, typer.Argument(help="What `recipe export` wrote, of whichever line.")],
    name: Annotated[Optional[str], typer.Option(help="Its name here. Default: as the folder says.")] = None,  # noqa: UP045
    number: Number = None,
    pack: Pack = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change the line's recipe of that name.")] = False,
    timeout: Wait = 600.0,
) -> None:
    """Take a recipe from a folder. All of it is checked first; nothing of the line is changed without --replace."""
    arguments = {"line": line, "folder": str(folder.absolute()), "name": name, "number": number, "replace": replace}
    told = arguments | {"pack": None if pack is None else _rooted(pack)}
    found = ask_service(config, "recipe_import", told, timeout=timeout)
    _say_changed(line, found, f"is here, with {counted(found['shots'], 'shot')}")
    out.print(f"threshold {found['threshold']:.4f} ({found['recipe']['threshold_source']})", soft_wrap=True)


@recipe_app.command("diff")
def recipe_diff(
    config: ConfigFile,
    line: Line,
    recipe: Named,
    other: Annotated[Optional[str], typer.Argument(metavar="[OTHER]", help="Another one. Default: the same.")] = None,  # noqa: UP045
    revision: Annotated[Optional[int], typer.Option(min=1, help="Of the first.")] = None,  # noqa: UP045
    other_revision: Annotated[Optional[int], typer.Option(min=1, help="Of the other.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """What two recipes say that is not the same; of one recipe, what its newest revision has changed."""
    arguments = {"line": line, "recipe": recipe, "other": other}
    revisions = {"revision": revision, "other_revision": other_revision}
    found = ask_service(config, "recipe_diff", arguments | revisions)
    if as_json:
        show_json(found)
        return
    one, two = (f"{found[which]['name']} (revision {found[which]['revision']})" for which in ("one", "two"))
    out.print(f"line {line}: {one} and {two}" + ("" if found["differences"] else " are the same"), soft_wrap=True)
    _say_differences(found["differences"])


def _settings(
    values: list[str] | None,
    *,
    pack: str | None,
    roi: str | None,
    tiles: str | None,
    threshold: float | None,
    note: str | None,
) -> dict[str, Any]:
    """The settings that options and KEY=VALUE name."""
    settings: dict[str, Any] = {}
    for given in values or ():
        name, equals, value = given.partition("=")
        if not equals:
            raise typer.BadParameter(f"{given!r} is no KEY=VALUE")
        settings[name.strip()] = _read(value.strip())
    if pack is not None:
        settings["pack"] = pack
    if isinstance(settings.get("pack"), str):
        settings["pack"] = _rooted(settings["pack"])
    if roi is not None:
        settings["roi"] = None if roi == "none" else _region(roi)
    if tiles is not None:
        settings["tiles"] = "auto" if tiles == "auto" else _whole(tiles, "x", 2, "--tiles")
    if threshold is not None:
        settings["threshold"] = threshold
    if note is not None:
        settings["note"] = note
    return settings


def _read(value: str) -> Any:
    """A value as TOML or JSON has it; else the text."""
    try:
        return json.loads(value)
    except ValueError:
        return None if value == "none" else value


def _region(text: str) -> dict[str, int]:
    return dict(zip(("x", "y", "width", "height"), _whole(text, ",", 4, "--roi"), strict=True))


def _whole(text: str, between: str, count: int, option: str) -> list[int]:
    parts = text.split(between)
    if len(parts) != count or not all(part.strip().isdecimal() for part in parts):
        raise typer.BadParameter(f"{text!r}: {count} whole numbers with {between!r} between", param_hint=option)
    return [int(part) for part in parts]


def _rooted(pack: str) -> str:
    """The path of a pack file from the root: the service has a working directory of its own."""
    with explained():
        from core.packs.pack import is_path, path_of

        return str(path_of(pack).absolute()) if is_path(pack) else pack


def _called(line: str, named: dict[str, Any]) -> str:
    return f"recipe {named['name']} ({named['number']}) of line {line}"


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _say_changed(line: str, found: dict[str, Any], what: str) -> None:
    named = found["after"]
    out.print(f"{_called(line, named)} {what}, revision {named['revision']}", soft_wrap=True)
    _say_differences(found["differences"])


def _say_differences(differences: dict[str, list[Any]]) -> None:
    for name, (before, after) in differences.items():
        out.print(f"  {name}: {_written(before)} -> {_written(after)}", soft_wrap=True)


def say_recipe(line: str, found: dict[str, Any]) -> None:
    """Says what a line judges by now."""
    recipe = found["recipe"]
    pack, threshold = f"pack {recipe['pack']} {recipe['pack_version']}", f"threshold {found['threshold']:.4f}"
    words = f"{pack}, {threshold} ({recipe['threshold_source']})"
    out.print(f"line {line}: recipe {recipe['name']} ({recipe['number']}), {words}", soft_wrap=True)
    if not found.get("kept", True):
        out.print("the disk of the state does not take that, so that a restart would undo it", style="yellow")
