"""`alfa-edge status | enroll | shots | calibrate | threshold | audit`: what people ask of the running service."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.table import Table

from edge.explained import explained
from edge.lock import is_held
from edge.settings import Settings, console_dir, load_settings

shots_app = typer.Typer(help="The normal shots of a line.", no_args_is_help=True)
out = Console()

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The service's TOML file.", dir_okay=False)]
Line = Annotated[str, typer.Option(help="Name of the line.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Wait = Annotated[float, typer.Option(min=1, help="Seconds to wait for the service and its parts.")]
_REST_S = 5.0  # beyond what the service waits for, for the way there and back


def status(config: ConfigFile, as_json: Json = False) -> None:
    """Say how the running service's lines are."""
    found = _ask(config, "status", {})
    if as_json:
        _print(found)
        return
    table = Table("line", "parts", "normal", "anomaly", "error", "pack", "shots", "threshold")
    for name, line in found["lines"].items():
        counts, recipe = line["counts"], line["recipe"]
        kinds = [str(counts[kind]) for kind in ("normal", "anomaly", "error")]
        pack = f"{recipe['pack']} {recipe['pack_version']}"
        threshold = f"{line['threshold']:.4f} ({recipe['threshold_source']})"
        table.add_row(name, str(line["seq"]), *kinds, pack, str(line["bank"]["shots"]), threshold)
    out.print(table)


def enroll(
    config: ConfigFile,
    line: Line,
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Pictures of normal parts.")] = None,
    shots: Annotated[int, typer.Option(min=0, max=64, help="Instead of files: the line's next so many parts.")] = 0,
    note: Annotated[str, typer.Option(help="What there is to say of them.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Enrol also what is flagged.")] = False,
    timeout: Wait = 30.0,
    as_json: Json = False,
) -> None:
    """Enrol normal parts: the line compares its parts with them from the next one on. Exit code 1 when one was not."""
    paths = files or []
    with explained():
        blobs = [path.read_bytes() for path in paths]
    arguments = {
        "line": line,
        "shots": shots,
        "names": [path.name for path in paths],
        "note": note,
        "sure": yes,
        "timeout_s": timeout,
    }
    found = _ask(config, "enroll", arguments, blobs, timeout)
    if as_json:
        _print(found)
    else:
        for one in found["pictures"]:
            flags = "; ".join(f"{flag['code']}: {flag['message']}" for flag in one["flags"])
            what = f"shot {one['shot']}" if one["shot"] else "[yellow]not enrolled, --yes enrols it[/]"
            out.print(f"{one['name']}: {what}{f' ({flags})' if flags else ''}", soft_wrap=True)
        out.print(f"line {line} has {found['bank']['shots']} shots, revision {found['bank']['revision']}")
    if any(one["shot"] is None for one in found["pictures"]):
        raise typer.Exit(1)


@shots_app.command("list")
def shots_list(
    config: ConfigFile,
    line: Line,
    everything: Annotated[bool, typer.Option("--all", help="Removed ones too.")] = False,
    as_json: Json = False,
) -> None:
    """The shots of a line."""
    found = _ask(config, "shots_list", {"line": line, "all": everything})
    if as_json:
        _print(found)
        return
    table = Table("shot", "added", "by", "source", "size", "flags", "note", "")
    for one in found["shots"]:
        flags = ", ".join(flag["code"] for flag in one["flags"])
        state = "" if one["active"] else f"removed by {one['removed_by']}"
        size = f"{one['width']} x {one['height']}"
        table.add_row(str(one["id"]), one["added_at"], one["who"], one["source"], size, flags, one["note"], state)
    out.print(table)


@shots_app.command("show")
def shots_show(
    config: ConfigFile,
    shot: Annotated[int, typer.Argument(help="Its number.")],
    picture: Annotated[Optional[Path], typer.Option("--out", help="Write its picture to this PNG file.")] = None,  # noqa: UP045
) -> None:
    """What is known of a shot, as JSON, and its picture."""
    pictures: list[bytes] = []
    _print(_ask(config, "shots_show", {"shot": shot}, received=pictures)["shot"])
    if picture is not None:
        with explained():
            picture.write_bytes(pictures[0])


@shots_app.command("remove")
def shots_remove(config: ConfigFile, shot: Annotated[int, typer.Argument(help="Its number.")]) -> None:
    """Put a shot aside; `restore` takes it back."""
    found = _ask(config, "shots_remove", {"shot": shot})["shot"]
    out.print(f"shot {found['id']} of line {found['line']} is put aside")


@shots_app.command("restore")
def shots_restore(config: ConfigFile, shot: Annotated[int, typer.Argument(help="Its number.")]) -> None:
    """Take a shot back that was put aside."""
    found = _ask(config, "shots_restore", {"shot": shot})["shot"]
    out.print(f"shot {found['id']} of line {found['line']} counts again")


@shots_app.command("reembed")
def shots_reembed(config: ConfigFile, line: Line, timeout: Wait = 600.0) -> None:
    """Make the features of shots anew from their pictures, where those of the model are missing or damaged."""
    made = _ask(config, "shots_reembed", {"line": line}, timeout=timeout)["shots"]
    out.print(f"line {line}: features of {len(made)} shots made anew")


def calibrate(
    config: ConfigFile,
    line: Line,
    rate: Annotated[float, typer.Option(min=0.0001, max=0.9999, help="The false-alarm rate to promise.")] = 0.05,
    parts: Annotated[
        int, typer.Option(min=0, help="From the line's next so many parts, all good. 0: from its shots.")
    ] = 0,
    timeout: Wait = 600.0,
) -> None:
    """Set a line's threshold from good parts, with the false-alarm rate that they can promise."""
    arguments = {"line": line, "rate": rate, "parts": parts, "timeout_s": timeout}
    kept = _ask(config, "calibrate", arguments, timeout=timeout)["calibration"]
    out.print(f"line {line}: threshold {kept['threshold']:.4f}, {kept['source']}", soft_wrap=True)
    if kept["rate"] > rate + 1e-9:
        out.print(f"[yellow]{kept['count']} parts cannot promise {100 * rate:.3g} %[/]")


def threshold(
    config: ConfigFile, line: Line, value: Annotated[float, typer.Argument(min=0, max=1, help="The threshold.")]
) -> None:
    """Set a line's threshold by hand; it promises nothing."""
    kept = _ask(config, "threshold", {"line": line, "threshold": value})["calibration"]
    out.print(f"line {line}: threshold {kept['threshold']:.4f}, {kept['source']}", soft_wrap=True)


def audit(
    config: ConfigFile,
    count: Annotated[int, typer.Option(min=1, max=1000, help="The last so many entries.")] = 20,
    as_json: Json = False,
) -> None:
    """Who changed what."""
    found = _ask(config, "audit", {"count": count})
    if as_json:
        _print(found)
        return
    table = Table("at", "who", "command", "arguments", "outcome")
    for one in found["entries"]:
        table.add_row(one["at"], one["who"], one["command"], one["arguments"], one["outcome"])
    out.print(table)


def _ask(
    config: Path,
    command: str,
    arguments: dict[str, Any],
    blobs: list[bytes] | None = None,
    timeout: float = 30.0,
    received: list[bytes] | None = None,
) -> dict[str, Any]:
    with explained():
        from edge.console.client import NoAnswerError, ask
        from edge.console.server import SOCKET

        settings = load_settings(config)
        socket = console_dir(settings.service) / SOCKET
        pictures: Sequence[bytes]
        try:
            result, pictures = ask(socket, command, arguments, blobs or (), timeout + _REST_S)
        except NoAnswerError:
            if is_held(socket.with_suffix(".lock")):  # it runs, and did not answer
                raise
            result, pictures = _offline(settings, command, arguments, blobs or [])
        if received is not None:
            received += pictures
        return result


def _offline(
    settings: Settings, command: str, arguments: dict[str, Any], blobs: list[bytes]
) -> tuple[dict[str, Any], Sequence[bytes]]:
    """Does on the state itself what no service is there for."""
    from edge.console.client import RefusedError
    from edge.console.protocol import Request
    from edge.offline import offline_desk

    with offline_desk(settings, bare=command == "shots_reembed") as desk:
        request = Request(id="offline", command=command, arguments=arguments, who=getpass.getuser())
        reply, pictures = desk.answer(request, blobs)
    if reply.refusal is not None:
        raise RefusedError(reply.refusal.code, reply.refusal.message)
    return reply.result or {}, pictures


def _print(found: Any) -> None:
    print(json.dumps(found, indent=2))  # noqa: T201
