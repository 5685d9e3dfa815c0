"""`alfa-edge ...`: what people type. Each command reads its options and leaves the work to a module of its own."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from core.printable import shown
from edge import __version__
from edge.cli import candidates as cli_candidates
from edge.cli import completion
from edge.cli import console as cli_console
from edge.cli import learn as cli_learn
from edge.cli import shots as cli_shots
from edge.cli import state as cli_state
from edge.cli.ask import ConfigFile, Json, OptionalConfigFile
from edge.cli.calibrate import calibrate
from edge.cli.cameras import cameras
from edge.cli.compile import compile_packs
from edge.cli.evaluate import evaluate
from edge.cli.explained import BAD_INPUT
from edge.cli.explained import explained as _explained
from edge.cli.feedback import feedback_app
from edge.cli.filo import filo_app
from edge.cli.generate import generate
from edge.cli.history import history
from edge.cli.hmi import hmi
from edge.cli.model import model_app
from edge.cli.model_options import Checkpoint, MethodName, Model, Weights, head_of
from edge.cli.new_pack import new
from edge.cli.packs import packs_app
from edge.cli.recipe import recipe_app
from edge.cli.review import review_app
from edge.cli.score import score
from edge.cli.shadow import shadow_app
from edge.cli.signals import end, end_at_once, on_signals, stop_on_signals
from edge.cli.simulate import simulate
from edge.cli.table import Column, Table, number
from edge.cli.terminal import Terminal, counted, show_json, styled
from edge.cli.users import users_app
from edge.ops.logs import LogFormat, setup_logs
from edge.ops.worker import ServiceFailedError
from edge.settings import ModelSettings, Settings, store_dir
from edge.settings_file import ConfigError, Problem, load_settings

app = typer.Typer(
    name="alfa-edge",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)
app.command("cameras")(cameras)
app.command("evaluate")(evaluate)
app.command("score")(score)
app.command("simulate")(simulate)
app.add_typer(config_app, name="config")
app.add_typer(model_app, name="model")
app.add_typer(filo_app, name="filo")
for ask in (
    cli_console.status,
    cli_console.trigger,
    cli_console.snapshot,
    cli_console.pause,
    cli_console.resume,
    cli_learn.learn,
    cli_learn.suggest,
    cli_candidates.enroll,
    calibrate,
    cli_shots.threshold,
    cli_console.audit,
    cli_state.backup,
    cli_state.restore,
):
    app.command(ask.__name__)(ask)
app.command("history")(history)
app.command("hmi")(hmi)
app.add_typer(users_app, name="users")
app.add_typer(cli_shots.shots_app, name="shots")
app.add_typer(review_app, name="review")
app.add_typer(feedback_app, name="feedback")
app.add_typer(recipe_app, name="recipe")
app.add_typer(shadow_app, name="shadow")
app.add_typer(cli_console.line_app, name="line")
packs_app.command("compile")(compile_packs)
packs_app.command("generate")(generate)
packs_app.command("new")(new)
app.add_typer(packs_app, name="packs")

log = logging.getLogger(__name__)

out = Terminal()

Device = Annotated[str, typer.Option(help="cuda, cuda:N or cpu; used or refused.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)  # noqa: T201
        raise typer.Exit


@app.callback()
def program(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Visual anomaly detection beside a camera line."""


@app.command()
def run(
    config: ConfigFile,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    log_format: Annotated[LogFormat, typer.Option(help="text, json, or auto: json in the journal.")] = "auto",
) -> None:
    """Run the service until it is told to stop."""
    if log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise typer.BadParameter(f"--log-level {log_level}: it is DEBUG, INFO, WARNING or ERROR")
    on_signals(end_at_once)
    setup_logs(log_level, log_format)
    faulthandler.enable(2)  # stderr: systemd's watchdog ends what hangs by SIGABRT: with every thread's stack
    with _explained():
        settings = load_settings(config)
        from edge.service import Service

        service = Service(settings)
        try:
            service.run(stop_on_signals(service))
        except ServiceFailedError as error:
            log.critical("the service has ended: %s", error)
            end(os.EX_SOFTWARE)
    end(0)  # at once: Python takes seconds to take torch apart, and waits, or crashes, where a thread is left


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="End after so long. Default: on Ctrl-C.")] = None,
    parts: Annotated[int | None, typer.Option(min=1, help="End after so many parts.")] = None,
    source: Annotated[str | None, typer.Option(help="A camera source. Default: two simulated lines.")] = None,
    pack: Annotated[str, typer.Option(help="Prompt pack for --source.", autocompletion=completion.packs)] = "generic",
    good: Annotated[Path | None, typer.Option(help="Good parts for --source, as a folder of pictures.")] = None,
    good_parts: Annotated[
        int, typer.Option(min=0, max=1000, help="Good parts that --source begins with, or of --good. 0: no first run.")
    ] = 24,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1000, help="Parts per second on each line. Default: 1; a data set as fast as it goes."
        ),
    ] = None,
    broker: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="HOST or HOST:PORT. Default: a broker of the demo's own, on loopback."),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the overlays of anomalies.")] = Path("out/demo"),
    device: Device = "cpu",
) -> None:
    """Run a whole service here: cameras, scoring, a broker, and a table of what it says."""
    if good is not None and (source is None or not good_parts):
        raise typer.BadParameter("it takes a --source, and --good-parts of 1 and more", param_hint="--good")
    setup_logs(logging.WARNING, "text")
    with _explained():
        from core.backbone import DEFAULT
        from edge.tools.demo import run_demo, summary

        out.print(f"model {DEFAULT}: small, and trained on simulated parts only; the service is the real one")
        address = _address(broker)
        seen = run_demo(
            out,
            stop_on_signals(),
            model=ModelSettings(name=DEFAULT, weights=None, device=device),
            source=source,
            pack=pack,
            rate=rate,
            out=folder,
            broker=address,
            seconds=seconds,
            parts=parts,
            good=good,
            good_parts=good_parts if source is not None else 0,
        )
        from edge.tools.demo_score import FolderScore
    for words in summary(seen.counts, seen.provisional).splitlines():
        out.print(words, soft_wrap=True)
    if source is None or isinstance(seen.score, FolderScore):
        for words in str(seen.score).splitlines():
            out.print(words, soft_wrap=True)
    if not seen.counts:
        raise typer.Exit(1)


def _address(broker: str | None) -> tuple[str, int] | None:
    """`HOST` or `HOST:PORT`."""
    if not broker:
        return None
    host, _, port = broker.partition(":")
    if not host or not (port or "1").isdecimal() or not 0 < int(port or 1883) < 65536:
        raise typer.BadParameter(f"{broker!r}: write HOST or HOST:PORT", param_hint="--broker")
    return host, int(port or 1883)


@app.command()
def doctor(
    config: OptionalConfigFile,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for a picture of each line: region, tiles, and the smallest defect that is seen."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what works here. Exit code 1 when the configured service could not run."""
    with _explained():
        settings = load_settings(config) if config is not None else None
        from edge.tools.doctor import configured, machine

        checks = [*machine(), *(configured(settings, pictures) if settings is not None else ())]
    if as_json:
        show_json([vars(check) for check in checks])
    else:
        table = Table("check", Column("result", 9), Column("detail", 8, wraps=True))
        colours = {"ok": "green", "note": "yellow", "fail": "bold red"}
        for check in checks:
            table.add_row(check.name, styled(check.result, colours[check.result]), check.detail)
        out.print(table)
    if any(check.result == "fail" for check in checks):
        raise typer.Exit(1)


@app.command("bench")
def bench_command(
    model: Model = None,
    weights: Weights = None,
    device: Device = "cpu",
    dtype: Dtype = "auto",
    scales: Annotated[str, typer.Option(help="Window sizes in patches, separated by commas.")] = "2,3",
    windows: Annotated[str, typer.Option(help="exact, strided, masked or none.")] = "exact",
    method_name: MethodName = "alfa",
    checkpoint: Checkpoint = None,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Frames in one pass.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Passes that are timed.")] = 20,
    as_json: Json = False,
) -> None:
    """Time each stage of scoring here: p50, p95 and p99 per image, memory, images per second."""
    with _explained():
        from core.alfa import Alfa, Method
        from core.backbone import DEFAULT, load_backbone
        from core.filo.filo import Filo
        from core.weights.store import Store
        from edge.tools.bench import bench

        name = model or (DEFAULT if weights is None else ModelSettings().name)
        try:
            method = Method(scales=tuple(int(one) for one in scales.split(",")), windows=windows)
        except ValueError as error:
            raise typer.BadParameter(f"{scales}, {windows}: {error}", param_hint="--scales, --windows") from None
        head = head_of(method_name, checkpoint)
        backbone = load_backbone(name, weights, device, dtype, Store(store_dir()))
        if head is not None:
            report = bench(Filo(backbone, head), batch, rounds)
        else:
            report = bench(Alfa(backbone, method, patches=windows == "none"), batch, rounds)
    if as_json:
        show_json(report.model_dump(mode="json", exclude_none=True))
        return
    table = Table("stage", *(number(f"{name} ms") for name in ("p50", "p95", "p99")))
    for stage, times in report.stages.items():
        table.add_row(stage, f"{times.p50:.2f}", f"{times.p95:.2f}", f"{times.p99:.2f}")
    out.print(table)
    memory = f"host {report.peak_host_mib:.0f} MiB"
    if report.peak_device_mib is not None:
        memory += f", device {report.peak_device_mib:.0f} MiB"
    parts = "filo" if method_name == "filo" else f"scales {scales}, {windows}"
    used = f"{report.model.name}, {report.model.device}, {report.model.dtype}, {parts}, batch {batch}"
    out.print(f"{used}: {report.images_per_s:.1f} images/s; peak memory {memory}", soft_wrap=True)


@app.command()
def version() -> None:
    """Print the version."""
    _print_version(True)


@app.command()
def schema(
    name: Annotated[str, typer.Argument(help="verdict, status, stats, reply, trigger, command or pack.")] = "verdict",
) -> None:
    """Print the JSON Schema of a message or of a prompt pack."""
    from core.packs.pack import pack_schema
    from edge.messages import json_schemas

    schemas = json_schemas() | {"pack": pack_schema()}
    if name not in schemas:
        print(f"alfa-edge: no schema {shown(repr(name))}; there are {', '.join(schemas)}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(BAD_INPUT)
    print(json.dumps(schemas[name], indent=2, sort_keys=True))  # noqa: T201


@config_app.command("check")
def config_check(config: ConfigFile) -> None:
    """Validate the file, the packs and the weights it names. Exit code 2 when something is wrong."""
    with _explained():
        try:
            settings = load_settings(config)
        except ConfigError as error:
            for problem in error.problems:
                if problem.written and sys.stdout.isatty():  # of who wrote it: elsewhere it would go to a log
                    print(f"{problem.key} = {problem.written}")  # noqa: T201
            raise
        _check_files(config, settings)
    out.print(f"{config}: fine, {counted(len(settings.lines), 'line')}", soft_wrap=True)


def _check_files(config: Path, settings: Settings) -> None:
    from core.backbone import BUNDLED, UNTRAINED, resolve_device, resolve_dtype
    from core.packs.pack import load_pack
    from core.weights.source import find
    from core.weights.store import Store
    from edge.camera.errors import SourceError
    from edge.camera.source import check_source
    from edge.inspection.methods import check_method, method_of

    store = Store(store_dir(settings.model.store))
    for name, line in settings.lines.items():
        load_pack(line.pack)
        check_method(method_of(settings, line), store)
        try:
            check_source(line.camera)
        except SourceError as error:
            raise ConfigError([Problem(str(config), f"lines.{name}.camera.source", "", str(error))]) from None
    resolve_dtype(settings.model.dtype, resolve_device(settings.model.device))
    if settings.model.name not in (BUNDLED, UNTRAINED):
        find(settings.model.name, settings.model.weights or "", store)


@config_app.command("show")
def config_show(config: ConfigFile) -> None:
    """Print the settings in effect, the environment's included, without secrets."""
    with _explained():
        settings = load_settings(config)
    from edge.tools.tables import shown

    show_json(shown(settings))


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the file."""
    print(json.dumps(Settings.model_json_schema(), indent=2, sort_keys=True))  # noqa: T201


@config_app.command("example")
def config_example() -> None:
    """Print a file with every setting, its meaning and its default."""
    from edge.tools.tables import example

    print(example(), end="")  # noqa: T201


@config_app.command("acl")
def config_acl(config: ConfigFile) -> None:
    """Print what this box may write and read at the broker, for mosquitto's ACL file."""
    from edge.tools.broker_rights import acl

    with _explained():
        print(acl(load_settings(config)), end="")  # noqa: T201


def main() -> None:
    """The entry point."""
    app()
