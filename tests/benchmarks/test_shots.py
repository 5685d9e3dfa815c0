"""What it takes to score shots against each other: one search of the index that is there, or an index for each anew.

Seconds are those of the processor, of all its cores together, so that what else runs there hardly counts.

ALFA_EDGE_BENCH_SHOTS is the number of shots (200).
"""

import os
from collections.abc import Callable
from time import process_time
from typing import TypeVar

import pytest
import torch

from core.alfa import Alfa
from core.backbone import DEFAULT, load_backbone
from core.bank.evidence import gather_in_steps
from core.bank.memory import Memory, make_index, search
from core.method import Method
from core.simline import render
from core.vision import Features
from edge.settings_recipe import ShotSettings

SHOTS = int(os.environ.get("ALFA_EDGE_BENCH_SHOTS", "200"))
LIMIT = ShotSettings().limit
T = TypeVar("T")


@pytest.fixture(scope="module")
def alfa() -> Alfa:
    return Alfa(load_backbone(DEFAULT, None), Method(few_shot="evidence"), patches=True)


@pytest.fixture(scope="module")
def shots(alfa: Alfa) -> list[Memory]:
    return [alfa.remember(render("bottle", 1, 5000 + number, 0.0).image) for number in range(SHOTS)]


def timed(work: Callable[[], T]) -> tuple[T, float]:
    began = process_time()
    return work(), process_time() - began


@pytest.mark.timeout(1200)
def test_leaving_one_out_thins_nothing_anew(shots: list[Memory]) -> None:
    """The paper's few-shot map: an index is made once; of each shot it is searched without that shot's own features."""
    device, owners = torch.device("cpu"), range(SHOTS)
    index, made = timed(lambda: make_index(shots, device, LIMIT, owners))

    def left_out(shot: int) -> float:
        others = index.without(shot)
        assert others is not None
        features = Features(torch.empty(1, 0), shots[shot].windows, (), shots[shot].patches)
        return float(search(features, others).patches.amax())

    scores, searched = timed(lambda: [left_out(shot) for shot in owners])
    _, anew = timed(lambda: make_index(shots[1:], device, LIMIT))
    print(
        f"\n{SHOTS} shots, {torch.get_num_threads()} threads: index {made:.1f} s, once; left out and searched "
        f"{searched:.1f} s, {1000 * searched / SHOTS:.0f} ms each; before, an index anew for each: {anew:.1f} s each, "
        f"{SHOTS * anew:.0f} s; ratio {(SHOTS * anew + searched) / searched:.0f}"
    )
    assert len(scores) == SHOTS
    assert searched < SHOTS * anew / 3


@pytest.mark.timeout(1200)
def test_evidence_is_gathered_in_short_steps(alfa: Alfa, shots: list[Memory]) -> None:
    kinds = [kind.name for kind in alfa.feature_maps((240, 240)).kinds]
    maps = [torch.cat(kind) for kind in zip(*(shot.maps for shot in shots), strict=True)]
    steps, longest, began = gather_in_steps(kinds, maps, range(SHOTS), LIMIT), 0.0, process_time()
    while True:
        try:
            longest = max(longest, timed(lambda: next(steps))[1])
        except StopIteration as end:
            evidence = end.value
            break
    print(
        f"\n{SHOTS} shots: {len(evidence.maps[0])} kept, {len(evidence.owners)} left out in turn in "
        f"{process_time() - began:.1f} s, the longest step {1000 * longest:.0f} ms"
    )
