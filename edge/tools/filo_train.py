"""`alfa-edge filo train`: a head on anybody's pictures, with a card of its figures on classes that it never saw."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from core.backbone import Backbone
from core.evaluate.datasets import DataClass, find_classes
from core.filo.filo import Filo
from core.filo.head import FiloHead, record_for
from core.filo.prompts import wording_of
from core.filo.text import FiloTexts
from core.filo.training.card import render
from core.filo.training.figures import Measured, on_classes, on_simline, pack_for
from core.filo.training.pictures import (
    SIMLINE,
    Example,
    from_classes,
    from_simline,
    hold_out,
    require_both_kinds,
    trained_pack,
)
from core.filo.training.recipe import Recipe
from core.filo.training.start import start_at_tower
from core.filo.training.tokens import Encoder, TokenCache, joined
from core.filo.training.trainer import Progress, Trainer
from core.packs.pack import PromptPack
from core.printable import shown
from core.training.measure import groups
from core.training.split import HELD_OUT_CLASSES, HELD_OUT_DEFECTS
from edge.clock import iso_ms, utc_now

HEAD, CARD = "filo.safetensors", "CARD.md"
_LINES, _PARTS = 2, 6  # of a simulated class, that are measured
_SPREAD = 8  # pictures that the tokens' spread is taken from


@dataclass(frozen=True)
class Choice:
    """What is to be trained, as asked for."""

    data: tuple[str, ...]
    folder: Path
    held_out: tuple[str, ...] | None
    recipe: Recipe
    pictures: int
    """Of the simulated world, where it is asked for."""
    cache_bytes: int
    """Of tokens kept on disk, at most."""
    record: dict[str, object]
    """Fields of the head's record that differ from the defaults."""


class Training:
    """One training: what it learns from, its progress bar, its head and card.

    Raises:
        DatasetError: the data cannot be learnt from as asked.
        PackError: a pack is not right.
    """

    def __init__(self, backbone: Backbone, choice: Choice, console: Console) -> None:
        self._choice = choice
        self._console = console
        self.notes: list[str] = []
        self._examples: list[Example] = []
        self._packs: dict[str, PromptPack] = {}
        self._measured: list[tuple[Path, list[DataClass]]] = []
        self._simulated = SIMLINE in choice.data and not Path(SIMLINE).is_dir()
        found = [(Path(name), find_classes(Path(name))) for name in choice.data if not self._is_simline(name)]
        names = [data.name for _, classes in found for data in classes]
        self.held_out = hold_out(names, choice.held_out) if names else ()
        for root, classes in found:
            kept = [data for data in classes if data.name not in self.held_out]
            examples, notes = from_classes(kept, root)
            self._examples += examples
            self.notes += notes
            packs = {data.name: pack_for(data.name) for data in kept}
            self.notes += [
                f"{shown(name)}: no pack of this name; the pack generic describes it"
                for name, pack in packs.items()
                if pack.name != name
            ]
            self._packs |= packs
            self._measured.append((root, [data for data in classes if data.name in self.held_out]))
        if self._simulated:
            simulated = from_simline(choice.pictures, choice.recipe.seed)
            self._examples += simulated
            self._packs |= {name: trained_pack(name) for name in {example.class_name for example in simulated}}
        require_both_kinds(self._examples)
        self._filo = Filo(backbone, FiloHead(record_for(backbone, **self._record()), choice.recipe.seed))

    def run(self) -> FiloHead:
        """Trains, or goes on with it, and writes the head.

        Raises:
            CheckpointError: the folder holds another training.
            OSError: the folder takes no file.
        """
        choice, filo = self._choice, self._filo
        choice.folder.mkdir(parents=True, exist_ok=True)
        cache = TokenCache(choice.folder / "tokens", Encoder(filo), choice.cache_bytes)
        texts: dict[str, FiloTexts] = {name: filo.encoder.texts(wording_of(pack)) for name, pack in self._packs.items()}
        start_at_tower(filo.head, filo.backbone, joined([cache.get(one) for one in self._examples[:_SPREAD]]).streams)
        trainer = Trainer(filo, self._examples, texts, cache, choice.recipe, choice.folder)
        with self._bar() as bar:
            task = bar.add_task("maps", total=trainer.steps, loss="")

            def told(progress: Progress) -> None:
                bar.update(task, completed=progress.step, description=progress.stage, loss=f"loss {progress.loss:.3f}")

            head = trainer.run(told)
        head.save(choice.folder / HEAD)
        return head

    def card(self, command: str) -> str:
        """Measures the head on what was held out, and writes the card; gives its text."""
        found: dict[str, list[Measured]] = {}
        with self._bar() as bar:
            task = bar.add_task("measuring", total=None, loss="")
            for root, classes in self._measured:
                found.setdefault("held-out classes", []).extend(
                    on_classes(self._filo, classes, root, lambda: bar.advance(task))
                )
            if self._simulated:
                for group, members in groups().items():
                    if group == "seen classes":
                        continue
                    for name, defects in members:
                        measured = on_simline(self._filo, name, defects, _LINES, _PARTS)
                        found.setdefault(f"simulated {group}", []).append(measured)
                        bar.advance(task, measured.pictures)
        text = render("A FiLo head", self._facts(command), found)
        (self._choice.folder / CARD).write_text(text, "utf-8")
        return text

    @staticmethod
    def _is_simline(name: str) -> bool:
        return name == SIMLINE and not Path(name).is_dir()

    def _record(self) -> dict[str, object]:
        anomalous = sum(example.anomalous for example in self._examples)
        notes = {
            "data": [SIMLINE if self._is_simline(name) else Path(name).resolve().name for name in self._choice.data],
            "pictures": len(self._examples),
            "anomalous": anomalous,
            "classes": sorted(self._packs),
            "held_out": [*self.held_out, *((*HELD_OUT_CLASSES, *HELD_OUT_DEFECTS) if self._simulated else ())],
            "recipe": asdict(self._choice.recipe),
        }
        return {"source": "trained with `alfa-edge filo train`", "notes": notes} | self._choice.record

    def _facts(self, command: str) -> dict[str, str]:
        backbone, record = self._filo.backbone, self._filo.head.record
        device = backbone.device
        cuda = device.type == "cuda"
        machine = torch.cuda.get_device_name(device) if cuda else f"{os.cpu_count()} cores, {platform.machine()}"
        notes = record.notes
        weights = sum(value.numel() for value in self._filo.head.state_dict().values())
        return {
            "model": f"{backbone.name}, fingerprint `{backbone.fingerprint[:16]}`",
            "head": f"blocks {', '.join(map(str, record.layers))}; {weights:,} weights",
            "trained on": f"{shown(', '.join(notes['data']))}: {notes['pictures']:,} pictures, {notes['anomalous']:,} "
            f"with defects, of {len(notes['classes'])} classes",
            "held out": shown(", ".join(notes["held_out"])) or "none",
            "recipe": ", ".join(f"{key} {value}" for key, value in notes["recipe"].items()),
            "command": f"`{shown(command)}`",
            "machine": f"{machine}, {backbone.dtype}, torch {torch.__version__}",
            "date": iso_ms(utc_now())[:10],
        }

    def _bar(self) -> Bar:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        return Bar(*columns, console=self._console, disable=not self._console.is_terminal)


def parse_names(text: str | None) -> tuple[str, ...] | None:
    """`a,b` as names, `none` as no names; None stays so."""
    if text is None:
        return None
    return () if text == "none" else tuple(text.split(","))


def data_of(names: Sequence[str]) -> tuple[str, ...]:
    """Each data set once, in order."""
    return tuple(dict.fromkeys(names))
