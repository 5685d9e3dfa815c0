"""`alfa-edge evaluate`: its options."""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from core.printable import encodable, shown
from core.remedy import extra
from edge.cli import completion
from edge.cli.explained import explained
from edge.cli.model_options import Checkpoint, Model, Weights, check_head, overrides, say_assumed
from edge.cli.table import Column, Table, lines
from edge.cli.terminal import Terminal, counted
from edge.settings import ModelSettings, state_dir, store_dir
from edge.settings_file import ConfigError, Problem, load_settings

if TYPE_CHECKING:
    from core.evaluate.few_shot import FewShot
    from core.evaluate.result import Evaluation

out = Terminal()


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/alfa-edge/features`, or the same below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "alfa-edge" / "features"


def evaluate(
    folder: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
        typer.Argument(metavar="[DIR]", help="A data set, or a folder with good/ and bad/."),
    ] = None,
    from_feedback: Annotated[
        bool, typer.Option("--from-feedback", help="Instead: the parts of a line that people have said something of.")
    ] = False,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--config", "-c", help="With --from-feedback: the service's TOML file.", dir_okay=False),
    ] = None,
    line: Annotated[Optional[str], typer.Option(help="With --from-feedback: name of the line.")] = None,  # noqa: UP045
    classes: Annotated[Optional[str], typer.Option(help="Some of its classes, separated by commas.")] = None,  # noqa: UP045
    pack: Annotated[
        str,
        typer.Option(help="A prompt pack, or auto: each class's own, else generic.", autocompletion=completion.packs),
    ] = "auto",
    shots: Annotated[str, typer.Option(help="Numbers of normal shots, separated by commas.")] = "0",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Random draws of the shots.")] = 5,
    method: Annotated[str, typer.Option(help="alfa, winclip or filo.")] = "alfa",
    checkpoint: Checkpoint = None,
    ablate: Annotated[bool, typer.Option("--ablate", help="Also run what is left without each part.")] = False,
    model: Model = None,
    weights: Weights = None,
    device: Annotated[str, typer.Option(help="cuda, cuda:N or cpu; used or refused.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    image_size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Another input size of the model, pixels: 336, or height x width: 240x480."),
    ] = None,
    scales: Annotated[str, typer.Option(help="Window sizes in patches, separated by commas.")] = "2,3",
    windows: Annotated[str, typer.Option(help="exact, strided, masked or none.")] = "exact",
    few_shot: Annotated[str, typer.Option(help="evidence, as lines use it, or alfa: the paper's Eq. 12.")] = "evidence",
    tower: Annotated[str, typer.Option(help="A second model for features of shots, none, or auto.")] = "auto",
    scorer: Annotated[str, typer.Option(help="evidence, nearest, subspace, or mutual (without shots).")] = "evidence",
    within: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Hold patches to so many patches around, for scorers other than evidence."),
    ] = None,
    augment: Annotated[str, typer.Option(help="Views of each shot: none, flips, rotations or all.")] = "none",
    tiles: Annotated[str, typer.Option(help="Cut pictures into rows x columns, as 2x2, or auto.")] = "1x1",
    overlap: Annotated[float, typer.Option(min=0, max=0.5, help="What neighbouring tiles share.")] = 0.2,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Pictures in one pass.")] = 4,
    json_file: Annotated[Optional[Path], typer.Option("--json", help="Write the result as JSON.")] = None,  # noqa: UP045
    csv_file: Annotated[Optional[Path], typer.Option("--csv", help="Write a row a run.")] = None,  # noqa: UP045
    report: Annotated[Optional[Path], typer.Option(help="Write a report as one HTML file.")] = None,  # noqa: UP045
    against: Annotated[Optional[Path], typer.Option(help="An earlier JSON file: say what changed.")] = None,  # noqa: UP045
    cache: Annotated[Optional[Path], typer.Option(help="Folder for the pictures' features.")] = None,  # noqa: UP045
    resume: Annotated[bool, typer.Option("--resume", help="Keep the features of earlier runs.")] = False,
) -> None:
    """Measure the method on a data set: the paper's metrics, an operating point, a report."""
    if from_feedback != (folder is None) or from_feedback != (config is not None and line is not None):
        raise typer.BadParameter("name DIR; or --from-feedback with --config and --line")
    with explained(), ExitStack() as stack:
        from core.backbone import DEFAULT, load_backbone
        from core.evaluate.compare import compare, load, render_comparison
        from core.filo.filo import Filo
        from core.filo.heads import find_head
        from core.tiles import TilingError, parse_tiles
        from core.towers import LITE0, load_tower
        from core.weights.store import Store
        from core.windows import MODES
        from edge.tools.evaluate import Choice, Evaluator, methods, parse_numbers, write_csv

        if importlib.util.find_spec("sklearn") is None:
            remedy = f"evaluate needs scikit-learn: {extra('evaluate')}"
            raise ConfigError([Problem("this installation", "", "", remedy)])
        if method not in methods():
            raise typer.BadParameter(f"{method}: use one of {', '.join(methods())}", param_hint="--method")
        try:
            numbers, sizes = parse_numbers(shots), parse_numbers(scales)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--shots, --scales") from None
        if min(numbers) < 0 or min(sizes) < 1:
            raise typer.BadParameter("shots are 0 or more, scales 1 or more", param_hint="--shots, --scales")
        if windows not in MODES:
            raise typer.BadParameter(f"{windows}: use one of {', '.join(MODES)}", param_hint="--windows")
        try:
            cut = parse_tiles(tiles)
        except TilingError as error:
            raise typer.BadParameter(str(error), param_hint="--tiles") from None
        check_head(method, checkpoint)
        if method == "filo" and cut != (1, 1):
            raise typer.BadParameter("FiLo takes whole pictures: leave it at 1x1", param_hint="--tiles")
        few = _few(method, few_shot, scorer, within, augment, numbers)
        if windows == "none" and min(numbers) == 0 and scorer != "mutual":
            raise typer.BadParameter("none needs --shots of 1 or more", param_hint="--windows")
        for file in (json_file, csv_file, report):
            if file is not None and not file.resolve().parent.is_dir():
                raise FileNotFoundError(f"{file}: its folder is not there")
        earlier = load(against) if against is not None else None
        if folder is None:
            folder, pack = _labelled(config, line, pack, Path(stack.enter_context(TemporaryDirectory())))
        choice = Choice(
            root=folder,
            classes=None if classes is None else tuple(classes.split(",")),
            pack=pack,
            shots=numbers,
            seeds=seeds,
            method=method,
            scales=sizes,
            windows=windows,
            ablate=ablate,
            batch=batch,
            cache=cache or default_cache(),
            resume=resume,
            few=few,
            tiles=cut,
            overlap=overlap,
            named=" ".join(
                f"{key}={value}"
                for key, value in (("tower", tower), ("within", within), ("augment", augment))
                if few is not None and value not in (None, "auto", "none" if key == "augment" else None)
            ),
        )
        name = model or (DEFAULT if weights is None else ModelSettings().name)
        store = Store(store_dir())
        backbone = load_backbone(name, weights, device, dtype, store, overrides(image_size))
        say_assumed(backbone)
        second = None
        mapped = few is not None and (max(numbers) > 0 or scorer == "mutual")
        wanted = (LITE0 if name == DEFAULT else "none") if tower == "auto" else tower
        if mapped and wanted != "none":
            second = load_tower(wanted, device=device, store=store)
        if mapped and second is None and scorer != "evidence":
            words = f"scorer {scorer} needs a tower: efficientnet-lite0, or timm:NAME"
            raise typer.BadParameter(words, param_hint="--tower")
        filo = None if checkpoint is None else Filo(backbone, find_head(checkpoint, store))
        evaluator = Evaluator(backbone, choice, out, second, filo)
        result = evaluator.run()
        if json_file is not None:
            result.write(json_file)
        if csv_file is not None:
            write_csv(result, csv_file)
        comparison = None if earlier is None else compare(earlier, result)
        if report is not None:
            command = encodable(" ".join(["alfa-edge", *sys.argv[1:]]))
            report.write_text(evaluator.report(result, command, comparison), "utf-8")
    _print(result)
    if comparison is not None:
        for words in render_comparison(comparison).splitlines():
            out.print(words, soft_wrap=True)
    for one in result.classes:
        for text in one.notes:
            out.print(f"{one.name}: {text}", soft_wrap=True)
        for text in one.broken:
            out.print(f"{one.name}: left out: {text}", soft_wrap=True)
    if not any(value is not None for one in result.classes for run in one.runs for _, value in run.metrics):
        out.print("nothing could be measured; what is noted above says why", style="bold red", soft_wrap=True)
        raise typer.Exit(1)


def _labelled(config: Path | None, line: str | None, pack: str, scratch: Path) -> tuple[Path, str]:
    """A data set of what people have said of a line's parts, below `scratch`; and the pack: for one recipe its."""
    from edge.storage.feedback import FeedbackLog
    from edge.storage.history import History
    from edge.tools.quality import LabelledSetError, labels, write_labelled_set

    assert config is not None
    assert line is not None
    settings = load_settings(config)
    if line not in settings.lines:
        raise typer.BadParameter(shown(f"no line {line!r}; there are {', '.join(settings.lines)}"), param_hint="--line")
    state, folder = state_dir(settings.service.state_dir), scratch / line
    written, missing = write_labelled_set(History(state), FeedbackLog(state), line, folder)
    for name, entries in written.items():
        out.print(f"line {line}, {name}: {labels(entries)}", soft_wrap=True)
    if missing:
        out.print(f"no picture was kept of {counted(len(missing), 'other part')}", soft_wrap=True)
    if not any(len({entry.defective for entry in entries}) == 2 for entries in written.values()):
        remedy = "say more with `alfa-edge feedback add`"
        raise LabelledSetError(f"line {line}: measuring takes good and defective parts of one recipe; {remedy}")
    alone = pack == "auto" and len(written) == 1  # which may have another name than its pack
    return folder, settings.lines[line].pack if alone else pack


def _few(
    method: str, few_shot: str, scorer: str, within: int | None, augment: str, shots: tuple[int, ...]
) -> FewShot | None:
    """How normal shots are compared; None: as in Eq. 12."""
    from core.evaluate.few_shot import FewShot

    if few_shot not in ("evidence", "alfa"):
        raise typer.BadParameter(f"{few_shot}: use evidence or alfa", param_hint="--few-shot")
    try:
        few = FewShot(scorer, within=within, augment=augment)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--scorer, --within, --augment") from None
    if method == "filo" and scorer != "evidence":
        raise typer.BadParameter("FiLo compares shots by evidence alone", param_hint="--scorer")
    if scorer == "mutual" and shots != (0,):
        raise typer.BadParameter("mutual has no shots: leave --shots at 0", param_hint="--scorer")
    if scorer == "mutual" and augment != "none":
        raise typer.BadParameter("mutual has no shots to be mirrored or turned", param_hint="--augment")
    if few_shot == "evidence" and method in ("alfa", "filo"):
        return few
    if method == "filo" and max(shots) > 0:
        raise typer.BadParameter("FiLo compares shots by evidence alone", param_hint="--few-shot")
    if few != FewShot():
        raise typer.BadParameter("they are for --few-shot evidence", param_hint="--scorer, --within, --augment")
    return None


def _print(result: Evaluation) -> None:
    """The averages over the classes, percent, in the paper's order; then what a line would see."""
    from core.evaluate.evaluator import FALSE_ALARM_RATE
    from core.evaluate.result import METRICS, operated, over_classes, promised

    importance = {"AUROC": 8, "AUPR": 3, "F1-max": 4, "pAUROC": 6, "PRO": 7, "pF1-max": 5}
    columns = (Column(heading, level) for heading, level in importance.items())
    table = Table(Column("setting", wraps=True), Column("shots", 9), *columns, tight=True)
    for variant, count in result.settings():
        cells = []
        for metric in METRICS:
            found = over_classes(result, variant, count, metric)
            spread = "" if found is None or found.deviation is None else f"±{100 * found.deviation:.1f}"
            sure = result.interval(variant, count, metric)
            below = "" if sure is None else f"{100 * sure.low:.0f}-{100 * sure.high:.0f}"
            cells.append("-" if found is None else lines(f"{100 * found.mean:.1f}{spread}", below))
        table.add_row(variant, str(count), *cells)
    out.print(table)
    out.print("percent, ± deviation over seeds; below it the 95 % interval of the mean", soft_wrap=True)
    line = Table("setting", "shots", "promised", "false alarms", "escapes", tight=True)
    for variant, count in result.settings():
        shares = [promised(result, variant, count)]
        shares += [operated(result, variant, count, kind) for kind in ("false_alarms", "escapes")]
        line.add_row(variant, str(count), *("-" if one is None else f"{100 * one:.1f}" for one in shares))
    if any(run.operation is not None for one in result.classes for run in one.runs):
        out.print(line)
        wanted = f"{100 * FALSE_ALARM_RATE:.0f} % false alarms"
        words = f"percent of parts, at thresholds calibrated for {wanted}, or for what the good parts promise"
        out.print(words, soft_wrap=True)
    else:
        out.print(
            "no false alarms and escapes: a threshold takes good pictures beside the shots, in train/good or good",
            soft_wrap=True,
        )
    used = f"{result.model}, {result.device}, {result.dtype}"
    note = ": random weights, the figures mean nothing" if result.model.startswith("untrained") else ""
    packs = list(dict.fromkeys(one.pack for one in result.classes))
    by = f"{counted(len(result.classes), 'class', 'classes')} of {result.dataset}"
    judged = f"{'pack' if len(packs) == 1 else 'packs'} {', '.join(packs)}"
    out.print(f"{by}, {judged}, model {used}{note}", soft_wrap=True)
