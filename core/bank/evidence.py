"""Few-shot by evidence: many sources compare a part with the normal shots, and each has the say that it has earned.

A source is a feature map, free or held to the same place, or the text side. Before it may speak it is measured against
the shots themselves, which are known to be good: each is left out and compared with the others. Of what they reach,
the source keeps the mean m and the spread s. A part that reaches x then counts as z = (x - m) / s.

The weight is the cube of the room above the shots, (u / m - 1)^3, where u is the distance of patches that have nothing
to do with each other. A source for which one good part is as strange to the others as any patch to any other has no
room to show a defect, and hardly a say: the same place where parts lie anyhow, or coarse features of fine line art.
For the text side, beside patches that have 1 together, it is (1 - 2 m)^3: text that calls the shots anomalous
(m >= 0.5) is not heard.

In the map the weight is the room itself: one place is compared with others, not one part with others, and there the
averaged maps, which have little room, do better.

Patches of the part are looked for in the shots, and those of the shots in the part. Where beyond doubt much is missing
that adds to the score, and that all else is normal takes nothing from it: a fixture without a part is no normal one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from core.bank.coreset import select
from core.bank.neighbours import check_finite, check_maps, nearest, nearest_both, nearest_each_way
from core.bank.scorers import top_mean
from core.steps import Steps, finish

SHARES = (0.0, 0.005)
"""Extents of pooling: the most anomalous patch, and the mean of the most anomalous 0.5 %."""
_PLACE = 0.1  # a place reaches so far to each side, in shares of the map's side
# A spread measured on a few shots is mixed with one that sources usually have, as if that were so many shots more.
_USUAL_SPREAD, _USUAL_COUNT = 0.08, 4
_TEXT_SPREAD = 0.1  # of a score in [0, 1]
_MOST_LEFT_OUT = 64  # shots that are left out in turn; each costs a comparison with all
_UNRELATED, _APART = 1_500, 0.75  # patches drawn for the distance of unrelated ones, and the quantile that it is: of
# a small part most pairs are background and background
_LEAST_MEAN = 0.05  # of that distance: the same picture enrolled twice reaches nothing
_DOUBT = 2.5  # what is missing adds to the score above this z, which no good photograph reached (most: 2.2)
# Where no map has room they have the same say, and a part that is far away is still told.
_LEAST_WEIGHT, _LEAST_MAP_WEIGHT = 1e-4, 1e-6
_CENTRE, _WIDTH = 3.0, 4.0  # the z that a score of 0.5 stands for, and what carries it half of the way to 1
FREE, PLACE, MISSING = "free", "place", "missing"
GLOBAL, WINDOWS = "text", "text windows"


@dataclass(frozen=True)
class Level:
    """What normal shots reach in one source, and the say that it has for that.

    Attributes:
        source: The map's kind and how it is compared, or which part of the text side.
        mean: Of what each shot reaches when it is left out, for each of `SHARES`.
        spread: The same; above 0.
        weight: In the image's score, 0 and above; only the proportions matter.
        map_weight: In the map, the same; 0 where the part shows no place.
    """

    source: str
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weight: float
    map_weight: float = 0.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """Normal shots and what they are compared in. Of maps of one shape each; resident on the device.

    Attributes:
        maps: The shots' feature maps of each kind, [V, R, C, d]; V counts shots and their views.
        levels: Two of each kind: free, and held to the place; then how much of the shots is missing, by the first kind.
        owners: The shots that were left out in turn, as `gather` was told them.
        left_out: Of each level, what they reach then, float32 [S, R, C].
        text: None, or two: S_G and the largest S~_L.
        shot_texts: What the shots that were left out reach there, float32 [S, n]; n is the number of `text`.
    """

    maps: tuple[Tensor, ...]
    levels: tuple[Level, ...]
    owners: tuple[int, ...]
    left_out: tuple[Tensor, ...]
    text: tuple[Level, ...] = ()
    shot_texts: Tensor | None = None

    def heard(self, scores: Tensor) -> Evidence:
        """With the text side, which scores the shots that were left out like this.

        Args:
            scores: [S, 1] or [S, 2]: S_G and, with windows, the largest S~_L, in [0, 1].

        Raises:
            ValueError: they are of another shape, or not all finite numbers.
        """
        _check_texts(scores, len(self.left_out[0]), (1, 2))
        levels = tuple(
            _level_of_text(name, column)
            for name, column in zip((GLOBAL, WINDOWS), scores.float().unbind(1), strict=False)
        )
        return replace(self, text=levels, shot_texts=scores.float())

    def judge(self, maps: Sequence[Tensor], texts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores [B] and the map [B, rows, cols] of parts, in (0, 1): 0.5 where they lie clearly above the shots.

        Args:
            maps: Of each kind float32 [B, R, C, d].
            texts: As `heard` takes them, of the parts; None where the text side is not heard.

        Raises:
            ValueError: shapes do not fit, or not all numbers are finite.
        """
        if texts is not None and self.text:
            _check_texts(texts, len(maps[0]), (len(self.text),))
        found = []
        for query, bank in zip(maps, self.maps, strict=True):
            free, held = nearest_both(query, bank, _within(bank))
            found += [free.amin(1), held.amin(1)]
        found.append(_least(nearest(self.maps[0], maps[0].float())))
        return self._fuse(found, texts)

    def shots(self) -> tuple[Tensor, Tensor]:
        """What the shots reach when they are left out: scores [S] and maps [S, rows, cols], as `judge` gives them."""
        return self._fuse(list(self.left_out), self.shot_texts)

    def _fuse(self, distances: Sequence[Tensor], texts: Tensor | None) -> tuple[Tensor, Tensor]:
        size = max((one.shape[1:] for one in distances), key=lambda shape: shape[0] * shape[1])
        total, mapped = (sum(getattr(level, name) for level in self.levels) for name in ("weight", "map_weight"))
        image = torch.zeros_like(distances[0][:, 0, 0])
        fused = image.new_zeros(len(image), *size)
        for level, found in zip(self.levels, distances, strict=True):
            if level.source.endswith(MISSING):  # the last one: that what is there is normal says little then
                gone = ((found.mean((1, 2)) - level.mean[0]) / level.spread[0] - _DOUBT).clamp_min(0)
                image = torch.lerp(image, image.clamp_min(0), gone.clamp_max(1)) + gone
                continue
            pools = zip(SHARES, level.mean, level.spread, strict=True)
            image += level.weight / total * torch.stack([(top_mean(found, n) - m) / s for n, m, s in pools]).mean(0)
            if level.map_weight:
                high = F.interpolate(found[:, None], tuple(size), mode="bilinear", align_corners=False)[:, 0]
                fused += level.map_weight / mapped * (high - level.mean[0]) / level.spread[0]
        if texts is not None and self.text:
            weights = torch.tensor([level.weight for level in self.text], device=image.device)
            means, spreads = (
                torch.tensor([getattr(level, name)[0] for level in self.text], device=image.device)
                for name in ("mean", "spread")
            )
            heard = (weights * (texts.to(image.device) - means) / spreads).sum(-1)
            image = (image + heard) / (1.0 + float(weights.sum()))
        return to_score(image), to_score(fused)

    @property
    def weights(self) -> dict[str, float]:
        """The share of the say of each source, by name; together 1. What is missing has none: it adds to the score."""
        total = sum(level.weight for level in self.levels)
        say = {level.source: level.weight / total for level in self.levels if not level.source.endswith(MISSING)}
        say |= {level.source: level.weight for level in self.text}
        whole = 1.0 + sum(level.weight for level in self.text)
        return {source: share / whole for source, share in say.items()}


def gather(names: Sequence[str], maps: Sequence[Tensor], owners: Sequence[int], limit: int | None = None) -> Evidence:
    """The evidence of shots.

    Args:
        names: Of the kinds of maps.
        maps: Of each kind [V, R, C, d], floating, on the device.
        owners: The shot of each of the V views; views of one shot are left out together.
        limit: The most patches of a kind; of more, each shot as it is goes before its views, then pictures that differ
            most. None keeps all.

    Raises:
        ValueError: there is no shot, counts do not fit, or not all numbers are finite.
    """
    return finish(gather_in_steps(names, maps, owners, limit))


def gather_in_steps(
    names: Sequence[str], maps: Sequence[Tensor], owners: Sequence[int], limit: int | None = None
) -> Steps[Evidence]:
    """As `gather`, in steps of about the cost of one part each, so that the device can judge parts in between."""
    if not len(owners) or any(len(one) != len(owners) for one in maps) or len(names) != len(maps):
        raise ValueError(
            f"{len(owners)} views of shots, maps of {[len(one) for one in maps]}: at least one, and as many"
        )
    for name, one in zip(names, maps, strict=True):
        check_maps(name, one)
        check_finite(name, one)
    keep = _keep(maps, owners, limit)
    yield
    kept = [one[keep].float() for one in maps]
    whose = torch.tensor(list(owners), device=kept[0].device)[keep]
    firsts = _firsts(whose)
    levels, left_out = [], []
    gone: list[Tensor] = []
    for name, bank in zip(names, kept, strict=True):
        free, held, missing = yield from _leave_out(bank, whose, firsts)
        unrelated = _unrelated(bank)
        for how, found in ((FREE, free), (PLACE, held)):
            levels.append(_level(f"{name} {how}", found, unrelated))
            left_out.append(found)
        gone.append(missing)
    left_out.append(gone[0])
    levels.append(_level_of_missing(f"{names[0]} {MISSING}", left_out[-1], _unrelated(kept[0])))
    left = tuple(int(whose[place]) for place in firsts)
    return Evidence(tuple(kept), tuple(levels), left, tuple(left_out))


def views_kept(maps: Sequence[Sequence[Tensor]], owners: Sequence[int], limit: int | None) -> list[int]:
    """Of V views of shots in tiles those that `gather` keeps, the same ones for each place of a tile.

    Args:
        maps: Of each view those of each kind, [T, R, C, d] of T tiles.
        owners: The shot of each view.
        limit: The most patches of a kind at each place; None keeps all.
    """
    if limit is None:
        return list(range(len(owners)))
    tiles = len(maps[0][0])
    joined = [torch.stack([one.flatten(0, 1) for one in kind]) for kind in zip(*maps, strict=True)]
    return _keep(joined, owners, limit * tiles)


def to_score(z: Tensor) -> Tensor:
    """z, any number, to (0, 1): 0.5 at `_CENTRE`; it never saturates, so that scores stay apart."""
    u = (z - _CENTRE) / _WIDTH
    rest = 0.5 / (1 + u.abs())  # to the nearer end
    return rest.where(u < 0, (1 - rest).clamp_max(1 - torch.finfo(rest.dtype).eps / 2))


def _check_texts(scores: Tensor, rows: int, columns: tuple[int, ...]) -> None:
    if scores.ndim != 2 or len(scores) != rows or scores.shape[1] not in columns:
        wanted = " or ".join(f"[{rows}, {count}]" for count in columns)
        raise ValueError(f"scores of the text side {list(scores.shape)}: here they are {wanted}")
    check_finite("scores of the text side", scores)


def _within(bank: Tensor) -> int:
    return max(1, round(_PLACE * math.sqrt(bank.shape[1] * bank.shape[2])))


def _firsts(owners: Tensor) -> list[int]:
    """The first view of each shot that is left out, evenly spaced over the shots."""
    seen: dict[int, int] = {}
    for place, owner in enumerate(owners.tolist()):
        seen.setdefault(owner, place)
    places = list(seen.values())
    if len(places) <= _MOST_LEFT_OUT:
        return places
    return [places[round(step * (len(places) - 1) / (_MOST_LEFT_OUT - 1))] for step in range(_MOST_LEFT_OUT)]


def _leave_out(bank: Tensor, owners: Tensor, firsts: list[int]) -> Steps[tuple[Tensor, Tensor, Tensor]]:
    """What shots reach, [S, R, C], when they are left out: free, held to the place, and what is missing of the others.

    Two shots are compared once, for both. One shot alone is compared with itself, other places only: how strange one
    patch of a good part is to the others.
    """
    within, whose = _within(bank), owners.tolist()
    if len(set(whose)) == 1:
        alone = _elsewhere(bank[0], within)[None]
        return alone, alone, alone
    free, held, missing = (bank.new_full((len(firsts), *bank.shape[1:3]), torch.inf) for _ in range(3))
    least = bank.new_full((len(firsts),), torch.inf)

    def miss(shot: int, found: Tensor) -> None:
        """Keeps what is missing of the view of another shot of which least is: of [n, R, C]."""
        means = found.mean((1, 2))
        view = int(means.argmin())
        if float(means[view]) < float(least[shot]):
            least[shot], missing[shot] = means[view], found[view]

    turns = {place: turn for turn, place in enumerate(firsts)}
    for turn, place in enumerate(firsts):
        # Of the shots that are left out too, those before this one have been compared with it.
        others = [
            view for view, owner in enumerate(whose) if owner != whose[place] and turns.get(view, len(firsts)) > turn
        ]
        yield
        if not others:
            continue
        *reached, back_free, back_held = nearest_each_way(bank[place], bank[others], within)
        for kept, found in zip((free, held), reached, strict=True):
            torch.minimum(kept[turn], found.amin(0), out=kept[turn])
        miss(turn, back_free)
        for row, view in enumerate(others):
            if view in turns:
                other = turns[view]
                torch.minimum(free[other], back_free[row], out=free[other])
                torch.minimum(held[other], back_held[row], out=held[other])
                miss(other, reached[0][[row]])
    return free, held, missing


def _least(missing: Tensor) -> Tensor:
    """[B, R, C] of [V, B, R, C]: for each part the view of a shot of which least is missing."""
    view = missing.mean((2, 3)).argmin(0)
    return missing[view, torch.arange(missing.shape[1], device=missing.device)]


def _elsewhere(features: Tensor, within: int) -> Tensor:
    """[R, C]: from each patch of [R, C, d] to the nearest that lies farther away than `within` rows or columns."""
    rows, cols, size = features.shape
    flat = features.reshape(-1, size)
    place = torch.arange(rows * cols, device=flat.device)
    row, col = place // cols, place % cols
    found = []
    for some in torch.split(place, 1_024):
        near = ((row[some, None] - row).abs() <= within) & ((col[some, None] - col).abs() <= within)
        if bool(near.all()):  # a map no larger than a place
            near = place[some, None] == place
        found.append(torch.cdist(flat[some], flat).masked_fill(near, torch.inf).amin(1))
    return torch.cat(found).view(rows, cols).nan_to_num(posinf=0.0)


def _unrelated(bank: Tensor) -> float:
    """How far patches that are drawn at random are apart, a high quantile; the same ones for the same bank."""
    flat = bank.flatten(0, 2)
    generator = torch.Generator().manual_seed(0)
    drawn = flat[torch.randperm(len(flat), generator=generator)[:_UNRELATED].to(flat.device)]
    half = len(drawn) // 2
    return float(torch.cdist(drawn[:half], drawn[half:]).quantile(_APART)) if half else 0.0


def _level(source: str, found: Tensor, unrelated: float) -> Level:
    reached = [top_mean(found, share) for share in SHARES]
    means = [max(float(one.mean()), _LEAST_MEAN * unrelated, 1e-6) for one in reached]
    spreads = [_spread(one, mean, _USUAL_SPREAD * mean) for one, mean in zip(reached, means, strict=True)]
    room = max(0.0, unrelated / means[0] - 1)
    return Level(source, tuple(means), tuple(spreads), room**3 + _LEAST_WEIGHT, max(room, _LEAST_MAP_WEIGHT))


def _level_of_missing(source: str, found: Tensor, unrelated: float) -> Level:
    reached = found.mean((1, 2))  # how much is missing, not what most: of a part that is not there it is nearly all
    # One shot does not tell how much of it good parts may lack: boards of another layout lack most.
    least = unrelated if len(reached) == 1 else _LEAST_MEAN * unrelated
    mean = max(float(reached.mean()), least, 1e-6)
    return Level(source, (mean,), (_spread(reached, mean, _USUAL_SPREAD * mean),), 0.0)


def _level_of_text(source: str, scores: Tensor) -> Level:
    mean = float(scores.mean())
    room = max(0.0, 1 - 2 * mean)
    return Level(source, (mean,), (_spread(scores, mean, _TEXT_SPREAD),), room**3)


def _spread(values: Tensor, mean: float, usual: float) -> float:
    squares = float((values - mean).square().sum()) + _USUAL_COUNT * usual**2
    return float((squares / (len(values) - 1 + _USUAL_COUNT)) ** 0.5)


def _keep(maps: Sequence[Tensor], owners: Sequence[int], limit: int | None) -> list[int]:
    """The views that are kept, in their order: all, or the first of each shot before others, those that differ most.

    Of shots too, where they are too many; two at least, as one alone has no others.
    """
    views, largest = len(maps[0]), max(one.shape[1] * one.shape[2] for one in maps)
    firsts = list({owner: view for view, owner in reversed(list(enumerate(owners)))}.values())[::-1]
    most = views if limit is None else max(min(2, len(firsts)), limit // largest)
    if views <= most:
        return list(range(views))
    means = torch.cat([one.float().mean((1, 2)) for one in maps], 1)
    if len(firsts) >= most:
        return sorted(firsts[place] for place in select(means[firsts], most, 0).tolist())
    rest = [view for view in range(views) if view not in set(firsts)]
    return sorted([*firsts, *(rest[place] for place in select(means[rest], most - len(firsts), 0).tolist())])
