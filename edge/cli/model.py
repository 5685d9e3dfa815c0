"""`alfa-edge model ...`: the weights on this machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edge.cli import completion
from edge.cli.explained import explained
from edge.cli.table import Column, Table, lines, number
from edge.cli.terminal import Terminal, counted, show_json
from edge.clock import iso_ms, utc_now
from edge.settings import store_dir

if TYPE_CHECKING:
    from core.weights.store import Entry, Store

model_app = typer.Typer(help="Fetch model weights, and look after those that are here.", no_args_is_help=True)
out = Terminal()

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StoreDir = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
    typer.Option("--store", help="Directory of the weights. Default: that of the setting model.store."),
]


@model_app.command("pull")
def model_pull(
    name: Annotated[str, typer.Argument(help="A model of open_clip, or timm:NAME for one of timm.")] = (
        "ViT-B-16-plus-240"
    ),
    tag: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="One of its pretrained tags. Default: laion400m_e32; of timm the one in NAME, or its own."),
    ] = None,
    store: StoreDir = None,
) -> None:
    """Fetch weights, once, from where open_clip or timm has them; needs a network."""
    with explained():
        from core.model_name import is_timm, split
        from core.timm_models import default_tag
        from core.weights.fetch import pull
        from core.weights.source import check_name

        here = _store(store)
        name, tag = split(name, tag)
        check_name(name)
        if tag is None:
            tag = default_tag(name) if is_timm(name) else "laion400m_e32"
        record, fetched = pull(name, tag, here, iso_ms(utc_now()))
        how = _verified(record.verified_by) if fetched else "already here and verified"
        out.print(f"{record.model} {record.tag}: {here.root / record.model / record.file}, {how}", soft_wrap=True)


@model_app.command("import")
def model_import(
    file: Annotated[Path, typer.Argument(help="A weights file that was carried here.")],
    model: Annotated[str, typer.Option(help="The model that it is of: open_clip's name, or timm:NAME.")],
    tag: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The pretrained tag that it is of. timm:NAME may hold it."),
    ] = None,
    sha256: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The SHA-256 that it must have, hexadecimal."),
    ] = None,
    store: StoreDir = None,
) -> None:
    """Copy weights that were fetched elsewhere into the store; needs no network."""
    with explained():
        from core.model_error import ModelError
        from core.model_name import split
        from core.weights.fetch import import_file

        here = _store(store)
        model, tag = split(model, tag)
        if tag is None:
            raise ModelError(f"which weights of {model} are these? name their pretrained tag with --tag")
        record = import_file(here, file, model, tag, iso_ms(utc_now()), sha256)
        where, how = here.root / record.model / record.file, _verified(record.verified_by)
        out.print(f"{record.model} {record.tag}: {where}, {how}, SHA-256 {record.sha256}", soft_wrap=True)


@model_app.command("list")
def model_list(
    architectures: Annotated[
        bool, typer.Option("--architectures", help="List the models of open_clip that can be used instead.")
    ] = False,
    store: StoreDir = None,
    as_json: Json = False,
) -> None:
    """List the weights that are here. Files are held against their recorded sizes; `verify` reads them."""
    if architectures:
        _list_architectures(as_json)
        return
    with explained():
        here = _store(store)
        entries = here.entries()
    if as_json:
        show_json([_as_json(entry) for entry in entries])
        return
    if not entries:
        out.print(f"no weights in {here.root}", soft_wrap=True)
        return
    table = Table(
        "model",
        Column("tag", 9),
        number("MiB", 3),
        Column("SHA-256", 2),
        Column("source", 1, wraps=True),
        Column("verified", 4),
        Column("state", 8, wraps=True),
    )
    for entry in entries:
        record = entry.record
        known = ["", "", "", ""]
        if record is not None:
            known = [f"{record.size / 2**20:,.1f}", record.sha256[:12], record.source, record.verified_by or "no"]
        table.add_row(entry.model, entry.tag, *known, entry.problem or "ready")
    out.print(table)


def _list_architectures(as_json: bool) -> None:
    from core.weights.architectures import architectures

    known = architectures()
    if as_json:
        show_json([asdict(model) | {"reason": model.reason or None} for model in known])
        return
    table = Table("model", number("input"), number("patch", 0), Column("activation", 0), Column("tags", 9))
    for model in known:
        if not model.reason:
            size, activation = "x".join(map(str, model.size)), "QuickGELU" if model.quick_gelu else "GELU"
            table.add_row(model.name, size, str(model.patch), activation, lines(*model.tags))
    out.print(table)
    reasons = Counter(model.reason.partition(", ")[0] for model in known if model.reason)
    for reason, count in reasons.most_common():
        out.print(f"not usable, {counted(count, 'model')}: {reason}", soft_wrap=True)


@model_app.command("verify")
def model_verify(
    name: Annotated[
        str | None, typer.Argument(help="A model. Default: all.", autocompletion=completion.stored_models)
    ] = None,
    tag: Annotated[
        str | None, typer.Argument(help="One of its tags. Default: all.", autocompletion=completion.tags)
    ] = None,
    store: StoreDir = None,
) -> None:
    """Read the weights that are here again and hold them against their records. Exit code 1 when one differs."""
    with explained():
        from core.model_error import ModelError
        from core.model_name import split

        here = _store(store)
        if name is not None:
            name, tag = split(name, tag)
        chosen = [one for one in here.entries() if name in (None, one.model) and tag in (None, one.tag)]
        if name is not None and not chosen:
            raise ModelError(here.nothing_of(name, tag or "(any tag)"))
        problems = [here.verify(entry) for entry in chosen]
    for entry, problem in zip(chosen, problems, strict=True):
        out.print(f"{entry.model} {entry.tag}: {problem or 'as recorded'}", soft_wrap=True)
    if not chosen:
        out.print(f"no weights in {here.root}", soft_wrap=True)
    if any(problems):
        raise typer.Exit(1)


@model_app.command("remove")
def model_remove(
    name: Annotated[str, typer.Argument(help="A model.", autocompletion=completion.stored_models)],
    tag: Annotated[
        str | None, typer.Argument(help="One of its tags. timm:NAME may hold it.", autocompletion=completion.tags)
    ] = None,
    store: StoreDir = None,
) -> None:
    """Delete weights and their record."""
    with explained():
        from core.model_error import ModelError
        from core.model_name import split

        here = _store(store)
        name, tag = split(name, tag)
        if tag is None:
            raise ModelError(f"which weights of {name}? name their tag, as `alfa-edge model list` shows it")
        here.remove(name, tag)
    out.print(f"{name} {tag}: removed from {here.root}", soft_wrap=True)


def _store(configured: Path | None) -> Store:
    from core.weights.store import Store

    return Store(store_dir(configured))


def _verified(by: str | None) -> str:
    known = {"hub": "verified against the hub", "url": "verified against its URL", "given": "verified as given"}
    return known[by] if by else "not verified: no hash of it was published or given"


def _as_json(entry: Entry) -> dict[str, Any]:
    record = entry.record.model_dump(exclude={"settings"}) if entry.record is not None else {}
    return {"model": entry.model, "tag": entry.tag, **record, "problem": entry.problem or None}
