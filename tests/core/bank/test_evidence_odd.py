"""An empty fixture, a lens cap, another product: never the most normal of their class. On simulated parts.

With four shots of the class, what is no such part at all scores above each of ten good parts.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from core.backbone import BUNDLED, load_backbone
from core.bank.evidence import gather
from core.bank.feature_maps import FeatureMaps
from core.image import Rgb
from core.simline import SIZE, render, world
from core.towers import LITE0, load_tower

LINE = 1
OTHERS = {"metal_plate": "bottle_cap", "bottle_cap": "gear", "gear": "metal_plate", "glass": "label"}


@pytest.fixture(scope="module")
def maps() -> FeatureMaps:
    return FeatureMaps(load_backbone(BUNDLED, None, "cpu", "fp32"), load_tower(LITE0), (SIZE, SIZE))


@pytest.fixture(scope="module")
def judged(maps: FeatureMaps) -> Callable[[str], tuple[list[float], dict[str, float]]]:
    """Of a class the scores of ten good parts, and of what is none."""

    def judge(name: str) -> tuple[list[float], dict[str, float]]:
        shots = [render(name, LINE, index, 0.0).image for index in range(4)]
        evidence = gather([kind.name for kind in maps.kinds], maps(shots), range(4))

        def scores(pictures: list[Rgb]) -> list[float]:
            return [float(evidence.judge(maps([one]))[0]) for one in pictures]

        edges = [shots[0][0], shots[0][-1], shots[0][:, 0], shots[0][:, -1]]
        odd = {
            "a grey wall": plain(128),
            "a lens cap": plain(0),
            "another product": render(OTHERS[name], LINE, 7, 0.0).image,
            "an empty fixture": empty(name),
            "the colour of the border": plain(*np.concatenate(edges).mean(0)),
        }
        good = scores([render(name, LINE, 100 + index, 0.0).image for index in range(10)])
        return good, dict(zip(odd, scores(list(odd.values())), strict=True))

    return judge


def plain(*colour: float) -> Rgb:
    return np.full((SIZE, SIZE, 3), colour if len(colour) == 3 else colour * 3, np.uint8)


def empty(name: str) -> Rgb:
    """The line's camera and table, and no part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "_dusted", lambda scene, part: replace(scene, picture=scene.background))
        return render(name, LINE, 50, 0.0).image


@pytest.mark.parametrize("name", ["metal_plate", "bottle_cap", "gear", "glass"])
def test_what_is_no_such_part_scores_above_every_good_one(
    judged: Callable[[str], tuple[list[float], dict[str, float]]], name: str
) -> None:
    good, odd = judged(name)
    assert max(good) < 0.5
    assert {what: score for what, score in odd.items() if score <= max(good)} == {}
