"""Parts of no known kind: any outline with any regular arrangement of details on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from core.simline.board import Board, Colour, Field, Point
from core.simline.draw import Rng, colour, metal, pose, scaled, table
from core.simline.scene import Scene
from core.simline.texture import clouds, grain

_Detail: TypeAlias = Callable[[Scene, float, float], Scene]
_TONES = (0.25, 0.4, 0.6, 0.75, 1.25)
"""A detail's brightness against the part's own."""


@dataclass(frozen=True)
class _Band:
    """A groove, step or stripe: round the centre at the radius `at`, or straight across the part at the height `at`."""

    circles: bool
    at: float
    width: float


def workpiece(look: Rng, part: Rng, size: int) -> Scene:
    """An outline, its surface, some bands, and groups of equal details: in a circle, a grid, a row, mirrored pairs."""
    board = pose(look, part, size)
    tone = metal(look) if look.random() < 0.55 else colour(look, 40.0, 235.0, 0.9)
    outline, reach = _outline(look, board)
    scene = table(look, part, board)
    scene = scene.shadow(board.cover(outline - 0.03), float(look.uniform(0.15, 0.4)))
    scene = scene.lay(board.cover(outline), tone, _surface(look, part, board, outline))
    if look.random() < 0.6:
        depth = float(look.uniform(0.03, 0.1))
        scene = scene.mark(board.cover(np.abs(outline + depth) - 0.012), scaled(tone, float(look.choice(_TONES))))
    bands = _bands(look, reach)
    for band in bands:
        scene = _banded(look, board, tone, band, scene)
    taken: list[tuple[float, float, float]] = []
    if look.random() < 0.4:
        bore = reach * float(look.uniform(0.1, 0.45))
        scene = scene.cut(board.cover(board.disc(bore)))
        taken.append((0.0, 0.0, bore))
    for _ in range(int(look.integers(1, 5))):
        places, room = _places(look, part, reach, bands)
        detail = _detail(look, board, tone, room)
        if any(np.hypot(x - a, y - b) < 1.1 * (room + c) for x, y in places for a, b, c in taken):
            continue  # details of one group in another's would look like damage
        for x, y in places:
            scene = detail(scene, x, y).feature(x, y, room)
            taken.append((x, y, room))
    return scene


def _outline(look: Rng, board: Board) -> tuple[Field, float]:
    """Signed distance to the part's edge; and how far from its centre there is room for details."""
    kind = int(look.integers(5))
    if kind == 0:
        radius = float(look.uniform(0.6, 0.85))
        return board.disc(radius), radius * 0.85
    if kind == 1:  # a regular polygon with rounded sides, or lobes
        radius, corners = float(look.uniform(0.6, 0.8)), int(look.integers(3, 13))
        wave = float(look.uniform(0.02, 0.1)) * np.cos(corners * board.angle())
        return np.asarray(board.radius() - radius - wave, np.float32), radius * 0.7
    if kind == 2:  # teeth or flutes
        radius, teeth = float(look.uniform(0.6, 0.8)), int(look.integers(8, 40))
        wave = np.clip(float(look.uniform(1.0, 3.0)) * np.cos(teeth * board.angle()), -1.0, 1.0)
        return np.asarray(board.radius() - radius - float(look.uniform(0.01, 0.05)) * wave, np.float32), radius * 0.75
    wide, high = float(look.uniform(0.9, 1.65)), float(look.uniform(0.25, 1.4))
    body = board.box(wide, high, min(wide, high) * float(look.uniform(0.02, 0.5)))
    if kind == 4:  # with a second box across, as brackets and levers have
        other = board.box(high * 0.6, min(1.6, wide), 0.03, float(look.uniform(-0.4, 0.4)) * wide, 0.0)
        body = np.minimum(body, other)
    return body, min(wide, 1.3 * high) * 0.4


def _surface(look: Rng, part: Rng, board: Board, outline: Field) -> Field:
    """Brightness over the part: a flat, domed or ribbed face with the roughness of its material."""
    size, kind = board.size, look.random()
    rough = 1.0 + look.uniform(0.0, 0.04) * grain(part, size, 1.3) + look.uniform(0.0, 0.05) * clouds(part, size, 4.0)
    if kind < 0.25:
        face: Field | float = np.clip(1.2 + 1.2 * np.maximum(outline, -0.3), 0.5, 1.2)
    elif kind < 0.45:  # ribs, threads, knurls: across, aslant or round the centre
        pitch, depth = float(look.uniform(0.05, 0.2)), float(look.uniform(0.08, 0.4))
        along = board.radius() if look.random() < 0.3 else board.x + float(look.choice([0.0, 0.3, 1.0])) * board.y
        face = 1.0 + depth * np.sin(2.0 * np.pi * along / pitch)
    elif kind < 0.6:  # a tube lying on its side
        face = np.clip(1.25 - 0.9 * ((board.y + 0.05) / 0.7) ** 2, 0.35, 1.25)
    else:
        face = 1.0 + 0.06 * board.x - 0.04 * board.y
    return np.asarray(face * rough, np.float32)


def _bands(look: Rng, reach: float) -> list[_Band]:
    """Up to three, of one kind: rings round the centre or stripes across."""
    count, circles = max(0, int(look.integers(-1, 4))), look.random() < 0.6
    at = reach * look.uniform(0.25 if circles else -0.9, 1.05, count)
    return [_Band(circles, float(place), float(look.uniform(0.03, 0.35))) for place in at]


def _banded(look: Rng, board: Board, tone: Colour, band: _Band, scene: Scene) -> Scene:
    """With a band of another brightness or colour, flat or hollow, with or without edges."""
    across = board.radius() - band.at if band.circles else board.y - band.at
    inside = np.asarray(np.abs(across) - band.width / 2, np.float32)
    other = scaled(tone, float(look.choice(_TONES))) if look.random() < 0.8 else colour(look, 20.0, 240.0, 0.9)
    hollow = 1.0 + float(look.uniform(0.0, 0.5)) * across / band.width if look.random() < 0.4 else 1.0
    scene = scene.mark(board.cover(inside), other, hollow)
    if look.random() < 0.5:
        edge = board.cover(np.abs(inside) - float(look.uniform(0.005, 0.015)))
        scene = scene.mark(edge, scaled(tone, float(look.choice(_TONES))))
    return scene


def _places(look: Rng, part: Rng, reach: float, bands: Sequence[_Band]) -> tuple[list[Point], float]:
    """Where the details of a group lie, in the part's units; and the radius that each can take."""
    kind = int(look.integers(4))
    band = (
        next((candidate for candidate in bands if candidate.circles == (kind == 0)), None)
        if look.random() < 0.5
        else None
    )
    if kind == 0:
        count, away = int(look.integers(3, 19)), band.at if band else reach * float(look.uniform(0.5, 1.0))
        start = float(part.uniform(0, 2 * np.pi)) if look.random() < 0.35 else 0.0  # some turn freely on the part
        turns = start + 2.0 * np.pi * np.arange(count) / count
        room = min(0.16, away * np.pi / count * float(look.uniform(0.4, 1.0)))
        return [(float(away * np.cos(turn)), float(away * np.sin(turn))) for turn in turns], room
    if kind == 1:
        cols, rows = int(look.integers(2, 7)), int(look.integers(2, 6))
        pitch = 1.6 * reach / max(cols, rows)
        xs, ys = (np.arange(cols) - (cols - 1) / 2) * pitch, (np.arange(rows) - (rows - 1) / 2) * pitch
        return [(float(x), float(y)) for x in xs for y in ys], min(0.16, pitch * float(look.uniform(0.2, 0.45)))
    if kind == 2:
        count = int(look.integers(2, 10))
        pitch = 1.8 * reach / count
        row = band.at if band else float(look.uniform(-0.3, 0.3)) * reach
        return [(float(x), row) for x in (np.arange(count) - (count - 1) / 2) * pitch], min(0.16, pitch * 0.42)
    x, y = float(look.uniform(0.2, 0.9)) * reach, float(look.uniform(0.2, 0.9)) * reach
    pair = [(-x, -y), (x, y)] if look.random() < 0.3 else [(x, y), (-x, y), (x, -y), (-x, -y)]
    return pair, float(look.uniform(0.05, 0.14))


def _detail(look: Rng, board: Board, tone: Colour, room: float) -> _Detail:
    """What stands at each place of a group."""
    other = scaled(tone, float(look.choice(_TONES))) if look.random() < 0.7 else colour(look, 20.0, 240.0, 0.9)
    radius = room * float(look.uniform(0.6, 1.0))
    kind = int(look.integers(5))
    if kind == 0:
        return partial(_hole, board, radius)
    if kind == 1:
        return partial(_dome, board, radius, other)
    if kind == 2:
        return partial(_ringed, board, radius, other, scaled(tone, float(look.choice(_TONES))))
    if kind == 3:
        stretch = float(look.uniform(0.25, 1.0))
        wide, high = (radius * 2.0, radius * 2.0 * stretch)[:: int(look.choice([1, -1]))]
        return partial(_block, board, (wide, high), min(wide, high) * float(look.uniform(0.0, 0.5)), other)
    return partial(_cross, board, radius, other, int(look.integers(1, 3)))


def _hole(board: Board, radius: float, scene: Scene, x: float, y: float) -> Scene:
    return scene.cut(board.cover(board.disc(radius, x, y)))


def _dome(board: Board, radius: float, tone: Colour, scene: Scene, x: float, y: float) -> Scene:
    light = np.hypot(board.x - x + 0.3 * radius, board.y - y + 0.3 * radius) / (1.6 * radius)
    return scene.mark(board.cover(board.disc(radius, x, y)), tone, np.clip(1.3 - 1.0 * light**2, 0.35, 1.3))


def _ringed(board: Board, radius: float, tone: Colour, inner: Colour, scene: Scene, x: float, y: float) -> Scene:
    scene = scene.mark(board.cover(board.disc(radius, x, y)), tone)
    return scene.mark(board.cover(board.disc(radius * 0.55, x, y)), inner)


def _block(
    board: Board, sides: tuple[float, float], corner: float, tone: Colour, scene: Scene, x: float, y: float
) -> Scene:
    return scene.mark(board.cover(board.box(*sides, corner, x, y)), tone)


def _cross(board: Board, radius: float, tone: Colour, bars: int, scene: Scene, x: float, y: float) -> Scene:
    """The head of a screw, slotted or crossed."""
    scene = scene.mark(board.cover(board.disc(radius, x, y)), tone)
    for wide, high in ((1.5, 0.3), (0.3, 1.5))[:bars]:
        scene = scene.mark(board.cover(board.box(wide * radius, high * radius, 0.0, x, y)), scaled(tone, 0.4))
    return scene
