"""`alfa-edge packs new`: its options, and its questions."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from core.printable import shown
from edge.cli.explained import explained
from edge.cli.generate import check_words, plural_of
from edge.cli.terminal import Terminal, counted
from edge.clock import utc_now

out = Terminal()


def new(
    name: Annotated[str, typer.Argument(help="The pack's name: the file is NAME.toml.")],
    noun: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
        typer.Option("--class", help="The class of object, a noun in the singular. Asked for on a terminal."),
    ] = None,
    plural: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The class in the plural; the same as --class for what has none. Default: by rule."),
    ] = None,
    defects: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--defect",
            metavar="KIND:LOOK;LOOK",
            help="A kind of defect, and how it looks: 'crack: a thin dark line'. May be given more than once.",
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the file.")] = Path(),
) -> None:
    """Write a pack for a class that has none, from its name and its defects; no language model is asked."""
    check_words("NAME", name, r"[a-z0-9][a-z0-9_-]{0,59}", "small ASCII letters, digits, _ and -")
    if noun is None and _can_ask():
        usual = name.replace("_", " ").replace("-", " ")
        noun = typer.prompt("Class of object, a noun in the singular", default=usual)
        plural = plural or typer.prompt("In the plural", default=plural_of(noun))
        defects = defects or _asked_for()
    if noun is None:
        raise typer.BadParameter("name the class of object", param_hint="--class")
    noun = " ".join(noun.split())
    plural = " ".join((plural or plural_of(noun)).split())
    for option, words in (("--class", noun), ("--plural", plural)):
        check_words(option, words, r"[^\W_][\w /'-]{0,59}", "letters, digits, blanks and hyphens")
    with explained():
        from core import files
        from core.packs.lint import lint
        from core.packs.new import new_pack
        from core.packs.text import dump_pack

        pack = new_pack(noun, plural, _kinds(defects or []), made=utc_now().date())
        path = folder / f"{name}.toml"
        if os.path.lexists(path):
            raise typer.BadParameter(f"{path}: is there already; take another NAME or --out", param_hint="NAME")
        try:
            files.write(path, dump_pack(pack).encode())
        except OSError as error:
            raise typer.BadParameter(f"{folder}: {error.strerror or error}", param_hint="--out") from None
        findings = lint(pack)
    for finding in findings:
        out.print(str(finding), soft_wrap=True)
    prompts = pack.prompts()
    counts = f"{len(prompts.normal)} normal and {len(prompts.abnormal)} abnormal prompts"
    out.print(f"{path}: {counts}, {counted(len(findings), 'finding')}", soft_wrap=True)
    out.print(f"Read it, and mend what is not so; then a line's `pack` can be {path.absolute()}.", soft_wrap=True)


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _asked_for() -> list[str]:
    """Kinds of defect, until an empty answer."""
    given: list[str] = []
    out.print("Kinds of defect, each with how it looks: `crack: a thin dark line; a gap`. An empty one ends.")
    while answer := typer.prompt(f"Defect {len(given) + 1}", default="", show_default=False).strip():
        given.append(answer)
    return given


def _kinds(defects: list[str]) -> dict[str, tuple[str, ...]]:
    from core.packs.queries import as_defect

    kinds = {}
    for given in defects:
        if (defect := as_defect(given)) is None:
            words = f"{shown(repr(given))}: write the kind and how it looks, as 'crack: a thin dark line; a gap'"
            raise typer.BadParameter(words, param_hint="--defect")
        kinds[defect[0]] = defect[1]
    return kinds
