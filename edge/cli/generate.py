"""`alfa-edge packs generate`: its options."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from core.remedy import extra
from edge.cli.explained import explained
from edge.cli.terminal import Terminal
from edge.settings_file import ConfigError, Problem


def generate(
    noun: Annotated[str, typer.Option("--class", help="The class of object, a noun in the singular.")],
    base_url: Annotated[str, typer.Option(help="An OpenAI-compatible API, such as http://localhost:11434/v1.")],
    model: Annotated[str, typer.Option(help="The language model, as that API calls it.")],
    plural: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
        typer.Option(help="The class in the plural; the same as --class for what has none. Default: by rule."),
    ] = None,
    name: Annotated[Optional[str], typer.Option(help="The pack's name. Default: the class, with _ for blanks.")] = None,  # noqa: UP045
    folder: Annotated[Path, typer.Option("--out", help="Folder for the draft, NAME.draft.toml.")] = Path(),
    sentences: Annotated[int, typer.Option(min=16, max=144, help="Sentences for each label.")] = 22,
    licence: Annotated[str, typer.Option(help="SPDX identifier that the pack names.")] = "Apache-2.0",
    timeout: Annotated[float, typer.Option(min=1, max=3600, help="Seconds for one answer.")] = 120.0,
    key_env: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The environment variable with the API key. Default: OPENAI_API_KEY, where it is set."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a draft of that name.")] = False,
) -> None:
    """Ask a language model for a prompt pack, and write what it says as a draft to be reviewed.

    What came is kept where a question fails, and the same command goes on there.
    """
    noun = " ".join(noun.split())
    check_words("--class", noun, r"[^\W_][\w /'-]{0,59}", "letters, digits, blanks and hyphens")
    check_words("--plural", plural or noun, r"[^\W_][\w /'-]{0,59}", "letters, digits, blanks and hyphens")
    name = name or re.sub(r"[^a-z0-9]+", "_", noun.lower()).strip("_")
    check_words("--name", name, r"[a-z0-9][a-z0-9_-]{0,59}", "small ASCII letters, digits, _ and -")
    check_words("--licence", licence, r"[\w.+() -]{1,60}", "an SPDX identifier")
    check_words("--model", model, r"[!-~]{1,200}", "the name of a model, without blanks")
    with explained():
        if importlib.util.find_spec("openai") is None:
            remedy = f"packs generate needs the openai client: {extra('generate')}"
            raise ConfigError([Problem("this installation", "", "", remedy)])
        key = os.environ.get(key_env or "OPENAI_API_KEY", "").strip() or None
        if key_env is not None and key is None:  # the value is not repeated: it may be the key itself, by mistake
            raise ConfigError(
                [Problem("--key-env", "", "", "names no variable that is set; give the name, not the key")]
            )
        from core.packs.lint import lint
        from edge.tools.answers import SUFFIX, Answers
        from edge.tools.drafts import draft_path, write_draft
        from edge.tools.generate import Endpoint, Wish
        from edge.tools.generate import generate as ask

        draft_path(folder, name, overwrite)
        wish = Wish(noun, plural or plural_of(noun), name, sentences, licence)
        console = Terminal(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        with Endpoint(base_url, model, key, timeout) as endpoint, Progress(*columns, console=console) as progress:
            tasks: dict[str, TaskID] = {}

            def heard(what: str, have: int, wanted: int) -> None:
                if what not in tasks:
                    tasks[what] = progress.add_task(what, total=wanted)
                progress.update(tasks[what], completed=have)

            answers = Answers(folder / f"{name}{SUFFIX}", wish.noun, wish.plural, model)
            pack = ask(endpoint, wish, answers, heard)
        path = write_draft(pack, folder, name, overwrite)
        answers.remove()
        findings = lint(pack)
    out = Terminal()
    for finding in findings:
        out.print(str(finding), soft_wrap=True)
    prompts = pack.prompts()
    counts = f"{len(prompts.normal)} normal and {len(prompts.abnormal)} abnormal prompts"
    out.print(f"{path}: a draft of {name} {pack.version} with {counts}, {len(findings)} findings", soft_wrap=True)
    out.print(f"Review it; then it is {name}.toml, and a line's `pack` can name it.", soft_wrap=True)


def plural_of(noun: str) -> str:
    """The plural of an English noun, by the rules for most."""
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if re.search(r"(s|x|z|ch|sh)$", noun) else f"{noun}s"


def check_words(option: str, value: str, pattern: str, wanted: str) -> None:
    """Raises BadParameter unless all of `value` fits `pattern`, which is `wanted` in words."""
    if not re.fullmatch(pattern, value):
        raise typer.BadParameter(f"{value!r}: give {wanted}", param_hint=option)
