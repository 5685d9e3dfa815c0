"""`alfa-edge packs ...`: the prompt packs, bundled or in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from core.printable import encodable, shown
from edge.cli import completion
from edge.cli.explained import BAD_INPUT, explained
from edge.cli.model_options import Model, Weights
from edge.cli.table import Column, Table, number
from edge.cli.terminal import Terminal, counted, show_json
from edge.settings import ModelSettings, store_dir

if TYPE_CHECKING:
    from core.backbone import Backbone
    from core.packs.pack import PromptPack

packs_app = typer.Typer(help="Look at prompt packs, check them, compare them.", no_args_is_help=True)
out = Terminal()


class Side(str, Enum):
    """One of the labels, as typer wants choices."""

    NORMAL = "normal"
    ABNORMAL = "abnormal"


Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A bundled pack, or the path of a pack file.", autocompletion=completion.packs),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="cuda, cuda:N or cpu; used or refused.")]


@packs_app.command("list")
def packs_list(as_json: Json = False) -> None:
    """List the bundled packs."""
    with explained():
        from core.packs.pack import list_packs, load_pack

        packs = [load_pack(name) for name in list_packs()]
    if as_json:
        show_json([_summary(pack) for pack in packs])
    else:
        out.print(_table(packs))


@packs_app.command("show")
def packs_show(name: Name, as_json: Json = False) -> None:
    """Print all that a pack says."""
    with explained():
        from core.packs.pack import load_pack

        pack = load_pack(name)
    if as_json:
        known = {"name": pack.name, "sha256": pack.sha256} | pack.model_dump(mode="json", by_alias=True)
        show_json(known)
        return
    known = _summary(pack)
    out.print(f"{pack.name} {pack.version}, SHA-256 {pack.sha256}", soft_wrap=True)
    out.print(f"{known['normal']} normal and {known['abnormal']} abnormal prompts", soft_wrap=True)
    source = {key: (value,) if isinstance(value, str) else value for key, value in pack.provenance}
    for key, texts in (_content(pack) | {f"provenance.{key}": value for key, value in source.items()}).items():
        out.print()
        out.print(key)
        for text in texts:
            out.print(f"    {text or '(nothing)'}", soft_wrap=True)


@packs_app.command("lint")
def packs_lint(
    names: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            metavar="NAME",
            help="Bundled packs, or paths of pack files. Default: all that are bundled.",
            autocompletion=completion.packs,
        ),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="A model of open_clip, which also finds prompts that lie with the other label. "
            "Default: ViT-B-16-plus-240 with --weights, else none."
        ),
    ] = None,
    weights: Weights = None,
    device: Device = "cpu",
) -> None:
    """Check what packs say. Exit code 1 when something was found, 2 when a file is no pack."""
    packs, broken, count = [], False, 0
    with explained():
        from core.packs.lint import confusion, lint
        from core.packs.pack import list_packs, load_pack

        backbone = _backbone(model or ModelSettings().name, weights, device) if model or weights else None
        for name in names or list_packs():
            try:
                with explained():
                    pack = load_pack(name)
            except typer.Exit:  # it is said what is wrong with this file; the others have their turn
                broken = True
                continue
            packs.append(pack)
            found = lint(pack)
            if backbone is not None:
                prompts = pack.prompts()
                found += confusion(pack, backbone.embed_text(prompts.normal), backbone.embed_text(prompts.abnormal))
            for finding in found:
                out.print(f"{name}: {finding}", soft_wrap=True)
            count += len(found)
    if packs and not count:
        out.print(_table(packs))
    out.print(f"{counted(count, 'finding')} in {counted(len(packs), 'pack')}")
    if broken or count:
        raise typer.Exit(BAD_INPUT if broken else 1)


@packs_app.command("render")
def packs_render(
    name: Name,
    label: Annotated[Optional[Side], typer.Option(help="One label only.")] = None,  # noqa: UP045
    template_only: Annotated[bool, typer.Option("--template-only", help="Leave out the sentences of the LLM.")] = False,
) -> None:
    """Print a pack's prompts as the model gets them, one a line: normal ones, then abnormal ones."""
    with explained():
        from core.packs.pack import load_pack

        prompts = load_pack(name).prompts(llm=not template_only)
    for side in Side if label is None else (label,):
        for prompt in getattr(prompts, side.value):
            print(shown(prompt))  # noqa: T201


@packs_app.command("diff")
def packs_diff(
    old: Annotated[
        str,
        typer.Argument(
            metavar="OLD", help="A bundled pack, or the path of a pack file.", autocompletion=completion.packs
        ),
    ],
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="The same, of another version.", autocompletion=completion.packs)
    ],
    images: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FOLDER", help="Also score the pictures of this folder with both."),
    ] = None,
    model: Model = None,
    weights: Weights = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say what a new version changes, and by how much scores move. Exit code 1 when a picture is not readable."""
    if images is None and (model or weights):
        raise typer.BadParameter(
            "a model scores pictures: name their folder with --images", param_hint="--model, --weights"
        )
    with explained():
        from core.packs.pack import load_pack

        packs = load_pack(old), load_pack(new)
        backbone, moves = None, []
        if images is not None:
            from core.backbone import DEFAULT

            default = DEFAULT if weights is None else ModelSettings().name
            backbone = _backbone(model or default, weights, device)
            moves = _moves(backbone, packs, images)
    changed = [one["change"] for one in moves if one["change"] is not None]
    mean = sum(changed) / len(changed) if changed else None
    changes = _changes(*packs)
    if as_json:
        report: dict[str, Any] = {"old": _summary(packs[0]), "new": _summary(packs[1]), "changes": changes}
        if backbone is not None:
            report |= {"model": backbone.name, "pictures": moves, "mean_change": mean}
        show_json(report)
    else:
        _print_changes(packs, changes)
        if backbone is not None:
            _print_moves(backbone, moves, mean)
    if len(changed) < len(moves):
        raise typer.Exit(1)


def _backbone(name: str, weights: str | None, device: str) -> Backbone:
    from core.backbone import load_backbone
    from core.weights.store import Store

    return load_backbone(name, weights, device, store=Store(store_dir()))


def _summary(pack: PromptPack) -> dict[str, Any]:
    prompts = pack.prompts()
    return {
        "name": pack.name,
        "class": pack.class_name,
        "version": pack.version,
        "sha256": pack.sha256,
        "normal": len(prompts.normal),
        "abnormal": len(prompts.abnormal),
        "defects": list(pack.defects),
    }


def _table(packs: Sequence[PromptPack]) -> Table:
    counted_columns = (number(heading) for heading in ("normal", "abnormal", "defects"))
    table = Table("name", Column("class", 3, wraps=True), Column("version", 2), *counted_columns)
    for pack in packs:
        known = _summary(pack)
        counts = (known["normal"], known["abnormal"], len(known["defects"]))
        table.add_row(pack.name, pack.class_name, pack.version, *map(str, counts))
    return table


def _content(pack: PromptPack) -> dict[str, Sequence[str]]:
    """All that a pack says, by key."""
    return {
        "class": (pack.class_name,),
        "plural": (pack.plural,),
        "normal": pack.normal,
        "abnormal": pack.abnormal,
        "descriptors": pack.descriptors,
        **{f"template.{key}": texts for key, texts in pack.template},
        **{f"defects.{key}": phrases for key, phrases in pack.defects.items()},
    }


def _changes(old: PromptPack, new: PromptPack) -> dict[str, dict[str, list[str]]]:
    """What is added and removed, by key; keys that stayed the same are left out."""
    before, after = _content(old), _content(new)
    changes = {}
    for key in before | after:
        was, is_now = before.get(key, ()), after.get(key, ())
        removed, added = [one for one in was if one not in is_now], [one for one in is_now if one not in was]
        if removed or added:
            changes[key] = {"added": added, "removed": removed}
    return changes


def _moves(backbone: Backbone, packs: tuple[PromptPack, PromptPack], images: Path) -> list[dict[str, Any]]:
    """Each picture's score with both packs; one that cannot be read has an `error` and no scores."""
    from core.detector import Detector
    from edge.tools.score import find_pictures, score_pictures

    pictures = find_pictures([images])
    moves = []
    for was, now in zip(*(score_pictures(Detector(pack, model=backbone), pictures) for pack in packs), strict=True):
        change = None if was.score is None or now.score is None else now.score - was.score
        path = str(Path(was.path).relative_to(encodable(str(images.parent))))
        moves.append({"path": path, "old": was.score, "new": now.score, "change": change, "error": was.error})
    return moves


def _print_changes(packs: Sequence[PromptPack], changes: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    old, new = ((pack, _summary(pack)) for pack in packs)
    out.print(f"{old[0].name} {old[0].version} -> {new[0].name} {new[0].version}", soft_wrap=True)
    for label in ("normal", "abnormal"):
        out.print(f"{label} prompts: {old[1][label]} -> {new[1][label]}")
    if not changes:
        out.print("both say the same")
    for key, change in changes.items():
        out.print(f"{key}: {len(change['added'])} added, {len(change['removed'])} removed")
        for sign, texts in (("-", change["removed"]), ("+", change["added"])):
            for text in texts:
                out.print(f"  {sign} {text}", soft_wrap=True)


def _print_moves(backbone: Backbone, moves: Sequence[Mapping[str, Any]], mean: float | None) -> None:
    from core.backbone import UNTRAINED

    table = Table(Column("picture", wraps=True), *(number(heading) for heading in ("old", "new", "change")))
    for one in moves:
        if one["change"] is None:
            table.add_row(f"{one['path']}: {one['error']}", "", "", "")
        else:
            table.add_row(one["path"], f"{one['old']:.4f}", f"{one['new']:.4f}", f"{one['change']:+.4f}")
    out.print(table)
    note = ": random weights, the scores mean nothing" if backbone.name == UNTRAINED else ""
    used = f"model {backbone.name}, {backbone.device}, {backbone.dtype}{note}"
    out.print(used if mean is None else f"mean change {mean:+.4f}; {used}", soft_wrap=True)
