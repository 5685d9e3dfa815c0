"""Commands about pictures of good parts on their way to the bank: held, shown with their flags, taken or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from pydantic import Field

from core.image import Rgb, decode, encode_png
from edge.clock import iso_ms, utc_now
from edge.control.arguments import Arguments, Flags, Names, Number, OfLine
from edge.control.dispatcher import WORK_S, Caller, Command, CommandError, Dispatcher, Result
from edge.control.enrolment import Enrolled
from edge.control.kept_pictures import KeptPictures
from edge.control.next_parts import next_parts
from edge.storage.candidates import MOST, Candidate, CandidateError


class Enrol(OfLine):
    """Pictures to enrol: those sent along, or the next ones of the line, which are only held."""

    shots: int = Field(default=0, ge=0, le=MOST)
    """How many of the line's next parts; 0 with pictures sent along."""
    names: Names = ()
    """Of the pictures sent along."""
    note: str = Field(default="", max_length=500)
    """What there is to say of them."""
    yes: Flags = ()
    """The flags in spite of which a picture is enrolled."""
    hold: bool = False
    """Hold all of them, also those without a flag."""
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    """How long to wait for the line's parts."""


class OfCandidate(Arguments):
    """A picture that is held."""

    candidate: Number
    """Its number."""


class SomeCandidates(OfLine):
    """Pictures that are held."""

    candidates: tuple[Number, ...] = Field(default=(), max_length=MOST)
    """Their numbers; none: all of the line."""


class Take(SomeCandidates):
    """Pictures that are to become shots."""

    yes: Flags = ()
    """The flags in spite of which a picture is enrolled."""


def _enrol(dispatcher: Dispatcher, arguments: Enrol, caller: Caller) -> Result:
    line = dispatcher.line(arguments.line)
    if bool(arguments.shots) == bool(caller.blobs):
        raise CommandError("enroll takes pictures, or a number of the line's next parts; one of the two")
    if arguments.shots:
        require_room(dispatcher, arguments.line, arguments.shots)
        kept = KeptPictures()
        with next_parts(dispatcher, arguments.line, arguments.shots, arguments.timeout_s) as parts:
            while len(kept) < arguments.shots:
                seen = parts.next_by_now(len(kept))
                kept.append(f"line {arguments.line}, verdict {seen.seq}", seen.image)
        held = hold(dispatcher, arguments.line, kept, caller, arguments.note)
        pictures = [candidate_part(candidate) for candidate in held]
    else:
        for _ in sent_pictures(caller.blobs, arguments.names):  # all of them, before the first is enrolled
            pass
        sent = sent_pictures(caller.blobs, arguments.names)
        if arguments.hold:
            require_room(dispatcher, arguments.line, len(caller.blobs))
            held = hold(dispatcher, arguments.line, sent, caller, arguments.note)
            pictures = [candidate_part(candidate) for candidate in held]
        else:
            pictures = _enrol_or_hold(dispatcher, arguments, caller, sent)
    return {
        "pictures": pictures,
        "bank": line.recipe.bank.model_dump(),
        "smallest_defect": line.recipe.smallest_defect(),
    }, ()


def _enrol_or_hold(
    dispatcher: Dispatcher, arguments: Enrol, caller: Caller, sent: Iterator[tuple[str, Rgb]]
) -> list[dict[str, Any]]:
    """Enrols what has no flag but accepted ones, and holds the others for a person to look at."""
    name = arguments.line
    pictures = []
    with dispatcher.enrolment.changing(name):
        found = dispatcher.enrolment.enrol(name, sent, who=caller.who, note=arguments.note, accepted=set(arguments.yes))
        for place, enrolled in enumerate(found):
            part = enrolled_part(enrolled)
            if enrolled.shot is None:
                image = decode(caller.blobs[place], enrolled.name)
                try:
                    part["candidate"] = _hold_one(dispatcher, name, enrolled.name, image, caller, arguments.note).id
                except CandidateError as error:
                    part["not_held"] = str(error)
            pictures.append(part)
    return pictures


def hold(
    dispatcher: Dispatcher, line: str, pictures: Iterable[tuple[str, Rgb]], caller: Caller, note: str
) -> list[Candidate]:
    """Holds named pictures as candidates of a line, each with its score and flags.

    Raises:
        CandidateError: the line has no room for one; those before it are held.
    """
    with dispatcher.enrolment.changing(line):
        return [_hold_one(dispatcher, line, name, image, caller, note) for name, image in pictures]


def _hold_one(dispatcher: Dispatcher, line: str, name: str, image: Rgb, caller: Caller, note: str) -> Candidate:
    flags, score = dispatcher.enrolment.check(line, image)
    png = encode_png(image)
    return dispatcher.database.run(
        lambda tables: tables.candidates.hold(
            line,
            png,
            size=(image.shape[0], image.shape[1]),
            at=utc_now(),
            who=caller.who,
            source=name,
            note=note,
            score=score,
            flags=flags,
        )
    )


def require_room(dispatcher: Dispatcher, line: str, count: int) -> None:
    """Raises CommandError: the line cannot hold `count` candidates more."""
    room = dispatcher.database.run(lambda tables: tables.candidates.room(line))
    if count > room:
        raise CommandError(
            f"{count} pictures, and line {line} has room for {room} of its {MOST} candidates: take or drop those that "
            "it holds (`alfa-edge shots take`, `shots drop`), or show it fewer"
        )


def _take_each(
    dispatcher: Dispatcher, line: str, candidates: Sequence[Candidate], caller: Caller, accepted: set[str]
) -> list[dict[str, Any]]:
    """Enrols candidates one by one; one with a flag that is not `accepted` stays held, with the flags that it has now.

    Raises:
        DuplicateShotError: one is the very same picture as a shot; those before it are enrolled.
    """
    database, parts = dispatcher.database, []

    def pictures(group: Sequence[Candidate]) -> Iterator[tuple[str, Rgb]]:
        for candidate in group:
            png = database.read(lambda tables, number=candidate.id: tables.candidates.png(number))  # type: ignore[misc]
            yield candidate.source, decode(png, f"candidate {candidate.id}")

    with dispatcher.enrolment.changing(line):
        for note, same_note in groupby(candidates, key=lambda candidate: candidate.note):
            group = list(same_note)
            found = dispatcher.enrolment.enrol(line, pictures(group), who=caller.who, note=note, accepted=accepted)
            for candidate, enrolled in zip(group, found, strict=True):
                if enrolled.shot is not None:
                    database.run(lambda tables, number=candidate.id: tables.candidates.drop([number]))  # type: ignore[misc]
                else:
                    database.run(
                        lambda tables, number=candidate.id, flags=enrolled.flags: tables.candidates.flag(number, flags)  # type: ignore[misc]
                    )
                parts.append(enrolled_part(enrolled) | {"candidate": candidate.id})
    return parts


def _candidates(dispatcher: Dispatcher, arguments: OfLine, _caller: Caller) -> Result:
    line, numbers = dispatcher.line(arguments.line), _numbers(dispatcher, arguments.line)
    return {
        "candidates": [candidate_part(candidate) for candidate in _candidates_of(dispatcher, numbers)],
        "threshold": None if line.recipe.uncalibrated else line.recipe.threshold,
    }, ()


def _candidate(dispatcher: Dispatcher, arguments: OfCandidate, _caller: Caller) -> Result:
    candidate, png = dispatcher.database.read(
        lambda tables: (tables.candidates.get(arguments.candidate), tables.candidates.png(arguments.candidate))
    )
    return {"candidate": candidate_part(candidate)}, [png]


def _take(dispatcher: Dispatcher, arguments: Take, caller: Caller) -> Result:
    line = dispatcher.line(arguments.line)
    chosen = _candidates_of(dispatcher, _chosen(dispatcher, arguments))
    parts = _take_each(dispatcher, arguments.line, chosen, caller, set(arguments.yes))
    return {
        "pictures": parts,
        "bank": line.recipe.bank.model_dump(),
        "smallest_defect": line.recipe.smallest_defect(),
    }, ()


def _drop(dispatcher: Dispatcher, arguments: SomeCandidates, _caller: Caller) -> Result:
    dispatcher.line(arguments.line)
    chosen = _chosen(dispatcher, arguments)
    dispatcher.database.run(lambda tables: tables.candidates.drop(chosen))
    return {"candidates": chosen}, ()


def _numbers(dispatcher: Dispatcher, line: str) -> list[int]:
    return dispatcher.database.run(lambda tables: tables.candidates.numbers(line, utc_now()))


def _candidates_of(dispatcher: Dispatcher, numbers: Sequence[int]) -> list[Candidate]:
    return dispatcher.database.run(lambda tables: [tables.candidates.get(number) for number in numbers])


def _chosen(dispatcher: Dispatcher, arguments: SomeCandidates) -> list[int]:
    """The candidates that were named, or all of the line.

    Raises:
        CommandError: the line holds none, or not one that was named.
    """
    held = _numbers(dispatcher, arguments.line)
    if strangers := [str(number) for number in arguments.candidates if number not in held]:
        known = ", ".join(map(str, held)) or "none"
        raise CommandError(f"line {arguments.line} holds no candidate {', '.join(strangers)}; it holds {known}")
    if not held:
        raise CommandError(f"line {arguments.line} holds no candidate; `alfa-edge enroll` shows it pictures")
    return list(dict.fromkeys(arguments.candidates)) or held


def sent_pictures(blobs: Sequence[bytes], names: Sequence[str]) -> Iterator[tuple[str, Rgb]]:
    """The pictures that were sent along, and their names, one by one: decoded, all of them may be gigabytes.

    Raises:
        ImageError: one is no picture.
    """
    for place, blob in enumerate(blobs):
        name = names[place] if place < len(names) else f"picture {place + 1}"
        yield name, decode(blob, name)


def enrolled_part(enrolled: Enrolled) -> dict[str, Any]:
    """A picture that was shown, and what became of it, as a reply says it."""
    shot = enrolled.shot.id if enrolled.shot else None
    return {"name": enrolled.name, "shot": shot, "flags": [asdict(flag) for flag in enrolled.flags]}


def candidate_part(candidate: Candidate) -> dict[str, Any]:
    """A picture that is held, as a reply says it."""
    known = asdict(candidate) | {"held_at": iso_ms(candidate.held_at)}
    return known | {"candidate": known.pop("id"), "name": known.pop("source"), "shot": None}


CANDIDATE_COMMANDS: dict[str, Command] = {
    "enroll": Command(Enrol, _enrol, changes=True, limit_s=WORK_S),
    "shots_candidates": Command(OfLine, _candidates),
    "shots_candidate": Command(OfCandidate, _candidate),
    "shots_take": Command(Take, _take, changes=True, limit_s=WORK_S),
    "shots_drop": Command(SomeCandidates, _drop, changes=True),
}
