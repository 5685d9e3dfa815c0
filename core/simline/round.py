"""Parts of revolution, seen along their axis."""

from __future__ import annotations

import numpy as np

from core.simline.board import Field
from core.simline.draw import Rng, colour, metal, pose, scaled, table
from core.simline.scene import Scene
from core.simline.texture import clouds, grain


def washer(look: Rng, part: Rng, size: int) -> Scene:
    """A flat ring of metal."""
    board = pose(look, part, size)
    outer = float(look.uniform(0.55, 0.82))
    inner = outer * float(look.uniform(0.35, 0.65))
    scene = table(look, part, board)
    scene = scene.shadow(board.cover(board.disc(outer * 1.03, 0.02, 0.03)), 0.35)
    scene = scene.lay(board.cover(board.disc(outer)), metal(look), _turned(look, part, board.radius(), size))
    bevel = board.cover(board.ring(outer - 0.025, 0.03)) + board.cover(board.ring(inner + 0.025, 0.03))
    scene = scene.shade(1.0 + look.uniform(-0.25, 0.25) * bevel)
    return scene.cut(board.cover(board.disc(inner)))


def gear(look: Rng, part: Rng, size: int) -> Scene:
    """A spur gear with a bore, a hub and lightening holes."""
    board = pose(look, part, size)
    teeth = int(look.integers(10, 30))
    tip = float(look.uniform(0.68, 0.85))
    depth = float(look.uniform(0.08, 0.14))
    wave = np.clip(2.2 * np.cos(teeth * board.angle()), -1.0, 1.0)
    distance = board.radius() - (tip - depth / 2 + depth / 2 * wave)
    scene = table(look, part, board)
    scene = scene.shadow(board.cover(distance - 0.03), 0.3)
    tone = metal(look) if look.random() < 0.75 else colour(look)
    scene = scene.lay(board.cover(distance), tone, _turned(look, part, board.radius(), size))
    hub = tip * float(look.uniform(0.3, 0.45))
    scene = scene.mark(board.cover(board.ring(hub, 0.025)), scaled(tone, 0.6))
    if look.random() < 0.6:
        middle = (tip - depth + hub) / 2
        count = int(look.integers(3, 7))
        for index in range(count):
            turn = 2 * np.pi * index / count
            x, y, radius = middle * np.cos(turn), middle * np.sin(turn), (tip - depth - hub) * 0.3
            scene = scene.cut(board.cover(board.disc(radius, x, y)))
    return scene.cut(board.cover(board.disc(hub * 0.55)))


def bearing(look: Rng, part: Rng, size: int) -> Scene:
    """A ball bearing: two rings, balls between them, a cage or a seal."""
    board = pose(look, part, size)
    outer = float(look.uniform(0.65, 0.85))
    bore = outer * float(look.uniform(0.3, 0.45))
    race = (outer + bore) / 2
    gap = (outer - bore) * float(look.uniform(0.4, 0.5))
    steel = metal(look, 130, 200)
    scene = table(look, part, board)
    scene = scene.shadow(board.cover(board.disc(outer * 1.03, 0.02, 0.03)), 0.35)
    scene = scene.lay(board.cover(board.disc(outer)), steel, _turned(look, part, board.radius(), size))
    scene = scene.mark(board.cover(board.ring(race, gap)), scaled(steel, 0.25))
    count = int(look.integers(7, 14))
    ball = min(gap * 0.48, np.pi * race / count * 0.9)
    phase = float(part.uniform(0, 2 * np.pi))
    for index in range(count):
        turn = phase + 2 * np.pi * index / count
        x, y = race * np.cos(turn), race * np.sin(turn)
        shine = 1.25 - 1.1 * (np.hypot(board.x - x + 0.3 * ball, board.y - y + 0.3 * ball) / (1.6 * ball)) ** 2
        scene = scene.mark(board.cover(board.disc(ball, x, y)), steel, np.clip(shine, 0.35, 1.3))
        scene = scene.feature(x, y, ball)
    for edge in (outer - 0.02, race + gap / 2, race - gap / 2, bore + 0.02):
        scene = scene.mark(board.cover(board.ring(edge, 0.015)), scaled(steel, 0.65))
    return scene.cut(board.cover(board.disc(bore)))


def bottle_cap(look: Rng, part: Rng, size: int) -> Scene:
    """A closure from above: a fluted edge and a printed or moulded top."""
    board = pose(look, part, size)
    rim = float(look.uniform(0.65, 0.82))
    flutes = int(look.integers(18, 60))
    tone = colour(look, 60, 235, 0.9)
    edge = board.radius() - rim - 0.02 * np.cos(flutes * board.angle())
    scene = table(look, part, board)
    scene = scene.shadow(board.cover(edge - 0.02), 0.3)
    scene = scene.lay(board.cover(edge), tone, 0.85 + 0.15 * np.cos(flutes * board.angle()))
    flat = rim * float(look.uniform(0.75, 0.9))
    top = 1.0 + 0.01 * grain(part, size, 1.5) + 0.05 * board.x + 0.02 * clouds(part, size, 3)
    scene = scene.mark(board.cover(board.disc(flat)), tone, top)
    scene = scene.mark(board.cover(board.ring(flat, 0.03)), scaled(tone, 1.2))
    ink = colour(look, 20, 250, 0.9)
    if look.random() < 0.7:
        scene = scene.mark(board.cover(board.ring(flat * 0.6, float(look.uniform(0.03, 0.08)))), ink)
        for index in range(int(look.integers(2, 6))):
            x = (index - 2) * 0.14 * flat * 1.6
            high = float(look.uniform(0.15, 0.3)) * flat
            scene = scene.mark(board.cover(board.box(0.07, high, 0.01, x, 0.0)), ink)
            scene = scene.feature(x, 0.0, 0.12)
    return scene


def bottle(look: Rng, part: Rng, size: int) -> Scene:
    """A bottle on a light table, from above into its neck."""
    board = pose(look, part, size, (0.95, 1.1))
    brown = colour(look, 60, 130, 0.7)
    scene = table(look, part, board)
    angle, radius = board.angle(), board.radius()
    scene = scene.lay(board.cover(radius - 0.84), scaled(brown, 0.5), 1.0 + 0.2 * np.sin(radius * 20.0))
    for edge, width, gain in (
        (0.8, 0.05, 0.9),
        (0.72, 0.1, 0.3),
        (0.6, 0.06, 1.5),
        (0.52, 0.1, 0.9),
        (0.44, 0.03, 1.4),
    ):
        scene = scene.mark(board.cover(board.ring(edge, width)), scaled(brown, gain))
    tilt = board.disc(0.42, float(part.normal(0, 0.01)), float(part.normal(0, 0.01)))
    scene = scene.mark(board.cover(tilt), scaled(brown, 0.25), 1.0 + 0.1 * clouds(part, size, 4))
    scene = scene.mark(board.cover(tilt + 0.2), scaled(brown, 0.9), 1.0 + 0.06 * clouds(part, size, 5))
    for _ in range(3):
        at, span = part.uniform(-np.pi, np.pi), part.uniform(0.15, 0.5)
        arc = np.exp(-((((angle - at + np.pi) % (2 * np.pi) - np.pi) / span) ** 4))
        glow = arc * np.exp(-(((radius - 0.56) / 0.03) ** 2))
        scene = scene.mark(np.asarray(0.7 * glow, np.float32), (240.0, 240.0, 235.0))
    return scene


def rubber_seal(look: Rng, part: Rng, size: int) -> Scene:
    """An O-ring or profile ring."""
    board = pose(look, part, size)
    radius, width = float(look.uniform(0.5, 0.7)), float(look.uniform(0.12, 0.26))
    squash = float(look.uniform(0.8, 1.0))
    away = np.hypot(board.x, board.y / squash)
    distance = np.abs(away - radius) - width / 2
    scene = table(look, part, board)
    scene = scene.shadow(board.cover(distance - 0.03), 0.3)
    bulge = np.clip(1.35 - 1.3 * ((away - radius + 0.1 * width) / width * 2) ** 2 * 0.6, 0.3, 1.4)
    tone = colour(look, 25, 70, 0.2) if look.random() < 0.6 else colour(look, 70, 200, 0.8)
    return scene.lay(board.cover(distance), tone, bulge * (1.0 + 0.03 * grain(part, size, 1.5)))


def _turned(look: Rng, part: Rng, radius: Field, size: int) -> Field:
    """Fine concentric lines of a lathe, or the smooth cloudiness of a pressed part."""
    lines = np.interp(radius.ravel() * 160.0, np.arange(400), part.standard_normal(400)).reshape(radius.shape)
    return np.asarray(
        1.0 + look.uniform(0.0, 0.05) * lines + 0.03 * clouds(part, size, 4) + 0.02 * grain(part, size, 1.2), np.float32
    )
