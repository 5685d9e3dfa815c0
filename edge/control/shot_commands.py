"""Commands about normal shots, and the thresholds and feedback that come of them."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, Field

from core.calibration import fewest
from core.image import Rgb, decode, encode_png
from core.shot_folder import export_shots
from edge.clock import iso_ms, monotonic, utc_now
from edge.control.dispatcher import Arguments, Asked, Command, CommandError, Desk, OfLine, Result
from edge.control.enrolment import Enrolled
from edge.storage.retention import ArchiveError
from edge.storage.settings_database import LineCalibration, State

if TYPE_CHECKING:
    from core.bank import Shot
    from edge.storage.history import Entry


class OfShot(Arguments):
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


class OfFolder(OfLine):
    """A line's shots in a folder."""

    folder: Path
    """Absolute; the service reads or writes it."""


class Calibrate(OfLine):
    """Where a threshold is to come from."""

    rate: float = Field(default=0.05, gt=0, lt=1)
    """The false-alarm rate that it is to promise."""
    parts: int = Field(default=0, ge=0, le=10_000)
    """From so many of the line's next parts, all of which must be good; 0: from its shots, each against the others."""
    since: AwareDatetime | None = None
    """From the parts of the history since then, all of which must have been good."""
    until: AwareDatetime | None = None
    """And until then; without it, until now."""
    sure: bool = False
    """Accept the rate that the parts can promise, where they are too few for the one asked for."""
    timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long to wait for the line's parts."""


class Threshold(OfLine):
    """A threshold set by hand."""

    threshold: float = Field(ge=0, le=1)
    """A part whose score is at or above it is anomalous."""


class Feedback(OfLine):
    """What a verdict was really about."""

    seq: int = Field(ge=1)
    """The verdict's number."""
    kind: Literal["false_alarm", "missed"]
    """`false_alarm`: the part was good, its picture is enrolled; `missed`: it was defective, evidence is kept."""
    note: str = Field(default="", max_length=500)
    """What there is to say of it."""
    sure: bool = False
    """Enrol the picture even if it is flagged as blurred, badly exposed or a near-duplicate."""


def _enrol(desk: Desk, arguments: Enrol, asked: Asked) -> Result:
    desk.line(arguments.line)
    if bool(arguments.shots) == bool(asked.blobs):
        raise CommandError("enroll takes pictures, or a number of the line's next parts; one of the two")
    if arguments.shots:
        taken = next_parts(desk, arguments.line, arguments.shots, arguments.timeout_s)
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
    return {"shots": [_shot(one) for one in shots], "weights": desk.line(arguments.line).recipe.weights}, ()


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
    if arguments.parts and (arguments.since or arguments.until):
        raise CommandError("calibrate takes parts or a stretch of the history, not both")
    if arguments.until and not arguments.since:
        raise CommandError("until says where a stretch of the history ends; say with since where it begins")
    taken = None
    if arguments.parts:
        _suffice(arguments.parts, arguments)  # before anybody waits for them
        taken = next_parts(desk, arguments.line, arguments.parts, arguments.timeout_s)

    def work(state: State) -> dict[str, Any]:
        if (line.recipe.bank, line.recipe.wire.pack_sha256) != before:
            raise CommandError(f"the shots or the pack of line {arguments.line} changed meanwhile; calibrate again")
        if taken is not None:
            scores, source = [score for _, score in taken], "parts declared good"
        elif arguments.since is not None:
            scores, source = _from_history(desk, arguments, arguments.since)
            _suffice(len(scores), arguments)
        else:
            if line.recipe.bank.shots > 1:  # of one or none there is nothing to leave out
                _suffice(line.recipe.bank.shots, arguments)
            scores, source = desk.enrolment.leave_one_out(state, arguments.line), "shots, each against the others"
            _suffice(len(scores), arguments)  # of many shots not all are scored
        return _calibration(desk.enrolment.calibrate(state, arguments.line, scores, arguments.rate, source, asked.who))

    return {"calibration": desk.state.run(work)}, ()


def _suffice(count: int, arguments: Calibrate) -> None:
    """Raises CommandError: so few good parts cannot promise the rate, and nobody has accepted what they can."""
    needed = fewest(arguments.rate)
    if count >= needed or arguments.sure:
        return
    can, parts = f"{100 / (count + 1):.3g} %", "part promises" if count == 1 else "parts promise"
    raise CommandError(
        f"{count} good {parts} {can}, not the {100 * arguments.rate:.3g} % asked for: "
        f"show it {needed - count} more ({needed} in all), or accept {can} with --yes"
    )


def _threshold(desk: Desk, arguments: Threshold, asked: Asked) -> Result:
    desk.line(arguments.line)
    kept = desk.state.run(
        lambda state: desk.enrolment.set_threshold(state, arguments.line, arguments.threshold, asked.who)
    )
    return {"calibration": _calibration(kept)}, ()


def _from_history(desk: Desk, arguments: Calibrate, since: datetime) -> tuple[list[tuple[float, float]], str]:
    """What parts of the history scored that were judged as the line judges now."""
    recipe, until = desk.line(arguments.line).recipe, arguments.until or utc_now()
    scores = desk.history.scores(
        arguments.line,
        since=since,
        until=until,
        fingerprint=desk.enrolment.fingerprint,
        pack_sha256=recipe.wire.pack_sha256,
        bank_revision=recipe.bank.revision,
    )
    stretch = f"from {iso_ms(since)} to {iso_ms(until)}"
    if not scores:
        message = f"line {arguments.line} judged no part {stretch} with the model, pack and shots that it has now"
        raise CommandError(message)
    return scores, f"parts of the history {stretch}, declared good"


def _feedback(desk: Desk, arguments: Feedback, asked: Asked) -> Result:
    desk.line(arguments.line)
    entry = desk.history.entry(arguments.line, arguments.seq)
    if entry.score is None:
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} is an error: nothing was judged")
    if arguments.kind == "false_alarm" and entry.verdict != "anomaly":
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} is {entry.verdict}, no alarm")
    if arguments.kind == "missed" and entry.verdict != "normal":
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} is {entry.verdict}: it missed nothing")
    picture, missing = _archived(desk, entry)
    if arguments.kind == "false_alarm" and picture is None:
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} has no picture to enrol: {missing}")
    name = f"verdict {arguments.seq}"

    def work(state: State) -> tuple[int, list[Enrolled]]:
        found: list[Enrolled] = []
        if arguments.kind == "false_alarm" and picture is not None:
            found = desk.enrolment.enrol(
                state,
                arguments.line,
                [(name, picture)],
                who=asked.who,
                note=arguments.note,
                sure=arguments.sure,
                accepted={"anomalous"},  # that it looks so is what the feedback is about
            )
        shot = next((one.shot.id for one in found if one.shot is not None), None)
        png = encode_png(picture, {}) if arguments.kind == "missed" and picture is not None else None
        kept = state.feed_back(
            arguments.line, arguments.seq, arguments.kind, who=asked.who, note=arguments.note, shot=shot, picture=png
        )
        return kept, found

    kept, found = desk.state.run(work)
    return {
        "feedback": kept,
        "score": entry.score,
        "threshold": entry.threshold,
        "threshold_now": desk.line(arguments.line).recipe.threshold,
        "picture": picture is not None,
        "missing": missing,
        "pictures": [_enrolled(one) for one in found],
        "bank": desk.line(arguments.line).recipe.bank.model_dump(),
    }, ()


def _archived(desk: Desk, entry: Entry) -> tuple[Rgb | None, str | None]:
    """A verdict's picture; or none, and why."""
    if entry.archive is None:
        return None, "it was not archived; archive.dir and archive.ok_every say what is"
    try:
        return desk.archive.picture(entry.archive), None
    except ArchiveError as error:
        return None, str(error)


def _export(desk: Desk, arguments: OfFolder, _asked: Asked) -> Result:
    desk.line(arguments.line)
    _absolute(arguments.folder)
    shots = desk.state.run(lambda state: export_shots(state.bank, arguments.line, arguments.folder))
    return {"shots": [one.id for one in shots]}, ()


def _import(desk: Desk, arguments: OfFolder, asked: Asked) -> Result:
    desk.line(arguments.line)
    _absolute(arguments.folder)
    shots = desk.state.run(
        lambda state: desk.enrolment.import_folder(state, arguments.line, arguments.folder, asked.who)
    )
    return {"shots": [one.id for one in shots], "bank": desk.line(arguments.line).recipe.bank.model_dump()}, ()


def _absolute(path: Path) -> None:
    if not path.is_absolute():
        raise CommandError(f"{path}: name it from the root; the service has a working directory of its own")


def _calibration(kept: LineCalibration) -> dict[str, Any]:
    return {name: value for name, value in asdict(kept).items() if name != "scores"}


def refuse_without_shots(desk: Desk, line: str) -> None:
    """Raises CommandError where parts cannot be waited for: without windows a line judges none before it has shots."""
    if desk.enrolment.needs_shots(line):
        raise CommandError(
            f"line {line} judges no part before it has shots, as method.windows is none; show it pictures (`alfa-edge "
            "learn --good DIR`), or leave the windows in"
        )


def next_parts(desk: Desk, line: str, count: int, timeout_s: float) -> list[tuple[Rgb, tuple[float, float]]]:
    """The line's next parts, as it judges them by then: pictures, scores and peaks of the heatmap."""
    refuse_without_shots(desk, line)
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
            now, found = desk.line(line).recipe, one.inspection
            if (one.recipe.bank, one.recipe.wire.pack_sha256) != (now.bank, now.wire.pack_sha256):
                continue  # it was on its way as the shots or the pack changed
            taken.append((one.image, (found.score, float(found.patch_map.max()))))
    return taken


def _enrolled(one: Enrolled) -> dict[str, Any]:
    return {"name": one.name, "shot": one.shot.id if one.shot else None, "flags": [asdict(flag) for flag in one.flags]}


def _shot(shot: Shot) -> dict[str, Any]:
    known = asdict(shot) | {"added_at": iso_ms(shot.added_at)}
    return known | {"removed_at": iso_ms(shot.removed_at) if shot.removed_at else None}


SHOT_COMMANDS: dict[str, Command] = {
    "enroll": Command(Enrol, _enrol, changes=True),
    "shots_list": Command(ListShots, _shots),
    "shots_show": Command(OfShot, _show_shot),
    "shots_remove": Command(OfShot, _remove, changes=True),
    "shots_restore": Command(OfShot, _restore, changes=True),
    "shots_reembed": Command(OfLine, _reembed, changes=True),
    "shots_export": Command(OfFolder, _export),
    "shots_import": Command(OfFolder, _import, changes=True),
    "calibrate": Command(Calibrate, _calibrate, changes=True),
    "threshold": Command(Threshold, _threshold, changes=True),
    "feedback": Command(Feedback, _feedback, changes=True),
}
