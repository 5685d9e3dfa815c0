"""The one table of what a console can ask of the running service, and the audit of all that changes something."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.image import Rgb, decode, encode_png
from edge.clock import iso_ms, monotonic, utc_now
from edge.console.protocol import Refusal, Reply, Request
from edge.enrolment import Enrolled, Enrolment
from edge.state import State, StateThread

if TYPE_CHECKING:
    from core.bank import Shot
    from edge.line import Judge

Result = tuple[dict[str, Any], Sequence[bytes]]


class CommandError(ValueError):
    """The command cannot be done as asked; the message says why, and what to do."""


class _Arguments(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class NoArguments(_Arguments):
    """Nothing."""


class OfLine(_Arguments):
    """A line."""

    line: str
    """Its name."""


class OfShot(_Arguments):
    """A shot."""

    shot: int = Field(ge=1)
    """Its number."""


class ListShots(OfLine):
    """Shots of a line."""

    all: bool = False
    """Removed ones too."""


class Enrol(OfLine):
    """Pictures to enrol: those sent along, or the next ones of the line."""

    shots: int = Field(default=0, ge=0, le=64)
    """How many of the line's next parts; 0 with pictures sent along."""
    names: tuple[str, ...] = ()
    """Of the pictures sent along."""
    note: str = Field(default="", max_length=500)
    """What there is to say of them."""
    sure: bool = False
    """Enrol pictures that are flagged, too."""
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    """How long to wait for the line's parts."""


class Calibrate(OfLine):
    """Where a threshold is to come from."""

    rate: float = Field(default=0.05, gt=0, lt=1)
    """The false-alarm rate that it is to promise."""
    parts: int = Field(default=0, ge=0, le=10_000)
    """From so many of the line's next parts, all of which must be good; 0: from its shots, each against the others."""
    timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long to wait for the line's parts."""


class Threshold(OfLine):
    """A threshold set by hand."""

    threshold: float = Field(ge=0, le=1)
    """A part whose score is at or above it is anomalous."""


class Audit(_Arguments):
    """Entries of the audit."""

    count: int = Field(default=20, ge=1, le=1000)
    """The last so many."""


@dataclass(frozen=True)
class Asked:
    """Who asks, and what was sent along."""

    who: str
    blobs: Sequence[bytes]


@dataclass(frozen=True)
class Command:
    """One entry of the table.

    Attributes:
        arguments: What it takes.
        run: Does it.
        changes: Whether it changes something, and so stands in the audit.
    """

    arguments: type[_Arguments]
    run: Callable[[Desk, Any, Asked], Result]
    changes: bool = False


class Desk:
    """Where commands are done: the running lines and the state. Safe for several threads."""

    def __init__(self, lines: Mapping[str, Judge], state: StateThread, enrolment: Enrolment) -> None:
        self.lines = lines
        self.state = state
        self.enrolment = enrolment

    def answer(self, request: Request, blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
        """Does what a request asks, and writes it to the audit if it changes something."""
        command = COMMANDS.get(request.command)
        if command is None:
            return _refused(request, "unknown_command", f"no command {request.command!r}; known: {', '.join(COMMANDS)}")
        try:
            arguments = command.arguments.model_validate(request.arguments)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            return _refused(request, "bad_arguments", f"{request.command}: {where}: {first['msg']}")
        outcome = "done"
        try:
            result, pictures = command.run(self, arguments, Asked(request.who, blobs))
        except ValueError as error:  # what can be mended: a line, a shot, a picture, a number
            outcome = f"refused: {error}"
            return _refused(request, "refused", str(error))
        except Exception as error:
            outcome = f"failed: {type(error).__name__}: {error}"
            raise
        finally:
            if command.changes:
                noted = arguments.model_dump(mode="json")
                self.state.run(lambda state: state.note(request.who, request.command, noted, outcome))
        return Reply(id=request.id, result=result), pictures

    def line(self, name: str) -> Judge:
        """Raises CommandError when there is no such line."""
        if name not in self.lines:
            raise CommandError(f"no line {name!r}; there are {', '.join(self.lines)}")
        return self.lines[name]


def _refused(request: Request, code: str, message: str) -> tuple[Reply, Sequence[bytes]]:
    return Reply(id=request.id, refusal=Refusal(code=code, message=message)), ()


def _status(desk: Desk, _arguments: NoArguments, _asked: Asked) -> Result:
    lines = {}
    for name, line in desk.lines.items():
        recipe, stats = line.recipe, line.stats_so_far()
        lines[name] = {
            "seq": line.seq,
            "counts": stats,
            "recipe": recipe.wire.model_dump(mode="json"),
            "threshold": recipe.threshold,
            "bank": recipe.bank.model_dump(mode="json"),
        }
    return {"lines": lines}, ()


def _enrol(desk: Desk, arguments: Enrol, asked: Asked) -> Result:
    desk.line(arguments.line)
    if bool(arguments.shots) == bool(asked.blobs):
        raise CommandError("enroll takes pictures, or a number of the line's next parts; one of the two")
    if arguments.shots:
        taken = _next_parts(desk, arguments.line, arguments.shots, arguments.timeout_s)
        pictures = [(f"line {arguments.line}", image) for image, _ in taken]
    else:
        names = (*arguments.names, *(f"picture {place + 1}" for place in range(len(arguments.names), len(asked.blobs))))
        pictures = [(name, decode(blob, name)) for name, blob in zip(names, asked.blobs, strict=False)]
    found = desk.state.run(
        lambda state: desk.enrolment.enrol(
            state, arguments.line, pictures, who=asked.who, note=arguments.note, sure=arguments.sure
        )
    )
    return {
        "pictures": [_enrolled(one) for one in found],
        "bank": desk.line(arguments.line).recipe.bank.model_dump(),
    }, ()


def _shots(desk: Desk, arguments: ListShots, _asked: Asked) -> Result:
    desk.line(arguments.line)
    shots = desk.state.run(lambda state: state.bank.shots(arguments.line, active_only=not arguments.all))
    return {"shots": [_shot(one) for one in shots]}, ()


def _show_shot(desk: Desk, arguments: OfShot, _asked: Asked) -> Result:
    shot, image = desk.state.run(lambda state: (state.bank.shot(arguments.shot), state.bank.image(arguments.shot)))
    return {"shot": _shot(shot)}, [encode_png(image, {})]


def _remove(desk: Desk, arguments: OfShot, asked: Asked) -> Result:
    return _changed(desk, lambda state: state.bank.remove(arguments.shot, utc_now(), asked.who))


def _restore(desk: Desk, arguments: OfShot, asked: Asked) -> Result:
    return _changed(desk, lambda state: state.bank.restore(arguments.shot, utc_now(), asked.who))


def _reembed(desk: Desk, arguments: OfLine, _asked: Asked) -> Result:
    desk.line(arguments.line)

    def work(state: State) -> list[Shot]:
        made = desk.enrolment.embed_missing(state, arguments.line)
        desk.enrolment.refresh(state, arguments.line)
        return made

    return {"shots": [one.id for one in desk.state.run(work)]}, ()


def _changed(desk: Desk, change: Callable[[State], Shot]) -> Result:
    def work(state: State) -> Shot:
        shot = change(state)
        if shot.line in desk.lines:
            desk.enrolment.refresh(state, shot.line)
        return shot

    return {"shot": _shot(desk.state.run(work))}, ()


def _calibrate(desk: Desk, arguments: Calibrate, asked: Asked) -> Result:
    line = desk.line(arguments.line)
    before = (line.recipe.bank, line.recipe.wire.pack_sha256)
    taken = _next_parts(desk, arguments.line, arguments.parts, arguments.timeout_s) if arguments.parts else None

    def work(state: State) -> dict[str, Any]:
        if (line.recipe.bank, line.recipe.wire.pack_sha256) != before:
            raise CommandError(f"the shots or the pack of line {arguments.line} changed meanwhile; calibrate again")
        if taken is None:
            scores, source = desk.enrolment.leave_one_out(state, arguments.line), "shots, each against the others"
        else:
            scores, source = [score for _, score in taken], "parts declared good"
        return asdict(desk.enrolment.calibrate(state, arguments.line, scores, arguments.rate, source, asked.who))

    return {"calibration": desk.state.run(work)}, ()


def _threshold(desk: Desk, arguments: Threshold, asked: Asked) -> Result:
    desk.line(arguments.line)
    kept = desk.state.run(
        lambda state: desk.enrolment.set_threshold(state, arguments.line, arguments.threshold, asked.who)
    )
    return {"calibration": asdict(kept)}, ()


def _audit(desk: Desk, arguments: Audit, _asked: Asked) -> Result:
    return {"entries": desk.state.run(lambda state: state.audit(arguments.count))}, ()


def _next_parts(desk: Desk, line: str, count: int, timeout_s: float) -> list[tuple[Rgb, tuple[float, float]]]:
    """The line's next parts: pictures, scores and peaks of the heatmap."""
    end = monotonic() + timeout_s
    taken: list[tuple[Rgb, tuple[float, float]]] = []
    with desk.line(line).watch() as seen:
        while len(taken) < count:
            try:
                one = seen.get(timeout=max(0.0, end - monotonic()))
            except queue.Empty:
                message = f"line {line} has shown {len(taken)} of {count} parts within {timeout_s:g} s; is it running?"
                raise CommandError(message) from None
            if one is None:
                raise CommandError(f"line {line} has ended after {len(taken)} of {count} parts")
            found = one.inspection
            taken.append((one.image, (found.score, float(found.patch_map.max()))))
    return taken


def _enrolled(one: Enrolled) -> dict[str, Any]:
    return {"name": one.name, "shot": one.shot.id if one.shot else None, "flags": [asdict(flag) for flag in one.flags]}


def _shot(shot: Shot) -> dict[str, Any]:
    known = asdict(shot) | {"added_at": iso_ms(shot.added_at)}
    return known | {"removed_at": iso_ms(shot.removed_at) if shot.removed_at else None}


COMMANDS: dict[str, Command] = {
    "status": Command(NoArguments, _status),
    "enroll": Command(Enrol, _enrol, changes=True),
    "shots_list": Command(ListShots, _shots),
    "shots_show": Command(OfShot, _show_shot),
    "shots_remove": Command(OfShot, _remove, changes=True),
    "shots_restore": Command(OfShot, _restore, changes=True),
    "shots_reembed": Command(OfLine, _reembed, changes=True),
    "calibrate": Command(Calibrate, _calibrate, changes=True),
    "threshold": Command(Threshold, _threshold, changes=True),
    "audit": Command(Audit, _audit),
}
"""Every command by its name."""
