"""A line's next parts, one after the other."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge.clock import monotonic
from edge.control.dispatcher import CommandError, Dispatcher
from edge.control.line_control import LineControl, SeenQueue
from edge.inspection.line_recipes import RecipeSlot
from edge.inspection.recipe import Seen

_LOOK_S = 1.0  # how often it is looked whether the line has ended


class NextParts:
    """What a line judges by a recipe from now on, until enough was seen or the time is over."""

    def __init__(
        self,
        line: LineControl,
        slot: RecipeSlot,
        seen: SeenQueue,
        wanted: int,
        timeout_s: float,
        go_on: Callable[[], None],
    ) -> None:
        self._line = line
        self._slot = slot
        self._name = slot.stored.line
        self._seen = seen
        self._wanted = wanted
        self._timeout_s = timeout_s
        self._go_on = go_on
        self._basis = slot.ready.wire.basis
        self._end = monotonic() + timeout_s
        self._errors = line.stats_so_far()["error"]

    def next(self, shown: int) -> Seen:
        """The line's next part; those that it judges by another recipe or revision are passed over.

        Args:
            shown: How many of those wanted were seen so far.

        Raises:
            CommandError: as `check`; or the line has ended, or shows none in time; or nobody wants them any more.
        """
        while (left := self._end - monotonic()) > 0:
            self._go_on()
            self.check()
            try:
                seen = self._seen.get(timeout=min(left, _LOOK_S))
            except queue.Empty:
                if self._line.health().state in ("stopping", "stopped"):
                    seen = None
                else:
                    continue
            if seen is None:
                raise CommandError(f"line {self._name} has ended after {shown} of {self._wanted} parts")
            if seen.recipe.key == self._slot.stored.key and seen.recipe.wire.basis == self._basis:
                return seen
        raise CommandError(
            f"line {self._name} has shown {shown} of {self._wanted} parts within {self._timeout_s:g} s by recipe "
            f"{self._slot.stored.name}; {self._why_not()}"
        )

    def _why_not(self) -> str:
        if errors := self._line.stats_so_far()["error"] - self._errors:
            look = f"`alfa-edge history --line {self._name} --kind error` says why"
            return f"{errors} came that could not be judged: {look}"
        return "is it running, with parts under its camera, and with triggers for them where its mode is 'trigger'?"

    def check(self) -> None:
        """Raises CommandError: the parts so far are of another region, pack or model than the recipe's of now."""
        if self._slot.ready.wire.basis != self._basis:
            recipe = f"recipe {self._slot.stored.name} of line {self._name}"
            raise CommandError(f"what {recipe} judges by, changed meanwhile; ask again")

    def next_by_now(self, shown: int) -> Seen:
        """As `next`, but passes over parts that were on their way as the shots changed."""
        while True:
            seen = self.next(shown)
            if seen.recipe.scores_are_of == self._slot.ready.scores_are_of:
                return seen


@contextmanager
def next_parts(
    dispatcher: Dispatcher, slot: RecipeSlot, wanted: int, timeout_s: float, go_on: Callable[[], None] = lambda: None
) -> Iterator[NextParts]:
    """Watches what a line judges by a recipe for as long as the context is open.

    `go_on` is called about once a second, and may raise.

    Raises:
        CommandError: it judges no part before there are shots, judges by another recipe, or does not run.
    """
    line = slot.stored.line
    control = dispatcher.line(line)
    if control.recipes.active is not slot:
        raise CommandError(
            f"line {line} judges its next parts by recipe {control.recipes.active.stored.name}, not by "
            f"{slot.stored.name}: name pictures instead, or set the recipe first"
        )
    if dispatcher.enrolment.needs_shots(slot):
        raise CommandError(
            f"line {line} judges no part before it has shots, as method.windows is none; show it pictures (`alfa-edge "
            "learn --good DIR`), or leave the windows in"
        )
    with control.watch() as seen:
        yield NextParts(control, slot, seen, wanted, timeout_s, go_on)
