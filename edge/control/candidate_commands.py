"""Commands about pictures of good parts on their way to the bank: held, shown with their flags, taken or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from pydantic import Field

from core.bit_depth import BitDepth
from core.image import Rgb, check_shape, decode, encode_png
from edge.clock import iso_ms, utc_now
from edge.control.arguments import Arguments, Flags, Names, Number, OfRecipe
from edge.control.calibrate_commands import review_ended, shots_changed
from edge.control.changes import of_recipe
from edge.control.dispatcher import WORK_S, Caller, Command, CommandError, Dispatcher, Result
from edge.control.enrolment import Enrolled
from edge.control.kept_pictures import KeptPictures
from edge.control.next_parts import next_parts
from edge.inspection.line_recipes import RecipeSlot
from edge.ops.logs import line_log
from edge.storage.candidates import MOST, Candidate, CandidateError
from edge.storage.recipe_tables import recipe_of_key


class Enrol(OfRecipe):
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


class SomeCandidates(OfRecipe):
    """Pictures that are held."""

    candidates: tuple[Number, ...] = Field(default=(), max_length=MOST)
    """Their numbers; none: all of the recipe."""


class Take(SomeCandidates):
    """Pictures that are to become shots."""

    yes: Flags = ()
    """The flags in spite of which a picture is enrolled."""


def _enrol(dispatcher: Dispatcher, arguments: Enrol, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    ended = review_ended(slot)
    if bool(arguments.shots) == bool(caller.blobs):
        raise CommandError("enroll takes pictures, or a number of the line's next parts; one of the two")
    if arguments.shots:
        require_room(dispatcher, slot, arguments.shots)
        kept = KeptPictures()
        with next_parts(dispatcher, slot, arguments.shots, arguments.timeout_s) as parts:
            while len(kept) < arguments.shots:
                seen = parts.next_by_now(len(kept))
                kept.append(f"line {arguments.line}, verdict {seen.seq}", seen.image)
        with dispatcher.enrolment.changing(slot):
            parts.check()
            held = hold(dispatcher, slot, kept, caller, arguments.note)
        pictures = [candidate_part(candidate) for candidate in held]
    else:
        for _ in sent_pictures(dispatcher, slot, caller, arguments.names):  # all of them, before the first is enrolled
            pass
        sent = sent_pictures(dispatcher, slot, caller, arguments.names)
        if arguments.hold:
            require_room(dispatcher, slot, len(caller.blobs))
            held = hold(dispatcher, slot, sent, caller, arguments.note)
            pictures = [candidate_part(candidate) for candidate in held]
        else:
            pictures = _enrol_or_hold(dispatcher, slot, arguments, caller, sent)
    return {
        "pictures": pictures,
        "bank": slot.ready.bank.model_dump(),
        "smallest_defect": slot.ready.smallest_defect(),
        "notes": shots_changed(slot, ended),
    }, ()


def _enrol_or_hold(
    dispatcher: Dispatcher, slot: RecipeSlot, arguments: Enrol, caller: Caller, sent: Iterator[tuple[str, Rgb]]
) -> list[dict[str, Any]]:
    """Enrols what has no flag but accepted ones, and holds the others for a person to look at."""
    pictures = []
    with dispatcher.enrolment.changing(slot):
        found = dispatcher.enrolment.enrol(slot, sent, who=caller.who, note=arguments.note, accepted=set(arguments.yes))
        for place, enrolled in enumerate(found):
            part = enrolled_part(enrolled)
            if enrolled.shot is None:
                image = decode(caller.blobs[place], enrolled.name, _depth(dispatcher, slot))
                try:
                    part["candidate"] = _hold_one(dispatcher, slot, enrolled.name, image, caller, arguments.note).id
                except CandidateError as error:
                    part["not_held"] = str(error)
            pictures.append(part)
    return pictures


def hold(
    dispatcher: Dispatcher, slot: RecipeSlot, pictures: Iterable[tuple[str, Rgb]], caller: Caller, note: str
) -> list[Candidate]:
    """Holds named pictures as candidates of a recipe, each with its score and flags.

    Raises:
        CandidateError: there is no room for one; those before it are held.
    """
    with dispatcher.enrolment.changing(slot):
        return [_hold_one(dispatcher, slot, name, image, caller, note) for name, image in pictures]


def _hold_one(dispatcher: Dispatcher, slot: RecipeSlot, name: str, image: Rgb, caller: Caller, note: str) -> Candidate:
    flags, score = dispatcher.enrolment.check(slot.ready, image)
    png = encode_png(image)
    return dispatcher.database.run(
        lambda tables: tables.candidates.hold(
            slot.stored.key,
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


def require_room(dispatcher: Dispatcher, slot: RecipeSlot, count: int) -> None:
    """Raises CommandError: the recipe cannot hold `count` candidates more."""
    room = dispatcher.database.run(lambda tables: tables.candidates.room(slot.stored.key, utc_now()))
    if count > room:
        raise CommandError(
            f"{count} pictures, and recipe {slot.stored.name} of line {slot.stored.line} has room for {room} of {MOST} "
            "candidates: take or drop those that it holds (`alfa-edge shots take`, `shots drop`), or show it fewer"
        )


def _take_each(
    dispatcher: Dispatcher, slot: RecipeSlot, candidates: Sequence[Candidate], caller: Caller, accepted: set[str]
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

    with dispatcher.enrolment.changing(slot):
        for note, same_note in groupby(candidates, key=lambda candidate: candidate.note):
            group = list(same_note)
            found = dispatcher.enrolment.enrol(slot, pictures(group), who=caller.who, note=note, accepted=accepted)
            for candidate, enrolled in zip(group, found, strict=True):
                if enrolled.shot is not None:
                    database.run(lambda tables, number=candidate.id: tables.candidates.drop([number]))  # type: ignore[misc]
                else:
                    database.run(
                        lambda tables, number=candidate.id, flags=enrolled.flags: tables.candidates.flag(number, flags)  # type: ignore[misc]
                    )
                parts.append(enrolled_part(enrolled) | {"candidate": candidate.id})
    return parts


def _candidates(dispatcher: Dispatcher, arguments: OfRecipe, _caller: Caller) -> Result:
    slot = dispatcher.recipe(arguments.line, arguments.recipe)
    numbers, loaded = _numbers(dispatcher, slot), slot.loaded
    return {
        "candidates": [candidate_part(candidate) for candidate in _candidates_of(dispatcher, numbers)],
        "threshold": None if loaded is None or loaded.uncalibrated else loaded.threshold,
    }, ()


def _candidate(dispatcher: Dispatcher, arguments: OfCandidate, _caller: Caller) -> Result:
    candidate, png = dispatcher.database.read(
        lambda tables: (tables.candidates.get(arguments.candidate), tables.candidates.png(arguments.candidate))
    )
    return {"candidate": candidate_part(candidate)}, [png]


def _take(dispatcher: Dispatcher, arguments: Take, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    ended = review_ended(slot)
    chosen = _candidates_of(dispatcher, _chosen(dispatcher, slot, arguments))
    parts = _take_each(dispatcher, slot, chosen, caller, set(arguments.yes))
    return {
        "pictures": parts,
        "bank": slot.ready.bank.model_dump(),
        "smallest_defect": slot.ready.smallest_defect(),
        "notes": shots_changed(slot, ended),
    }, ()


def _drop(dispatcher: Dispatcher, arguments: SomeCandidates, _caller: Caller) -> Result:
    slot = dispatcher.recipe(arguments.line, arguments.recipe)
    chosen = _chosen(dispatcher, slot, arguments)
    dispatcher.database.run(lambda tables: tables.candidates.drop(chosen))
    return {"candidates": chosen}, ()


def _numbers(dispatcher: Dispatcher, slot: RecipeSlot) -> list[int]:
    return dispatcher.database.run(lambda tables: tables.candidates.numbers(slot.stored.key, utc_now()))


def _candidates_of(dispatcher: Dispatcher, numbers: Sequence[int]) -> list[Candidate]:
    return dispatcher.database.run(lambda tables: [tables.candidates.get(number) for number in numbers])


def _chosen(dispatcher: Dispatcher, slot: RecipeSlot, arguments: SomeCandidates) -> list[int]:
    """The candidates that were named, or all of the recipe.

    Raises:
        CommandError: it holds none, or not one that was named.
    """
    held, what = _numbers(dispatcher, slot), f"recipe {slot.stored.name} of line {slot.stored.line}"
    if strangers := [str(number) for number in arguments.candidates if number not in held]:
        known = ", ".join(map(str, held)) or "none"
        raise CommandError(f"{what} holds no candidate {', '.join(strangers)}; it holds {known}")
    if not held:
        raise CommandError(f"{what} holds no candidate; `alfa-edge enroll` shows it pictures")
    return list(dict.fromkeys(arguments.candidates)) or held


def sent_pictures(
    dispatcher: Dispatcher, slot: RecipeSlot, caller: Caller, names: Sequence[str]
) -> Iterator[tuple[str, Rgb]]:
    """The pictures that were sent along, and their names, one by one: decoded, all of them may be gigabytes.

    Those of 16 bits use as many as those of the line's camera.

    Raises:
        ImageError: one is no picture.
    """
    for place, blob in enumerate(caller.blobs):
        name = names[place] if place < len(names) else f"picture {place + 1}"
        depth = _depth(dispatcher, slot)
        image = decode(blob, name, depth)
        check_shape(image.shape[0], image.shape[1], name)
        if depth.recognised is not None:
            line_log(__name__, slot.stored.line).info("%s: %s", name, depth)
        yield name, image


def _depth(dispatcher: Dispatcher, slot: RecipeSlot) -> BitDepth:
    return BitDepth(dispatcher.recipes.camera(slot.stored.line).bits)


def enrolled_part(enrolled: Enrolled) -> dict[str, Any]:
    """A picture that was shown, and what became of it, as a reply says it."""
    shot = enrolled.shot.id if enrolled.shot else None
    return {"name": enrolled.name, "shot": shot, "flags": [asdict(flag) for flag in enrolled.flags]}


def candidate_part(candidate: Candidate) -> dict[str, Any]:
    """A picture that is held, as a reply says it."""
    line, number = recipe_of_key(candidate.line)
    known = asdict(candidate) | {"line": line, "recipe": number, "held_at": iso_ms(candidate.held_at)}
    return known | {"candidate": known.pop("id"), "name": known.pop("source"), "shot": None}


CANDIDATE_COMMANDS: dict[str, Command] = {
    "enroll": Command(Enrol, _enrol, changes=True, state=of_recipe, limit_s=WORK_S),
    "shots_candidates": Command(OfRecipe, _candidates),
    "shots_candidate": Command(OfCandidate, _candidate),
    "shots_take": Command(Take, _take, changes=True, state=of_recipe, limit_s=WORK_S),
    "shots_drop": Command(SomeCandidates, _drop, changes=True, state=of_recipe),
}
