"""`alfa-edge feedback ...`: what people say of verdicts, and what comes of it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Optional

import typer

from core.feedback_rates import feedback_rates as rates_of
from core.printable import shown
from edge.cli.ask import WORK_S, ConfigFile, Json, Line, Recipe, Wait, Yes, ask_service, of_recipe, out, say_notes
from edge.cli.explained import explained
from edge.cli.table import Column, Table, number
from edge.cli.terminal import counted, show_json
from edge.cli.when import local, parse_when
from edge.settings import state_dir
from edge.settings_file import load_settings
from edge.zone import Shifts, zone_of

if TYPE_CHECKING:
    from core.share import Share
    from edge.storage.feedback import Feedback, FeedbackLog
    from edge.storage.history import History
    from edge.tools.quality import Group

feedback_app = typer.Typer(help="What people say of verdicts, and what comes of it.", no_args_is_help=True)

Since = Annotated[
    Optional[datetime],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
    typer.Option(parser=parse_when, help="Verdicts issued since then: 2026-01-31T06:00, or 2h, 3d ago."),
]
Until = Annotated[
    Optional[datetime],  # noqa: UP045
    typer.Option(parser=parse_when, help="Verdicts issued before then."),
]
Seq = Annotated[int, typer.Argument(min=1, help="The verdict's number.")]


class _State(NamedTuple):
    """What a state's folder holds, and the clock of the line."""

    history: History
    feedback: FeedbackLog
    zone: tzinfo | None
    shifts: tuple[str, ...]


def _state_of(config: Path, line: str) -> _State:
    from edge.storage.feedback import FeedbackLog
    from edge.storage.history import History

    service, lines = (settings := load_settings(config)).service, settings.lines
    folder = state_dir(service.state_dir)
    history = History(folder)
    known = sorted({*lines, *history.lines()})  # a line that was taken out keeps its history
    if line not in known:
        raise typer.BadParameter(shown(f"no line {line!r}; there are {', '.join(known)}"), param_hint="--line")
    return _State(history, FeedbackLog(folder), zone_of(service.zone), service.shifts)


@feedback_app.command("add")
def feedback_add(
    config: ConfigFile,
    line: Line,
    seq: Seq,
    false_alarm: Annotated[bool, typer.Option("--false-alarm", help="The part was good: enrol its picture.")] = False,
    missed: Annotated[bool, typer.Option("--missed", help="The part was defective: keep it as evidence.")] = False,
    right: Annotated[bool, typer.Option("--right", help="The verdict was right.")] = False,
    note: Annotated[str, typer.Option(help="What there is to say of it.")] = "",
    no_enrol: Annotated[bool, typer.Option("--no-enrol", help="The picture does not become a shot.")] = False,
    yes: Yes = None,
) -> None:
    """Say what a part really was. Exit code 1 when a false alarm's picture was not enrolled."""
    chosen = [kind for kind, is_so in (("false_alarm", false_alarm), ("missed", missed), ("right", right)) if is_so]
    if len(chosen) != 1:
        raise typer.BadParameter("say --false-alarm, --missed or --right")
    if no_enrol and not false_alarm:
        raise typer.BadParameter("it is for --false-alarm", param_hint="--no-enrol")
    arguments = {"line": line, "seq": seq, "kind": chosen[0], "note": note, "enrol": not no_enrol}
    found = ask_service(config, "feedback", arguments | {"yes": yes or []}, timeout=WORK_S)
    score = f"score {found['score']:.4f}, threshold {found['threshold']:.4f} then, {found['threshold_now']:.4f} now"
    said = f"verdict {seq} of line {line}: {found['kind'].replace('_', ' ')}; {score}"
    if not found["pictures"]:
        evidence = "its picture is kept" if found["picture"] else f"without its picture: {found['missing']}"
        out.print(f"{said}; {evidence}", soft_wrap=True)
        return
    (picture,) = found["pictures"]
    flags = "; ".join(f"{flag['code']}: {flag['message']}" for flag in picture["flags"])
    overriding = " ".join(f"--yes {flag['code']}" for flag in picture["flags"])
    became = f"shot {picture['shot']}" if picture["shot"] else f"not enrolled ({flags}); {overriding} enrols it"
    out.print(f"{said}; {became}", style=None if picture["shot"] else "yellow", soft_wrap=True)
    say_notes(found)
    if picture["shot"] is None:
        raise typer.Exit(1)


@feedback_app.command("list")
def feedback_list(
    config: ConfigFile,
    line: Line,
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="Of the last so many verdicts.")] = 20,
    as_json: Json = False,
) -> None:
    """What was said of a line's verdicts, the newest first; of each verdict what was said last."""
    with explained():
        state = _state_of(config, line)
        found = [*state.feedback.of(line).values()][::-1][:count]
    if as_json:
        show_json([entry.to_dict() for entry in found])
        return
    columns = [number("seq", 8), Column("feedback", 9), Column("at", 6), Column("by", 4), Column("picture", 5)]
    table = Table(*columns, Column("note", 3, wraps=True))
    for entry in found:
        at = local(entry.at)
        table.add_row(str(entry.seq), entry.kind, at, entry.who, _picture_of(entry), entry.note)
    out.print(table if found else f"nobody has said anything of verdicts of line {line}")


def _picture_of(entry: Feedback) -> str:
    if entry.shot is not None:
        return f"shot {entry.shot}"
    return "kept" if entry.pictured else "none"


@feedback_app.command("show")
def feedback_show(
    config: ConfigFile,
    line: Line,
    seq: Seq,
    picture: Annotated[Optional[Path], typer.Option("--out", help="Write its picture to this PNG file.")] = None,  # noqa: UP045
) -> None:
    """What was said of a verdict, as JSON with the verdict where the history still has it, and its picture."""
    with explained():
        from edge.storage.history import UnknownVerdictError

        state = _state_of(config, line)
        entry = state.feedback.entry(line, seq)
        try:
            verdict = state.history.payload(line, seq)
        except UnknownVerdictError:  # feedback is kept longer than the history
            verdict = None
        show_json(entry.to_dict() | {"verdict": verdict})
        if picture is None:
            return
        png = state.feedback.picture(line, seq)
        if png is None:
            raise typer.BadParameter(f"no picture of verdict {seq} was kept", param_hint="--out")
        picture.write_bytes(png)


@feedback_app.command("export")
def feedback_export(
    config: ConfigFile,
    line: Line,
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
) -> None:
    """Write the pictures that something was said of, a class for each recipe, as `alfa-edge evaluate` reads them."""
    with explained():
        from edge.tools.quality import labels, write_labelled_set

        state = _state_of(config, line)
        written, missing = write_labelled_set(state.history, state.feedback, line, folder)
    for name, entries in written.items():
        out.print(f"{folder / name}: {labels(entries)} of line {line}", soft_wrap=True)
    if missing:
        out.print(f"no picture was kept of {counted(len(missing), 'part')}", style="yellow", soft_wrap=True)


@feedback_app.command("rates")
def feedback_rates(
    config: ConfigFile,
    line: Line,
    since: Since = None,
    until: Until = None,
    shift: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="When shifts begin: 06:00,14:00,22:00. Default: service.shifts."),
    ] = None,
    as_json: Json = False,
) -> None:
    """False alarms and escapes by recipe and shift, as far as they are known, with 95 % intervals."""
    with explained():
        from edge.tools.quality import groups

        state = _state_of(config, line)
        try:
            shifts = Shifts(state.shifts if shift is None else tuple(shift.split(",")))
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--shift") from None
        found = groups(state.history, state.feedback, line, shifts, state.zone, since, until)
    if as_json:
        show_json([_group_part(group) for group in found])
    elif found:
        _print_rates(found)
    else:
        out.print(f"line {line} judged no part then", soft_wrap=True)


def _group_part(group: Group) -> dict[str, Any]:
    rates = asdict(rates_of(group.judged))
    return {"recipe": group.recipe, "shift": group.shift} | asdict(group.judged) | {"rates": rates}


def _print_rates(found: list[Group]) -> None:
    columns = [Column("recipe", 9), Column("shift", 8), number("parts", 7), number("alarms", 3)]
    columns += [number("known false alarms", 6), number("at most", 5), number("known escapes", 6)]
    table = Table(*columns, number("of alarms seen", 2), number("of normal seen", 1))
    for group in found:
        judged, rates = group.judged, rates_of(group.judged)
        most = rates.possible_false_alarms
        table.add_row(
            group.recipe,
            group.shift,
            str(judged.parts),
            str(judged.anomaly),
            _at_least(rates.known_false_alarms),
            "" if most is None else _percent(most.high),
            _at_least(rates.known_escapes),
            _interval(rates.reviewed_alarms),
            _interval(rates.reviewed_normals),
        )
    out.print(table)
    for words in _MEANING:
        out.print(words, soft_wrap=True)


_MEANING = (
    "known: of all judged parts those that people marked, and the least that the share is, with 97.5 % confidence. "
    "There may be more: people look at few parts.",
    "at most: the most that the share of false alarms is, with 97.5 % confidence, if all alarms that nobody looked at "
    "were false.",
    "seen: of the parts that people looked at, with the 95 % interval of Clopper and Pearson. It holds for all alarms, "
    "or all normal parts, only if chance decided which were looked at.",
)


def _at_least(share: Share | None) -> str:
    return "" if share is None else f"{share.count}, at least {_percent(share.low)}"


def _interval(share: Share | None) -> str:
    return "" if share is None else f"{share.count} of {share.of}: {_percent(share.low)} to {_percent(share.high)}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.3g} %"


@feedback_app.command("threshold")
def feedback_threshold(
    config: ConfigFile,
    line: Line,
    rate: Annotated[float, typer.Option(min=0.0001, max=0.9999, help="The false-alarm rate to promise.")] = 0.05,
    escapes: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.0001, max=0.9999, help="The share of defects like the known ones that may escape."),
    ] = None,
    since: Since = None,
    until: Until = None,
    recipe: Recipe = None,
    timeout: Wait = 600.0,
    as_json: Json = False,
) -> None:
    """Propose a threshold from the history and what was said of it. It is not set."""
    stretch = {name: when.isoformat() for name, when in (("since", since), ("until", until)) if when is not None}
    arguments = {"line": line, "recipe": recipe, "rate": rate, "escapes": escapes} | stretch
    found = ask_service(config, "threshold_propose", arguments, timeout=timeout)
    if as_json:
        show_json(found)
        return
    columns = [Column("threshold", 9), number("value", 8), number("possible false alarms", 7)]
    table = Table(*columns, number("known escapes", 6))
    for name in ("now", "proposed"):
        at = found[name]
        table.add_row(name, f"{at['threshold']:.4f}", _of(at["alarms"]), _of(at["escapes"]))
    out.print(table)
    calibration, parts = found["calibration"], counted(found["parts"], "part")
    promised = f"the proposed one promises {_percent(calibration['rate'])} false alarms, from {parts}"
    out.print(f"{promised}{'; ' if calibration['note'] else ''}{calibration['note']}", soft_wrap=True)
    for words in _said_of_defects(found, escapes):
        out.print(words, soft_wrap=True)
    if found["proposed"]["threshold"] > 1:
        return
    words = f"to set it: alfa-edge threshold {found['proposed']['threshold']!r} --line {line}{of_recipe(recipe)}"
    out.print(words, soft_wrap=True)


def _of(share: dict[str, Any] | None) -> str:
    if share is None:
        return "none is known"
    return f"{share['count']} of {share['of']}: {_percent(share['low'])} to {_percent(share['high'])}"


def _said_of_defects(found: dict[str, Any], escapes: float | None) -> list[str]:
    words = []
    if found["scored_again"]:
        again = counted(found["scored_again"], "known defect")
        words.append(f"{again} scored again from the picture: other shots or another pack judged it")
    if found["without_picture"]:
        words.append(f"{counted(found['without_picture'], 'known defect')} left out: no picture was kept")
    if escapes is None:
        return words
    if found["most"] is None:
        words.append(f"{counted(found['defective'], 'known defect')} promise no rate of escapes of {_percent(escapes)}")
    elif found["agrees"]:
        words.append(f"up to {found['most']:.4f} at most {_percent(escapes)} of such defects escape: both can be had")
    else:
        below = f"only up to {found['most']:.4f} do at most {_percent(escapes)} of such defects escape"
        words.append(f"{below}: with these shots both cannot be had")
    return words
