"""`alfa-edge packs compile`: embed packs now, so that a service starts without a text tower."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.progress import Progress

from edge.cli import completion
from edge.cli.explained import explained
from edge.cli.model_options import Model, Weights
from edge.cli.table import Column, Table, number
from edge.cli.terminal import Terminal, counted
from edge.settings import ModelSettings, store_dir
from edge.settings_file import load_settings

out = Terminal()


def compile_packs(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Packs. Default: all.", autocompletion=completion.packs),
    ] = None,
    model: Model = None,
    weights: Weights = None,
    store: Annotated[Optional[Path], typer.Option(help="The folder of the weights, as in model.store.")] = None,  # noqa: UP045
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Take [model] of this configuration, with all that is set of it, in place of these options."),
    ] = None,
) -> None:
    """Embed the sentences of packs with a model, for later starts; a service does it by itself on first use."""
    with explained():
        from core.backbone import DEFAULT, load_backbone
        from core.packs.compiled import CompiledPacks
        from core.packs.pack import list_packs, load_pack
        from core.weights.location import COMPILED
        from core.weights.store import Store
        from edge.inspection.methods import overrides_of

        packs = [load_pack(name) for name in names or list_packs()]
        chosen = ModelSettings(
            name=model or (DEFAULT if weights is None else ModelSettings().name), weights=weights, store=store
        )
        if config is not None:
            if model or weights or store:
                raise typer.BadParameter("it says model, weights and store; leave those out", param_hint="--config")
            chosen = load_settings(config).model
        folder = store_dir(chosen.store)
        backbone = load_backbone(chosen.name, chosen.weights, store=Store(folder), overrides=overrides_of(chosen))
        compiled = CompiledPacks(folder / COMPILED)
        sentences = {pack.name: sum(map(len, (*vars(pack.prompts()).values(), pack.descriptors))) for pack in packs}
        table = Table("pack", Column("version", 2), number("sentences"), Column("file", 0))
        with Progress(console=out, transient=True) as progress:
            task = progress.add_task(f"compiling for {backbone.name}", total=sum(sentences.values()))
            for place, pack in enumerate(packs):
                compiled.get(backbone, pack, partial(backbone.text.embed, done=partial(progress.advance, task)))
                progress.update(task, completed=sum(sentences[pack.name] for pack in packs[: place + 1]))
                path = compiled.path(backbone, pack)
                table.add_row(pack.name, pack.version, str(sentences[pack.name]), path.name)
    out.print(table)
    out.print(f"{counted(len(packs), 'pack')} for {backbone.name} in {compiled.folder}", soft_wrap=True)
