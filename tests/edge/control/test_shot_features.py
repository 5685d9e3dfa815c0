"""While shots are made into features, the device judges the parts of all lines in between."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from core.bank import evidence
from core.bank.shot_checks import FLAGS
from core.simline import render
from tests.support.at_rest import at_rest

SHOTS, VIEWS = 2, 8


def test_each_view_and_each_comparison_is_a_turn_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns, frames, threads = 0, 0, set[str]()
    compare = evidence.nearest_each_way

    def noted(*arguments: Tensor, **named: Any) -> Any:
        threads.add(threading.current_thread().name)
        return compare(*arguments, **named)

    with at_rest(tmp_path, shots={"augment": "all"}) as dispatcher:
        device = dispatcher.enrolment._features._scorer
        ask = device.ask

        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal turns
            turns += 1
            return ask(*arguments, **named)

        monkeypatch.setattr(device, "ask", counted)
        monkeypatch.setattr(evidence, "nearest_each_way", noted)
        pictures = [(str(number), render("bottle", 1, 5000 + number, 0.0).image) for number in range(SHOTS)]
        named = {"who": "eva", "note": "", "accepted": set(FLAGS)}
        enrolling = threading.Thread(
            target=dispatcher.enrolment.enrol, args=(dispatcher.ready("one"), pictures), kwargs=named
        )
        recipe = dispatcher.line("two").recipe
        thread = dispatcher.enrolment.ask(recipe.inspector, lambda _: threading.current_thread().name)
        enrolling.start()
        while enrolling.is_alive():
            device.submit(recipe.inspector, pictures[0][1], recipe.text, line="two").result()
            frames += 1
        enrolling.join()
    assert dispatcher.line("one").recipe.bank.shots == SHOTS
    assert threads == {thread}, "the device has one thread"
    assert turns > SHOTS * VIEWS + 3 * SHOTS, "views, and what each shot has in common with the others"
    assert frames > turns / 3, (frames, turns)
    print(f"{frames} parts of another line in {turns} turns")
