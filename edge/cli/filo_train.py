"""`alfa-edge filo train`: its options."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from core.remedy import extra
from edge.cli.explained import explained
from edge.cli.model_options import Model, Weights
from edge.cli.terminal import Terminal
from edge.settings import ModelSettings, store_dir
from edge.settings_file import ConfigError, Problem

out = Terminal()
_GIGABYTE = 1 << 30


def filo_train(
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Data sets with masks, or simline.")],
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the checkpoint, the tokens, the head and its card.")
    ],
    held_out: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
        typer.Option(help="Classes that are measured, not learnt; none for none. Default: every fifth."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=0, help="Of decoders and contexts.")] = 15,
    adapter_epochs: Annotated[int, typer.Option(min=0, help="Of the adapter, afterwards.")] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in one step.")] = 1,
    rate: Annotated[float, typer.Option(help="Learning rate of the decoders.")] = 1e-4,
    context_rate: Annotated[float, typer.Option(help="Learning rate of the learned contexts.")] = 1e-3,
    adapter_rate: Annotated[float, typer.Option(help="Learning rate of the adapter.")] = 1e-5,
    fall: Annotated[float, typer.Option(help="Share of the steps over which rates fall to zero.")] = 0.0,
    mosaics: Annotated[float, typer.Option(help="Share of samples that are 2 x 2 mosaics.")] = 0.2,
    prompts: Annotated[int, typer.Option(min=0, help="Defects drawn for each picture and step; 0: all.")] = 0,
    layers: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Blocks that are decoded, separated by commas. Default: a quarter of the depth apart."),
    ] = None,
    start: Annotated[
        int, typer.Option(min=0, help="Block behind which the value-value stream starts; 0: the first decoded.")
    ] = 0,
    bottleneck: Annotated[int, typer.Option(min=0, help="Width before the convolutions; 0: the tokens' own.")] = 0,
    kernels: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The convolutions, separated by commas. Default: 11,33,55,77,15,51."),
    ] = None,
    scale: Annotated[float, typer.Option(help="Multiplies cosines before the softmax.")] = 100.0,
    seed: Annotated[int, typer.Option(min=0, help="Of all draws; the same one gives the same head on a CPU.")] = 0,
    pictures: Annotated[int, typer.Option(min=2, help="Of simline.")] = 2400,
    cache: Annotated[float, typer.Option(min=0, help="Gigabytes of tokens kept on disk, at most.")] = 20.0,
    model: Model = None,
    weights: Weights = None,
    device: Annotated[str, typer.Option(help="cuda, cuda:N or cpu; used or refused.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
) -> None:
    """Train FiLo's head on a frozen model, or go on where the folder's checkpoint stopped."""
    with explained():
        from pydantic import ValidationError

        from core.backbone import DEFAULT, load_backbone
        from core.filo.training.recipe import Recipe
        from core.packs.content import place
        from core.weights.store import Store
        from edge.tools.filo_train import CARD, HEAD, Choice, Training, data_of, parse_names

        if importlib.util.find_spec("sklearn") is None:
            remedy = f"filo train needs scikit-learn: {extra('evaluate')}"
            raise ConfigError([Problem("this installation", "", "", remedy)])
        if dtype not in ("fp32", "bf16"):
            raise typer.BadParameter(f"{dtype}: training computes in fp32 or bf16", param_hint="--dtype")
        try:
            recipe = Recipe(
                epochs, adapter_epochs, batch, rate, context_rate, adapter_rate, fall, mosaics, prompts, seed
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        name = model or (DEFAULT if weights is None else ModelSettings().name)
        backbone = load_backbone(name, weights, device, dtype, Store(store_dir()))
        given: dict[str, object] = {
            "layers": tuple(layers.split(",")) if layers else (),
            "start": start,
            "bottleneck": bottleneck,
            "kernels": tuple(kernels.split(",")) if kernels else (),
        }
        choice = Choice(
            data=data_of(data),
            folder=folder,
            held_out=parse_names(held_out),
            recipe=recipe,
            pictures=pictures,
            cache_bytes=int(cache * _GIGABYTE),
            record={"scale": scale, **{name: value for name, value in given.items() if value}},
        )
        try:
            training = Training(backbone, choice, out)
        except ValidationError as error:  # of the head's record
            problem = error.errors()[0]
            raise typer.BadParameter(f"{place(problem['loc'])}: {problem['msg']}".removeprefix(": ")) from None
        for note in training.notes:
            out.print(note, soft_wrap=True)
        training.run()
        out.print(training.card(" ".join(["alfa-edge", *sys.argv[1:]])), soft_wrap=True)
        out.print(f"{folder / HEAD} and {folder / CARD}", soft_wrap=True)
