"""Evidence: what shots reach when they are left out, the say that it gives, and scores that stay apart."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.bank import evidence as module
from core.bank.evidence import Evidence, Level, gather, to_score

SIDE, DEEP = 12, 24
WITHIN = 1  # a tenth of 12


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def line(count: int, *, side: int = SIDE, deep: int = DEEP, noise: float = 0.05, seed: int = 1, own: int = 0) -> Tensor:
    """Pictures of parts in a fixture: each place has its own look, each part a little of its own."""
    look = normal(side, side, deep, seed=seed)
    return F.normalize(look + noise * normal(count, side, side, deep, seed=1000 + own), dim=-1)


def plain(query: Tensor, bank: Sequence[Tensor], within: int | None, *, elsewhere: bool = False) -> Tensor:
    """[R, C] of one part: from each patch to the nearest of all pictures that may be compared, in float64."""
    rows, cols, _ = query.shape
    found = torch.empty(rows, cols, dtype=torch.float64)
    for r in range(rows):
        for c in range(cols):
            distances = torch.stack([(one.double() - query[r, c].double()).norm(dim=-1) for one in bank])
            down, across = (torch.arange(rows) - r).abs(), (torch.arange(cols) - c).abs()
            if within is not None:
                near = (down <= within)[:, None] & (across <= within)
                distances = distances[:, ~near if elsewhere else near]
            found[r, c] = distances.min()
    return found


def plain_missing(query: Tensor, bank: Sequence[Tensor]) -> Tensor:
    """[R, C]: from each patch of a picture to the nearest of the part; of the picture of which least is missing."""
    part = query.double().flatten(0, 1)
    there = [(one.double()[:, :, None] - part).norm(dim=-1).amin(-1) for one in bank]
    return min(there, key=lambda one: float(one.mean()))


def pools(found: Tensor) -> tuple[float, float]:
    """The highest, and the mean of the highest 0.5 %."""
    ordered = found.flatten().sort(descending=True).values
    return float(ordered[0]), float(ordered[: max(1, int(0.005 * len(ordered)))].mean())


def check_level(level: Level, left_out: Sequence[Tensor], unrelated: float) -> None:
    """Mean, spread and weight by the words of the module."""
    if level.source.endswith("missing"):
        means = [float(one.mean()) for one in left_out]
        mean = max(sum(means) / len(means), unrelated if len(means) == 1 else 0.05 * unrelated)
        squares = sum((one - mean) ** 2 for one in means) + 4 * (0.08 * mean) ** 2
        assert level.mean == (pytest.approx(mean, rel=1e-4),)
        assert level.spread == (pytest.approx(math.sqrt(squares / (len(means) - 1 + 4)), rel=1e-3),)
        assert (level.weight, level.map_weight) == (0.0, 0.0)
        return
    for share, reached in enumerate(zip(*(pools(one) for one in left_out), strict=True)):
        mean = max(sum(reached) / len(reached), 0.05 * unrelated)
        squares = sum((one - mean) ** 2 for one in reached) + 4 * (0.08 * mean) ** 2
        assert level.mean[share] == pytest.approx(mean, rel=1e-4)
        assert level.spread[share] == pytest.approx(math.sqrt(squares / (len(reached) - 1 + 4)), rel=1e-3)
    room = max(0.0, unrelated / level.mean[0] - 1)
    assert level.weight == pytest.approx(room**3 + 1e-4, rel=1e-3)
    assert level.map_weight == pytest.approx(room, rel=1e-3, abs=1e-6)


def test_levels_are_what_shots_reach_when_they_are_left_out() -> None:
    one, other = line(4), line(4, side=15, deep=6, noise=0.3, seed=2)
    evidence = gather(["a", "b"], [one, other], range(4))
    assert [level.source for level in evidence.levels] == ["a free", "a place", "b free", "b place", "a missing"]
    assert len(evidence.left_out) == 5
    for number, (bank, within) in enumerate([(one, None), (one, 1), (other, None), (other, 2)]):
        left_out = [plain(bank[s], [bank[o] for o in range(4) if o != s], within) for s in range(4)]
        torch.testing.assert_close(evidence.left_out[number].double(), torch.stack(left_out), rtol=0, atol=1e-5)
        check_level(evidence.levels[number], left_out, module._unrelated(bank))
    missing = [plain_missing(one[s], [one[o] for o in range(4) if o != s]) for s in range(4)]
    torch.testing.assert_close(evidence.left_out[4].double(), torch.stack(missing), rtol=0, atol=1e-5)
    check_level(evidence.levels[4], missing, module._unrelated(one))


def test_unrelated_patches_are_farther_apart_than_three_of_four_pairs() -> None:
    bank = line(3, noise=0.1)
    flat = bank.flatten(0, 2)
    every = torch.cdist(flat.double(), flat.double())
    pairs = every[~torch.eye(len(flat), dtype=torch.bool)].sort().values
    assert module._unrelated(bank) == pytest.approx(float(pairs[len(pairs) * 3 // 4]), rel=0.01)
    assert module._unrelated(bank) == module._unrelated(bank.clone())
    assert module._unrelated(bank[:1, :1, :1]) == 0.0  # one patch and no other
    few = on_background(4)  # a part of a sixth of the picture: most pairs are of the background
    ground, part = few[:, 0, 0], few[:, 4:9, 4:9].flatten(0, 2)
    assert module._unrelated(few) > 0.8 * float(torch.cdist(ground, part).median())


def test_views_of_a_shot_are_left_out_together() -> None:
    bank, owners = line(6), [7, 7, 3, 3, 3, 5]
    evidence = gather(["a"], [bank], owners)
    for number, within in enumerate((None, WITHIN)):
        left_out = [
            plain(bank[first], [bank[o] for o in range(6) if owners[o] != owners[first]], within) for first in (0, 2, 5)
        ]
        torch.testing.assert_close(evidence.left_out[number].double(), torch.stack(left_out), rtol=0, atol=1e-5)
    missing = [
        plain_missing(bank[first], [bank[o] for o in range(6) if owners[o] != owners[first]]) for first in (0, 2, 5)
    ]
    torch.testing.assert_close(evidence.left_out[2].double(), torch.stack(missing), rtol=0, atol=1e-5)
    mixed = gather(["a"], [bank[[0, 2, 1, 3, 5, 4]]], [7, 3, 7, 3, 5, 3])
    for one, other in zip(mixed.left_out, evidence.left_out, strict=True):
        torch.testing.assert_close(one, other[[0, 1, 2]])


def test_of_many_shots_some_are_left_out_evenly() -> None:
    most = module._MOST_LEFT_OUT
    bank = line(most + 8, side=3, deep=5)
    evidence = gather(["a"], [bank], range(most + 8))
    assert len(evidence.maps[0]) == most + 8
    chosen = [round(step * (most + 7) / (most - 1)) for step in range(most)]
    assert evidence.owners == tuple(chosen)
    left_out = [plain(bank[s], [bank[o] for o in range(most + 8) if o != s], None) for s in chosen]
    torch.testing.assert_close(evidence.left_out[0].double(), torch.stack(left_out), rtol=0, atol=1e-5)
    missing = [plain_missing(bank[s], [bank[o] for o in range(most + 8) if o != s]) for s in chosen]
    torch.testing.assert_close(evidence.left_out[2].double(), torch.stack(missing), rtol=0, atol=1e-5)


@pytest.mark.parametrize("views", [1, 3])
def test_one_shot_alone_is_compared_with_itself_elsewhere(views: int) -> None:
    bank = line(1).expand(views, -1, -1, -1).clone()
    bank[0, :, 6:] = bank[0, :, :6] + 0.02 * normal(SIDE, 6, DEEP)  # half of the part looks as the other
    evidence = gather(["a"], [bank], [0] * views)
    wanted = plain(bank[0], [bank[0]], WITHIN, elsewhere=True)
    for number in range(3):
        torch.testing.assert_close(evidence.left_out[number][0].double(), wanted, rtol=0, atol=1e-3)
        check_level(evidence.levels[number], [wanted], module._unrelated(bank))
    scores, _ = evidence.judge([bank])
    assert bool((scores < evidence.shots()[0]).all())


def test_one_shot_no_larger_than_a_place_is_compared_with_all_of_itself() -> None:
    for rows, cols in ((1, 1), (1, 2), (2, 2)):
        bank = normal(1, rows, cols, 5)
        evidence = gather(["a"], [bank], [0])
        apart = torch.cdist(bank.flatten(0, 2), bank.flatten(0, 2)).fill_diagonal_(torch.inf).amin(1)
        wanted = apart.where(apart.isfinite(), 0.0).view(1, rows, cols)
        for found in evidence.left_out:
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        assert all(bool(one.isfinite().all()) for one in evidence.judge([normal(2, rows, cols, 5, seed=4)]))


def by_hand(evidence: Evidence, part: Sequence[Tensor], size: tuple[int, int]) -> tuple[float, Tensor]:
    """Score and map of one part."""
    total = sum(level.weight for level in evidence.levels[:-1])
    mapped = sum(level.map_weight for level in evidence.levels)
    score, heat = 0.0, torch.zeros(size, dtype=torch.float64)

    def said_by(level: Level, found: Tensor) -> float:
        zs = [(one - m) / s for one, m, s in zip(pools(found), level.mean, level.spread, strict=True)]
        return level.weight / total * sum(zs) / len(zs)

    for kind, (query, bank) in enumerate(zip(part, evidence.maps, strict=True)):
        for how, within in enumerate((None, max(1, round(0.1 * len(query))))):
            level = evidence.levels[2 * kind + how]
            found = plain(query, list(bank), within)
            score += said_by(level, found)
            high = F.interpolate(found[None, None], size, mode="bilinear")[0, 0]
            heat += level.map_weight / mapped * (high - level.mean[0]) / level.spread[0]
    missing, gone = evidence.levels[-1], plain_missing(part[0], list(evidence.maps[0]))
    beyond = max(0.0, (float(gone.mean()) - missing.mean[0]) / missing.spread[0] - 2.5)
    return score + min(beyond, 1.0) * (max(score, 0.0) - score) + beyond, heat


def squash(z: float) -> float:
    return (1 + (z - 3) / (4 + abs(z - 3))) / 2


def test_scores_and_maps_are_the_weighted_z_of_all_sources() -> None:
    shots = [line(4), line(4, side=15, deep=6, noise=0.3, seed=2)]
    parts = [line(3, own=1), line(3, side=15, deep=6, noise=0.3, seed=2, own=1)]
    parts[0][1, 3, 8] = normal(DEEP, seed=8)
    evidence = gather(["a", "b"], shots, range(4))
    scores, maps = evidence.judge(parts)
    assert scores.shape == (3,)
    assert maps.shape == (3, 15, 15)
    for number in range(3):
        z, heat = by_hand(evidence, [one[number] for one in parts], (15, 15))
        assert float(scores[number]) == pytest.approx(squash(z), abs=1e-5)
        torch.testing.assert_close(maps[number].double(), heat.apply_(squash), rtol=0, atol=1e-5)


def test_a_batch_is_as_one_by_one() -> None:
    evidence = gather(["a"], [line(3)], range(3)).heard(torch.tensor([[0.1], [0.2], [0.15]]))
    parts, texts = line(4, own=1), torch.tensor([[0.1], [0.9], [0.3], [0.0]])
    scores, maps = evidence.judge([parts], texts)
    for number in range(4):
        score, heat = evidence.judge([parts[number, None]], texts[number, None])
        torch.testing.assert_close(score[0], scores[number], rtol=0, atol=1e-5)
        torch.testing.assert_close(heat[0], maps[number], rtol=0, atol=1e-5)


def test_a_known_part_is_below_every_shot_and_a_foreign_patch_above_all() -> None:
    bank = line(5)
    evidence = gather(["a"], [bank], range(5))
    left_out, shot_maps = evidence.shots()
    assert left_out.shape == (5,)
    assert shot_maps.shape == (5, SIDE, SIDE)
    known, _ = evidence.judge([bank])
    assert float(known.max()) < float(left_out.min())
    good, good_maps = evidence.judge([line(5, own=1)])
    foreign = line(1, own=2)
    foreign[0, 9, 2] = F.normalize(normal(DEEP, seed=77), dim=0)
    score, heat = evidence.judge([foreign])
    assert float(score) > max(0.5, float(left_out.max()), float(good.max()))
    assert divmod(int(heat[0].argmax()), SIDE) == (9, 2)
    assert float(heat.max()) > max(float(shot_maps.max()), float(good_maps.max()))


def test_what_is_missing_in_a_fixture_is_found_by_its_place() -> None:
    evidence = gather(["a"], [line(5)], range(5))
    free, place, _ = evidence.levels
    assert place.weight > 0.5 * free.weight > 0
    missing = line(1, own=3)
    missing[0, 4:6, 7:9] = missing[0, 10:12, 1:3]  # what belongs elsewhere is seen here
    score, heat = evidence.judge([missing])
    assert float(score) > max(0.5, float(evidence.shots()[0].max()))
    row, col = divmod(int(heat[0].argmax()), SIDE)
    assert 4 <= row < 6
    assert 7 <= col < 9


def lying_anyhow(count: int) -> Tensor:
    return torch.stack([one.roll((5 * n, 3 * n), (0, 1)) for n, one in enumerate(line(count))])


def without_missing(evidence: Evidence) -> Evidence:
    *others, missing = evidence.levels
    return replace(evidence, levels=(*others, replace(missing, mean=(1e9,))))


def test_where_parts_lie_anyhow_the_place_has_no_say() -> None:
    evidence = gather(["a"], [lying_anyhow(5)], range(5))
    weights = evidence.weights
    assert weights["a place"] < 0.01 < 0.99 < weights["a free"]
    moved = line(1, own=4).roll((2, 7), (1, 2))
    score, _ = evidence.judge([moved])
    assert float(score) < 0.4


def test_where_much_is_missing_it_is_found_where_parts_lie_anyhow() -> None:
    evidence = gather(["a"], [lying_anyhow(5)], range(5))
    whole = line(1, own=4).roll((2, 7), (1, 2))
    gone = whole.clone()
    half = SIDE // 2
    gone[0, :half] = gone[0, half : 2 * half]  # nothing is there that shots do not have, but half of what they have
    score, heat = evidence.judge([gone])
    assert float(score) > max(0.5, float(evidence.shots()[0].max()))
    deaf = without_missing(evidence)
    assert float(deaf.judge([gone])[0]) < 0.4
    assert float(heat.max()) < 0.5  # of which the part shows no place
    scores, _ = evidence.judge([torch.cat([gone, whole])])
    assert float(scores[0]) == pytest.approx(float(score), abs=1e-5)
    assert float(scores[1]) < 0.4


def on_background(count: int, *, side: int = 5, own: int = 0) -> Tensor:
    """Small parts in the middle of a plain background; of side 0 an empty fixture."""
    pictures = normal(DEEP, seed=40).expand(count, SIDE, SIDE, -1).clone()
    pictures[:, 4 : 4 + side, 4 : 4 + side] = normal(side, side, DEEP, seed=41)
    return F.normalize(pictures + 0.05 * normal(count, SIDE, SIDE, DEEP, seed=2000 + own), dim=-1)


@pytest.mark.parametrize("step", [0, 5])  # all at one place, or anyhow
def test_an_empty_fixture_scores_above_every_shot(step: int) -> None:
    shots = torch.stack([one.roll((step * n, -step * n), (0, 1)) for n, one in enumerate(on_background(5))])
    evidence = gather(["a"], [shots], range(5))
    score, _ = evidence.judge([on_background(1, side=0, own=1)])
    good, _ = evidence.judge([on_background(5, own=2).roll((step, step), (1, 2))])
    assert float(score) > max(0.5, float(evidence.shots()[0].max()), float(good.max()))
    if step:
        assert float(without_missing(evidence).judge([on_background(1, side=0, own=1)])[0]) < 0.5


def test_what_has_no_room_is_not_heard() -> None:
    noise = F.normalize(normal(4, SIDE, SIDE, 400), dim=-1)
    evidence = gather(["a", "noise"], [line(4), noise], range(4))
    assert evidence.weights["noise free"] + evidence.weights["noise place"] < 0.01
    flat = line(4)
    flat[:, 0] = normal(4, SIDE, DEEP, seed=5) * 9  # in each part something new, farther than any two
    mute = gather(["a", "flat"], [line(4), flat], range(4))
    assert [level.weight for level in mute.levels[2:4]] == [1e-4, 1e-4]
    assert mute.weights["flat free"] + mute.weights["flat place"] < 1e-6
    parts = [line(2, own=1), flat[:2] * 100]
    alone = gather(["a"], [line(4)], range(4)).judge(parts[:1])
    for one, other in zip(mute.judge(parts), alone, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_where_no_map_has_room_all_have_the_same_say() -> None:
    flat = line(4)
    flat[:, 0] = normal(4, SIDE, DEEP, seed=5) * 9
    mute = gather(["flat"], [flat], range(4))
    assert mute.weights == {
        "flat free": pytest.approx(1 / 2),
        "flat place": pytest.approx(1 / 2),
    }
    (score, *_), heat = mute.judge([torch.cat([flat[:1] * 100, flat[1:2]])])
    shots, shot_maps = mute.shots()
    assert float(score) > max(0.5, float(shots.max()))  # far away it is still told
    assert float(heat[0].max()) > max(0.5, float(shot_maps.max()))
    z, _ = by_hand(mute, [flat[1]], (SIDE, SIDE))
    assert float(mute.judge([flat[1:2]])[0]) == pytest.approx(squash(z), abs=1e-4)
    deaf = mute.heard(torch.full((4, 1), 0.7))
    assert deaf.weights == {**mute.weights, "text": 0.0}
    torch.testing.assert_close(deaf.judge([flat[:2]], torch.rand(2, 1))[0], mute.judge([flat[:2]])[0])


def test_text_is_heard_by_what_it_says_of_the_shots() -> None:
    evidence = gather(["a"], [line(4)], range(4))
    before = 1.0
    for mean in (0.0, 0.1, 0.3, 0.45, 0.49):
        (level,) = evidence.heard(torch.full((4, 1), mean)).text
        assert (level.source, level.mean) == ("text", (pytest.approx(mean),))
        assert level.spread == (pytest.approx(0.1 * math.sqrt(4 / 7)),)
        assert level.weight == pytest.approx((1 - 2 * mean) ** 3, rel=1e-4)
        assert 0 < level.weight <= before
        before = level.weight
    parts = line(3, own=1)
    wanted = evidence.judge([parts])
    for mean in (0.5, 0.8, 1.0):
        hushed = evidence.heard(torch.full((4, 2), mean))
        assert [level.weight for level in hushed.text] == [0.0, 0.0]
        for one, other in zip(hushed.judge([parts], torch.rand(3, 2)), wanted, strict=True):
            torch.testing.assert_close(one, other)


def test_text_and_patches_share_the_say_by_their_weights() -> None:
    evidence, parts = gather(["a"], [line(4)], range(4)), line(2, own=1)
    said = torch.tensor([[0.1, 0.2], [0.2, 0.3], [0.0, 0.3], [0.1, 0.4]])
    heard, texts = evidence.heard(said), torch.tensor([[0.9, 0.8], [0.1, 0.2]])
    assert [level.source for level in heard.text] == ["text", "text windows"]
    for number, score in enumerate(heard.judge([parts], texts)[0].tolist()):
        z, whole = by_hand(evidence, [parts[number]], (SIDE, SIDE))[0], 1.0  # patches have 1 together
        for column, level in enumerate(heard.text):
            values = said[:, column].tolist()
            mean = sum(values) / 4
            spread = math.sqrt((sum((one - mean) ** 2 for one in values) + 4 * 0.1**2) / 7)
            z += (1 - 2 * mean) ** 3 * (float(texts[number, column]) - mean) / spread
            whole += (1 - 2 * mean) ** 3
            assert level.spread[0] == pytest.approx(spread, rel=1e-4)
        assert score == pytest.approx(squash(z / whole), abs=1e-5)
    patches = sum(evidence.levels[n].weight for n in range(2))
    for level in evidence.levels[:2]:
        assert heard.weights[level.source] == pytest.approx(level.weight / patches / whole)
    torch.testing.assert_close(heard.judge([parts], texts)[1], evidence.judge([parts])[1])  # words have no place
    torch.testing.assert_close(heard.judge([parts])[0], evidence.judge([parts])[0])
    shots = torch.cat(
        [evidence.heard(said)._fuse([one[[n]] for one in heard.left_out], said[[n]])[0] for n in range(4)]
    )
    torch.testing.assert_close(heard.shots()[0], shots)
    assert sum(heard.weights.values()) == pytest.approx(1)
    assert len(heard.weights) == 4


def test_text_has_the_say_beside_patches_without_room_that_it_has_beside_others() -> None:
    flat = line(4)
    flat[:, 0] = normal(4, SIDE, DEEP, seed=5) * 9
    evidence = gather(["flat"], [flat], range(4))
    heard = evidence.heard(torch.full((4, 1), 0.1))
    say = 0.8**3 / (1 + 0.8**3)
    assert heard.weights["text"] == pytest.approx(say)
    others = gather(["a"], [line(4)], range(4)).heard(torch.full((4, 1), 0.1))
    assert others.weights["text"] == pytest.approx(say)
    (level,) = heard.text
    z = (1 - say) * by_hand(evidence, [flat[0]], (SIDE, SIDE))[0] + say * (0.6 - 0.1) / level.spread[0]
    score, _ = heard.judge([flat[:1]], torch.tensor([[0.6]]))
    assert float(score) == pytest.approx(squash(z), abs=1e-4)


def test_scores_stay_apart_and_within_their_bounds() -> None:
    steps = torch.logspace(-3, 4, 3000)
    z = torch.cat([3 - steps.flip(0), torch.tensor([3.0]), 3 + steps])
    scores = to_score(z)
    assert bool((scores.diff() > 0).all())
    assert float(to_score(torch.tensor(3.0))) == 0.5
    assert float(to_score(torch.tensor(7.0))) == pytest.approx(0.75)
    for value in z[::97].tolist():
        assert float(to_score(torch.tensor(value))) == pytest.approx(squash(value), rel=1e-5)
    far = to_score(torch.tensor([-3e38, -1e9, -1e7, 1e7, 1e9, 3e38]))
    assert bool(((far > 0) & (far < 1)).all())
    assert bool((far.diff() >= 0).all())


def test_of_more_views_than_the_limit_those_that_differ_most_are_kept() -> None:
    bank = line(9, side=4, noise=0.01)
    for number in (2, 5, 8):
        bank[number] = line(1, side=4, seed=30 + number)[0]
    small = normal(9, 2, 2, 3)[:1].expand(9, -1, -1, -1)
    evidence = gather(["a", "b"], [bank, small], range(9), limit=4 * 16 + 15)
    kept = [next(n for n in range(9) if torch.equal(one, bank[n])) for one in evidence.maps[0]]
    assert len(kept) == 4
    assert kept == sorted(kept)
    assert {2, 5, 8} < set(kept)
    assert len(evidence.maps[1]) == 4
    again = gather(["a", "b"], [bank, small], range(9), limit=4 * 16 + 15)
    assert again.levels == evidence.levels
    assert all(torch.equal(one, other) for one, other in zip(again.maps, evidence.maps, strict=True))
    every = gather(["a"], [bank], range(9))
    assert len(every.maps[0]) == len(gather(["a"], [bank], range(9), limit=9 * 16).maps[0]) == 9
    assert len(gather(["a"], [bank], range(9), limit=1).maps[0]) == 2  # to leave one out takes two


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_banks_in_half_precision_are_what_they_are_in_single(dtype: torch.dtype) -> None:
    half, parts = line(3).to(dtype), line(2, own=1)
    evidence, wanted = gather(["a"], [half], range(3)), gather(["a"], [half.float()], range(3))
    assert evidence.levels == wanted.levels
    for one, other in zip(evidence.judge([parts]), wanted.judge([parts]), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)
    assert all(bool(((one > 0) & (one < 1)).all()) for one in evidence.judge([parts.to(dtype)]))


def test_equal_shots_leave_room_and_scores_below_one() -> None:
    bank = line(1).expand(3, -1, -1, -1)
    evidence = gather(["a"], [bank], range(3))
    for found in (*evidence.judge([torch.cat([bank, -bank, line(2, own=1)])]), *evidence.shots()):
        assert bool(((found > 0) & (found < 1)).all())


@pytest.mark.parametrize("others", [0, 1])
def test_a_picture_that_was_enrolled_twice_leaves_sane_scores(others: int) -> None:
    one, other = line(2).split(1)
    bank = torch.cat([one, one] + [other] * others)
    evidence = gather(["a"], [bank], range(2 + others))
    unrelated = module._unrelated(bank)
    for level in evidence.levels:
        assert level.mean == pytest.approx((0.05 * unrelated,) * len(level.mean))  # more than they reach
    good, _ = evidence.judge([line(10, own=1)])
    assert float(good.max()) < 0.4
    bad = line(3, own=2)
    bad[0, 9, 2] = F.normalize(normal(DEEP, seed=77), dim=0)  # foreign
    bad[1, 4, 7] = bad[1, 10, 1]  # gone
    bad[2] = bad[2, 5, 5]  # all of it
    scores, _ = evidence.judge([bad])
    assert float(scores.min()) > max(0.5, float(evidence.shots()[0].max()))


@pytest.mark.parametrize(
    ("maps", "owners"),
    [([], []), ([line(0)], []), ([line(2)], [0]), ([line(2), line(3)], [0, 1]), ([line(2), line(2)], [0, 1])],
)
def test_counts_that_do_not_fit_are_refused(maps: list[Tensor], owners: list[int]) -> None:
    with pytest.raises(ValueError, match=rf"{len(owners)} views of shots, maps of .*: at least one, and as many"):
        gather(["a"], maps, owners)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_refused(count: int, bad: float) -> None:
    bank, part = line(count), line(1, own=1)
    evidence = gather(["a"], [bank], range(count))
    broken, part[0, 3, 3, 1] = bank.clone(), bad
    broken[-1, 2, 2, 0] = bad
    with pytest.raises(ValueError, match="not finite"):
        gather(["a"], [broken], range(count))
    with pytest.raises(ValueError, match="not finite"):
        evidence.judge([part])
    said = torch.full((count, 1), 0.1)
    with pytest.raises(ValueError, match="not finite"):
        evidence.heard(said.clone().index_fill(0, torch.tensor([0]), bad))
    with pytest.raises(ValueError, match="not finite"):
        evidence.heard(said).judge([line(1, own=1)], torch.tensor([[bad]]))


def test_text_that_does_not_fit_is_refused() -> None:
    evidence, part = gather(["a"], [line(3)], range(3)), [line(2, own=1)]
    for shape in ((3,), (3, 0), (3, 3), (2, 1), (1, 1)):
        with pytest.raises(ValueError, match=r"scores of the text side \[.*\]: .* \[3, 1\] or \[3, 2\]"):
            evidence.heard(torch.full(shape, 0.1))
    heard = evidence.heard(torch.full((3, 2), 0.1))
    for shape in ((2, 1), (1, 2), (2,), (2, 3)):
        with pytest.raises(ValueError, match=r"scores of the text side \[.*\]: .* \[2, 2\]"):
            heard.judge(part, torch.full(shape, 0.1))


def test_maps_of_another_shape_are_refused() -> None:
    evidence = gather(["a"], [line(2)], range(2))
    with pytest.raises(ValueError, match="differ in rows, columns or dimensions"):
        evidence.judge([line(1, side=11)])
    with pytest.raises(ValueError, match="argument 2"):
        evidence.judge([line(1), line(1)])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_says_the_same() -> None:
    maps, parts = [line(4), line(4, side=15, deep=6, noise=0.3, seed=2)], [line(2, own=1), line(2, side=15, deep=6)]
    said, texts = torch.full((4, 2), 0.2), torch.full((2, 2), 0.3)
    here = gather(["a", "b"], maps, range(4), limit=3 * 225).heard(said)
    there = gather(["a", "b"], [one.cuda() for one in maps], range(4), limit=3 * 225).heard(said.cuda())
    assert len(here.maps[0]) == len(there.maps[0]) == 3
    found = (*there.judge([one.cuda() for one in parts], texts.cuda()), *there.shots())
    for one, other in zip(found, (*here.judge(parts, texts), *here.shots()), strict=True):
        assert one.device.type == "cuda"
        torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-3)


def test_of_many_views_each_shot_is_kept_as_it_is() -> None:
    shots = torch.cat([line(3), line(1, seed=9) + 3])  # the last one is unlike the others
    views = torch.cat([torch.stack([shots[n].roll(turn, 0) for turn in range(6)]) for n in range(4)])
    owners = [n for n in range(4) for _ in range(6)]
    size = views.shape[1] * views.shape[2]
    for limit, kept in ((5 * size, 5), (4 * size, 4), (1, 2)):
        evidence = gather(["a"], [views], owners, limit)
        assert len(evidence.maps[0]) == kept
        assert len(evidence.owners) == min(kept, 4)
    every = gather(["a"], [views], owners, 4 * size)
    assert every.owners == (0, 1, 2, 3)
    torch.testing.assert_close(every.maps[0], shots)
