"""The recipes of one line: which there are, which of them are ready, and which one its parts are judged by."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol

from edge.inspection.recipe import NO_SHOTS, LoadedRecipe
from edge.messages import ActiveRecipe, Bank, Model, Recipe
from edge.settings_recipe import FIRST
from edge.storage.recipe_tables import RecipeError, StoredRecipe
from edge.storage.shadow_tables import StoredShadow


class UnknownRecipeError(ValueError):
    """The line has no such recipe, or it is retired; the message says which there are."""


class RecipeNotReadyError(ValueError):
    """The recipe is still being made ready, or cannot be; the message says which, and why."""


@dataclass(frozen=True)
class JudgedBy:
    """What a verdict says of the recipe."""

    wire: Recipe
    threshold: float
    provisional: bool
    bank: Bank
    model: Model


def judged_by(recipe: LoadedRecipe) -> JudgedBy:
    """What a verdict says of a recipe that is ready."""
    return JudgedBy(recipe.wire, recipe.threshold, recipe.provisional, recipe.bank, recipe.model)


class RecipeSlot:
    """One recipe of a line, ready or not. Any thread may call it.

    Attributes:
        stored: Its name, number and settings, as of its newest revision.
        loaded: What parts are judged by; None while it is not ready.
        failure: Why it could not be made ready; None where nobody has tried, or it is ready.
    """

    def __init__(self, stored: StoredRecipe, loaded: LoadedRecipe | None = None) -> None:
        self.stored = stored
        self.loaded = loaded
        self.failure: str | None = None
        self._lock = threading.Lock()  # guards what follows, and changes of the above
        self._waiting: list[Callable[[], None]] = []

    @property
    def ready(self) -> LoadedRecipe:
        """What parts are judged by.

        Raises:
            RecipeNotReadyError: it is not ready.
        """
        loaded = self.loaded
        if loaded is None:
            why = self.failure or "it is being made ready; ask again in a while"
            raise RecipeNotReadyError(f"recipe {self.stored.name} of line {self.stored.line}: {why}")
        return loaded

    @property
    def wire(self) -> Recipe:
        """As verdicts name it, ready or not."""
        loaded, stored = self.loaded, self.stored
        if loaded is not None:
            return loaded.wire
        return Recipe(
            pack=stored.settings.pack,
            pack_version="",
            pack_sha256="",
            threshold_source="the recipe is not ready",
            name=stored.name,
            number=stored.number,
            revision=stored.revision,
        )

    @property
    def active_part(self) -> ActiveRecipe:
        """As the line's status names it."""
        stored = self.stored
        return ActiveRecipe(name=stored.name, number=stored.number, revision=stored.revision)

    def settle(self, loaded: LoadedRecipe) -> None:
        """It is ready, or has changed; who waits for it goes on in this thread."""
        with self._lock:
            self.loaded, self.failure = loaded, None
        self._go_on()

    def fail(self, failure: str) -> None:
        """It cannot be made ready; who waits for it goes on in this thread. One that others made ready stays so."""
        with self._lock:
            if self.loaded is not None:
                return
            self.failure = failure
        self._go_on()

    def change(self, stored: StoredRecipe, loaded: LoadedRecipe | None) -> None:
        """Its newest revision, or another name; `loaded` is made of it, or None where it is not ready."""
        if loaded is None:
            self.stored, self.loaded, self.failure = stored, None, None
        else:
            wire = loaded.wire.model_copy(
                update={"name": stored.name, "number": stored.number, "revision": stored.revision}
            )
            self.stored = stored
            self.settle(replace(loaded, wire=wire))

    def release(self) -> None:
        """Lets go of what is ready; the next part that needs it has it made anew."""
        self.loaded = None

    def when_settled(self, then: Callable[[], None]) -> bool:
        """Has `then` called once it is ready or cannot be; whether it is so at once, and `then` was called."""
        with self._lock:
            settled = self.loaded is not None or self.failure is not None
            if not settled:
                self._waiting.append(then)
        if settled:
            then()
        return settled

    def _go_on(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()


def _refuse_retired(slot: RecipeSlot) -> None:
    if slot.stored.retired:
        raise UnknownRecipeError(
            f"recipe {slot.stored.name} of line {slot.stored.line} is retired; "
            f"`alfa-edge recipe retire {shlex.quote(slot.stored.name)} --back` takes it back"
        )


@dataclass(frozen=True, eq=False)
class RunningShadow:
    """A recipe that judges the line's parts a second time, as `edge.storage.shadow_tables` has it."""

    stored: StoredShadow
    slot: RecipeSlot


class RecipeKeeper(Protocol):
    """Who makes recipes ready, and keeps which one is active. Nothing in it waits."""

    def prepare(self, slot: RecipeSlot) -> None:
        """Has the recipe made ready, soon."""
        ...

    def keep_active(self, slot: RecipeSlot) -> Future[None]:
        """Has it kept on disk that the recipe is the active one; done when it is, or when the disk has refused."""
        ...


class LineRecipes:
    """All recipes of one line. Any thread may call it; nothing waits.

    A part is judged by the recipe that was active when its trigger came, or in free run its frame.
    """

    def __init__(self, line: str, slots: Iterable[RecipeSlot], active: int, keeper: RecipeKeeper) -> None:
        """`active`: the number of one of the `slots`."""
        self.line = line
        self._keeper = keeper
        self._lock = threading.Lock()  # guards what follows
        self._slots = {slot.stored.number: slot for slot in slots}
        self._active = self._slots[active]
        self._used = [self._active]  # in the order of their last use
        self._changed_over = False  # since the start
        self._model = None if self._active.loaded is None else self._active.loaded.model  # of the last that was ready
        self._shadow: RunningShadow | None = None

    @property
    def active(self) -> RecipeSlot:
        """What the next part is judged by."""
        return self._active

    @property
    def shadow(self) -> RunningShadow | None:
        """What judges parts a second time; None: nothing."""
        return self._shadow

    def set_shadow(self, stored: StoredShadow | None) -> None:
        """Has parts judged a second time from now on, or not any more."""
        self._shadow = None if stored is None else RunningShadow(stored, self._slots[stored.recipe])

    @property
    def slots(self) -> list[RecipeSlot]:
        """All of them, by number, retired ones too."""
        with self._lock:
            return [self._slots[number] for number in sorted(self._slots)]

    @property
    def first(self) -> RecipeSlot:
        """The one that the configuration describes."""
        return self._slots[FIRST]

    @property
    def loaded(self) -> LoadedRecipe:
        """What the next part is judged by, ready.

        Raises:
            RecipeNotReadyError: it is not.
        """
        return self._active.ready

    def find(self, choice: str, *, retired: bool = False) -> RecipeSlot:
        """The recipe of a name, or of a number.

        Args:
            choice: Either of them; digits are a number.
            retired: Whether a retired one will do.

        Raises:
            UnknownRecipeError: there is none.
        """
        number = int(choice) if choice.isascii() and choice.isdigit() else None
        for slot in self.slots:
            if choice == slot.stored.name or number == slot.stored.number:
                if not retired:
                    _refuse_retired(slot)
                return slot
        known = ", ".join(
            f"{slot.stored.name} ({slot.stored.number})" for slot in self.slots if not slot.stored.retired
        )
        raise UnknownRecipeError(f"line {self.line} has no recipe {choice!r}; there are {known}")

    def slot(self, number: int) -> RecipeSlot:
        """The recipe of a number that a shot or a verdict names; it may be retired.

        Raises:
            UnknownRecipeError: there is none.
        """
        return self.find(str(number), retired=True)

    def judged_by(self, slot: RecipeSlot) -> JudgedBy:
        """What an `error` says of a recipe, ready or not.

        Raises:
            RecipeNotReadyError: no recipe of the line was ever ready, so that nobody knows the model.
        """
        loaded = slot.loaded
        if loaded is not None:
            return judged_by(loaded)
        if self._model is None:
            raise RecipeNotReadyError(f"line {self.line} has no recipe that is ready")
        return JudgedBy(slot.wire, slot.stored.settings.threshold, True, NO_SHOTS, self._model)

    def add(self, slot: RecipeSlot) -> None:
        """One more recipe."""
        with self._lock:
            self._slots[slot.stored.number] = slot

    def retire(self, slot: RecipeSlot) -> None:
        """From now on nobody finds the recipe to judge by it.

        Raises:
            RecipeError: it is the line's active one, or that of its shadow.
        """
        name, shadow = slot.stored.name, self._shadow
        with self._lock:
            if slot is self._active:
                raise RecipeError(f"line {self.line} judges by recipe {name}; set another one first")
            if shadow is not None and slot is shadow.slot:
                raise RecipeError(f"recipe {name} is the shadow of line {self.line}; end it with `shadow stop` first")
            slot.stored = replace(slot.stored, retired=True)

    def activate(self, slot: RecipeSlot) -> Future[None]:
        """Has the parts that come from now on judged by a recipe; the future is as of `RecipeKeeper.keep_active`.

        Raises:
            UnknownRecipeError: it is retired; parts are judged as before.
        """
        with self._lock:  # the disk is told in the same order
            _refuse_retired(slot)  # it may have been retired since it was found
            self._changed_over = True
            self._active = slot
            self._note_use(slot)
            kept = self._keeper.keep_active(slot)
        self.prepare(slot)
        return kept

    def choose(self, choice: str, *, repeated: bool = False) -> tuple[RecipeSlot, Future[None] | None]:
        """The recipe that a trigger names, for its part and those after it.

        Args:
            choice: Its name or number.
            repeated: Whether the trigger came before. What it says is old, unless the service was ended before it could
                keep it: then nothing has been chosen since.

        Returns:
            The recipe; and where that is another one than before, as `activate`.

        Raises:
            UnknownRecipeError: there is none; parts are judged as before.
        """
        slot = self.find(choice)
        if slot is self._active or (repeated and self._changed_over):
            self.prepare(slot)
            return slot, None
        kept = self.activate(slot)
        if repeated:
            self._changed_over = False  # those that were repeated with it come in their order
        return slot, kept

    def when_ready(self, slot: RecipeSlot, then: Callable[[], None]) -> None:
        """Has `then` called once the recipe is ready, or cannot be: at once, or in the thread that makes it ready."""
        if not slot.when_settled(then):
            self._keeper.prepare(slot)

    def prepare(self, slot: RecipeSlot) -> None:
        """Has a recipe made ready, where it is not; one that could not be is tried again."""
        if slot.loaded is None:
            slot.failure = None
            self._keeper.prepare(slot)

    def release_older(self, most: int) -> None:
        """Lets go of ready recipes, those whose use is longest ago first, until `most` are left besides the active
        one and the shadow's.
        """
        with self._lock:
            needed = [self._active] if self._shadow is None else [self._active, self._shadow.slot]
            ready = [slot for slot in self._used if slot.loaded is not None and slot not in needed]
            for slot in ready[: max(0, len(ready) - most)]:
                slot.release()

    def note_use(self, slot: RecipeSlot) -> None:
        """A recipe was made ready, so that it is not the next to be let go of."""
        with self._lock:
            self._note_use(slot)

    def _note_use(self, slot: RecipeSlot) -> None:
        self._used = [used for used in self._used if used is not slot] + [slot]
        loaded = slot.loaded
        self._model = self._model if loaded is None else loaded.model
