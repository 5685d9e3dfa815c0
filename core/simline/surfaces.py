"""Surfaces that fill the picture."""

from __future__ import annotations

import numpy as np

from core.simline.draw import Rng, colour, metal, pose, scaled
from core.simline.scene import Scene, paint, sheet
from core.simline.texture import blur, clouds, fractal, grain, lit, ramp, streaks, weave, wrinkles


def metal_plate(look: Rng, part: Rng, size: int) -> Scene:
    """Rolled sheet with a few bolt holes."""
    board = pose(look, part, size, spin=0.2)
    rolled = 0.03 * streaks(part, size, board.turn, size * 0.6, 2.0)
    gain = 1.0 + rolled + look.uniform(0.01, 0.05) * clouds(part, size, 4) + 0.015 * grain(part, size, 1.0)
    scene = sheet(board, metal(look), gain)
    for _ in range(int(look.integers(0, 4))):
        x, y = float(look.uniform(-0.75, 0.75)), float(look.uniform(-0.75, 0.75))
        radius = float(look.uniform(0.06, 0.14))
        scene = scene.mark(board.cover(board.disc(radius * 1.25, x, y)), (150.0, 150.0, 150.0), gain)
        scene = scene.cut(board.cover(board.disc(radius, x, y)))
    return scene


def brushed_metal(look: Rng, part: Rng, size: int) -> Scene:
    """Fine parallel lines along one direction."""
    board = pose(look, part, size, spin=0.15)
    depth = float(look.uniform(0.05, 0.14))
    gain = 1.0 + depth * streaks(part, size, board.turn, float(look.uniform(60, 200)) * size / 240, 1.0)
    return sheet(board, metal(look), gain + look.uniform(0.02, 0.12) * ramp(size, float(look.uniform(0, 6))))


def ground_metal(look: Rng, part: Rng, size: int) -> Scene:
    """Ground with a wheel: short streaks across each other, and dull patches."""
    board = pose(look, part, size, spin=0.15)
    angle, spread = board.turn, float(look.uniform(0.1, 0.9))
    fine = streaks(part, size, angle, 40 * size / 240, 1.2) + streaks(part, size, angle + spread, 25 * size / 240, 1.5)
    gain = 1.0 + look.uniform(0.04, 0.09) * fine + look.uniform(0.02, 0.08) * fractal(part, size, 3, 3)
    return sheet(board, metal(look, 60, 170), gain + 0.02 * grain(part, size, 1.2))


def cast_metal(look: Rng, part: Rng, size: int) -> Scene:
    """Rough grains from the mould, with a raised rib now and then."""
    board = pose(look, part, size, spin=0.3)
    height = grain(part, size, float(look.uniform(2.0, 4.5)) * size / 240) + 0.5 * grain(part, size, 1.2)
    light = float(look.uniform(0, 6.28))
    gain = lit(height, light, float(look.uniform(0.02, 0.06))) + 0.04 * fractal(part, size, 3, 3)
    scene = sheet(board, metal(look, 70, 150), gain)
    for _ in range(int(look.integers(0, 3))):
        x = float(look.uniform(-0.6, 0.6))
        rib = board.cover(board.box(float(look.uniform(0.1, 0.3)), 4.0, 0.05, x, 0.0))
        edge = lit(blur(rib, size / 120), light, 0.35)
        scene = scene.shade((1.0 + 0.12 * rib) * edge)
    return scene


def fabric(look: Rng, part: Rng, size: int) -> Scene:
    """Woven cloth, plain or twill, of one colour or two."""
    board = pose(look, part, size, spin=0.1)
    pitch = float(look.uniform(0.035, 0.09))
    bright, over = weave(board, pitch, float(look.choice([0.0, 0.0, 1.0])))
    warp, weft = colour(look), colour(look)
    if look.random() < 0.6:
        weft = scaled(warp, float(look.uniform(0.8, 1.2)))
    tone = np.where((over > 0)[..., None], np.asarray(warp, np.float32), np.asarray(weft, np.float32))
    soft = blur(tone.astype(np.float32), 0.6)
    gain = 0.9 + look.uniform(0.08, 0.2) * bright + 0.05 * grain(part, size, 1.2) + 0.03 * clouds(part, size, 5)
    return sheet(board, soft, gain)


def leather(look: Rng, part: Rng, size: int) -> Scene:
    """Irregular cells with creases, dyed."""
    board = pose(look, part, size)
    cells = float(look.uniform(14, 40))
    relief = wrinkles(part, size, cells)
    gain = lit(relief, float(look.uniform(0, 6.28)), float(look.uniform(0.02, 0.05))) * (1.0 + 0.08 * relief)
    return sheet(board, colour(look, 50, 190, 0.75), gain + 0.05 * fractal(part, size, 3, 2))


def wood(look: Rng, part: Rng, size: int) -> Scene:
    """Planed wood: grain along one direction, rings, pores."""
    board = pose(look, part, size, spin=0.1)
    bend = clouds(part, size, 2) * look.uniform(0.02, 0.12)
    rings = np.sin((board.x + bend) * float(look.uniform(12, 40)) + 2.0 * clouds(part, size, 3))
    fibre = streaks(part, size, board.turn + np.pi / 2, 70 * size / 240, 1.2)
    gain = 1.0 + look.uniform(0.05, 0.14) * rings + look.uniform(0.04, 0.09) * fibre + 0.02 * grain(part, size, 1.0)
    tones = ((206.0, 164.0, 112.0), (168.0, 116.0, 70.0), (120.0, 78.0, 48.0), (222.0, 190.0, 146.0))
    return sheet(board, scaled(tones[int(look.integers(4))], float(look.uniform(0.85, 1.1))), gain)


def tile(look: Rng, part: Rng, size: int) -> Scene:
    """Ceramic: glazed or speckled, with a joint now and then."""
    board = pose(look, part, size, spin=0.1)
    gain = 1.0 + 0.02 * fractal(part, size, 4, 3)
    if look.random() < 0.6:
        speckle = grain(part, size, float(look.uniform(1.5, 5.0)) * size / 240)
        gain = gain + look.uniform(0.05, 0.16) * np.clip(speckle, -2.0, 2.0)
    scene = sheet(board, colour(look, 110, 230, 0.35), gain)
    if look.random() < 0.5:
        at, width = float(look.uniform(-0.7, 0.7)), float(look.uniform(0.03, 0.07))
        joint = colour(look, 70, 200, 0.15)
        rough = 1.0 + 0.06 * grain(part, size, 2.0)
        scene = scene.mark(board.cover(np.abs(board.x - at) - width / 2), joint, rough)
        if look.random() < 0.6:
            scene = scene.mark(board.cover(np.abs(board.y + at) - width / 2), joint, rough)
    return scene


def glass(look: Rng, part: Rng, size: int) -> Scene:
    """A pane before a bright or dark field, with soft reflections."""
    board = pose(look, part, size, spin=0.3)
    angle = float(look.uniform(0, 6.28))
    gain = 1.0 + look.uniform(0.05, 0.25) * ramp(size, angle) + 0.01 * grain(part, size, 1.0)
    scene = sheet(board, colour(look, 70, 215, 0.25), gain)
    for _ in range(int(look.integers(0, 3))):
        band = np.exp(-(((ramp(size, angle + 0.3) - part.uniform(-0.8, 0.8)) / look.uniform(0.1, 0.3)) ** 2))
        scene = scene.mark(np.asarray(band * look.uniform(0.08, 0.25), np.float32), (250.0, 250.0, 250.0))
    return scene


def mesh(look: Rng, part: Rng, size: int) -> Scene:
    """Crossed wires before a dark or bright ground."""
    board = pose(look, part, size, spin=0.1)
    pitch, width = float(look.uniform(0.12, 0.26)), float(look.uniform(0.2, 0.36))
    ground = colour(look, 10, 50, 0.2) if look.random() < 0.7 else colour(look, 190, 240, 0.1)
    scene = sheet(board, ground, 1.0 + 0.02 * clouds(part, size, 6))
    wire = metal(look, 110, 220)
    sway = 0.004 * clouds(part, size, 6)
    covered = np.zeros((size, size), np.float32)
    for along, across in ((board.x, board.y), (board.y, board.x)):
        off = np.abs(np.mod((along + sway) / pitch, 1.0) - 0.5)
        cover = board.cover((off - width / 2) * pitch)
        over = np.where(np.sin(np.pi * across / pitch) * np.sin(np.pi * along / pitch + np.pi / 2) > 0, 1.0, 0.85)
        scene = scene.mark(cover, wire, np.asarray((1.15 - 2.2 * (off / width) ** 2) * over, np.float32))
        covered = np.maximum(covered, cover)
    background = np.empty_like(scene.picture)
    background[:] = np.asarray(ground, np.float32)
    return Scene(board, scene.picture, background, covered)


def cardboard(look: Rng, part: Rng, size: int) -> Scene:
    """Brown board with faint flutes and fibres."""
    board = pose(look, part, size, spin=0.1)
    flutes = np.sin(board.x * float(look.uniform(35, 80))) * look.uniform(0.0, 0.03)
    gain = 1.0 + flutes + 0.03 * grain(part, size, 1.5) + 0.03 * fractal(part, size, 6, 3)
    scene = sheet(board, scaled((190.0, 150.0, 106.0), float(look.uniform(0.8, 1.15))), np.asarray(gain, np.float32))
    if look.random() < 0.4:
        fold = board.cover(np.abs(board.y - look.uniform(-0.5, 0.5)) - 0.012)
        scene = scene.shade(1.0 - 0.2 * fold)
    return scene


def painted_panel(look: Rng, part: Rng, size: int) -> Scene:
    """Smooth paint with orange peel, and a pressed edge now and then."""
    board = pose(look, part, size, spin=0.2)
    peel = 0.012 * grain(part, size, 4 * size / 240)
    gain = 1.0 + peel + look.uniform(0.02, 0.15) * ramp(size, float(look.uniform(0, 6.28)))
    scene = sheet(board, colour(look, 40, 230, 0.9), gain)
    if look.random() < 0.5:
        edge = board.x - look.uniform(-0.6, 0.6)
        scene = scene.shade(np.asarray(1.0 + 0.25 * np.exp(-((edge / 0.05) ** 2)) * np.sign(edge), np.float32))
    return Scene(board, paint(scene.picture, scene.surface, scene.picture), scene.background, scene.surface)
