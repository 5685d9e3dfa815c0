"""Parts of other shapes, mostly put together from several pieces."""

from __future__ import annotations

import numpy as np

from core.simline.board import Board, Point
from core.simline.draw import Rng, colour, metal, pose, scaled, table
from core.simline.scene import Scene
from core.simline.texture import clouds, grain


def screw(look: Rng, part: Rng, size: int) -> Scene:
    """A screw lying on its side: head, shank, thread, tip."""
    board = pose(look, part, size)
    half, head = float(look.uniform(0.6, 0.75)), float(look.uniform(0.16, 0.26))
    width = float(look.uniform(0.09, 0.14))
    pitch = float(look.uniform(0.05, 0.08))
    tone = metal(look, 100, 190)
    scene = table(look, part, board)
    taper = np.clip((half - board.x) / 0.2, 0.0, 1.0)
    ripple = 0.015 * np.sin(2 * np.pi * (board.x + 0.3 * board.y) / pitch)
    threaded = (board.x > -half * float(look.uniform(0.0, 0.6))).astype(np.float32)
    shank = np.maximum(np.abs(board.y) - width * taper - ripple * threaded, np.abs(board.x) - half)
    top = np.maximum(
        np.abs(board.y) - head * np.clip((-half + 0.16 - board.x) / 0.16, 0.3, 1.0), -board.x - half - 0.14
    )
    top = np.maximum(top, board.x + half - 0.14)
    for piece in (shank, top):
        scene = scene.shadow(board.cover(piece - 0.03), 0.25)
    barrel = np.clip(1.3 - 1.1 * ((board.y + 0.03) / (head * 1.1)) ** 2, 0.4, 1.3) + 0.02 * grain(part, size, 1.2)
    thread = 1.0 + 0.35 * threaded * np.sin(2 * np.pi * (board.x + 0.3 * board.y) / pitch)
    tube = np.clip(1.25 - 0.9 * (board.y / (width * 1.2)) ** 2, 0.35, 1.3)
    return scene.lay(board.cover(shank), tone, tube * thread).lay(board.cover(top), tone, barrel)


def spring(look: Rng, part: Rng, size: int) -> Scene:
    """A coil spring on its side."""
    board = pose(look, part, size)
    half, width = float(look.uniform(0.6, 0.75)), float(look.uniform(0.2, 0.32))
    pitch, wire = float(look.uniform(0.13, 0.2)), float(look.uniform(0.05, 0.07))
    tone = metal(look, 110, 200)
    scene = table(look, part, board)
    for slope, gain in ((-0.35, 0.55), (0.35, 1.0)):
        off = np.abs(np.mod((board.x - slope * pitch / width * board.y * 0.7) / pitch, 1.0) - 0.5) * pitch
        inside = np.maximum(np.abs(board.x) - half, np.abs(board.y) - width)
        distance = np.maximum(off - wire / 2, inside)
        scene = scene.lay(
            board.cover(distance), tone, gain * np.clip(1.3 - 1.2 * (off / wire * 2) ** 2 * 0.7, 0.3, 1.3)
        )
    return scene


def plastic_housing(look: Rng, part: Rng, size: int) -> Scene:
    """A moulded box with bosses, slots and screw holes."""
    board = pose(look, part, size, spin=0.3)
    wide, high = float(look.uniform(1.2, 1.65)), float(look.uniform(0.9, 1.5))
    tone = colour(look, 30, 225, 0.7)
    scene = table(look, part, board)
    body = board.box(wide, high, float(look.uniform(0.05, 0.2)))
    scene = scene.shadow(board.cover(body - 0.04), 0.3)
    rough = 1.0 + look.uniform(0.01, 0.04) * grain(part, size, 1.5) + 0.05 * board.y + 0.02 * clouds(part, size, 3)
    scene = scene.lay(board.cover(body), tone, rough)
    scene = scene.mark(board.cover(np.abs(body + 0.08) - 0.012), scaled(tone, 0.7))
    for x in (-wide / 2 + 0.16, wide / 2 - 0.16):
        for y in (-high / 2 + 0.16, high / 2 - 0.16):
            scene = scene.mark(board.cover(board.disc(0.07, x, y)), scaled(tone, 0.8))
            scene = scene.mark(board.cover(board.disc(0.04, x, y)), scaled(tone, 0.3)).feature(x, y, 0.09)
    for index in range(int(look.integers(0, 6))):
        y = (index - 2.5) * 0.1
        scene = scene.mark(board.cover(board.box(wide * 0.4, 0.04, 0.02, 0.0, y)), scaled(tone, 0.45))
    return scene


def connector(look: Rng, part: Rng, size: int) -> Scene:
    """A plastic body with one or two rows of pins."""
    board = pose(look, part, size, spin=0.3)
    pins, rows = int(look.integers(4, 10)), int(look.integers(1, 3))
    wide, high = float(look.uniform(1.3, 1.7)), 0.35 + 0.25 * rows
    tone = colour(look, 25, 220, 0.6)
    gold = metal(look, 170, 230)
    scene = table(look, part, board)
    body = board.box(wide, high, 0.04)
    scene = scene.shadow(board.cover(body - 0.04), 0.3)
    scene = scene.lay(board.cover(body), tone, 1.0 + 0.02 * grain(part, size, 1.5) + 0.02 * clouds(part, size, 3))
    scene = scene.mark(board.cover(np.abs(body + 0.07) - 0.015), scaled(tone, 0.65))
    for row in range(rows):
        for pin in range(pins):
            x = (pin - (pins - 1) / 2) * wide * 0.86 / pins
            y = (row - (rows - 1) / 2) * 0.25
            scene = scene.mark(board.cover(board.box(wide * 0.6 / pins, 0.16, 0.01, x, y)), scaled(tone, 0.3))
            scene = scene.mark(board.cover(board.box(wide * 0.26 / pins, 0.1, 0.01, x, y)), gold)
            scene = scene.feature(x, y, 0.09)
    return scene


def pcb(look: Rng, part: Rng, size: int) -> Scene:
    """A populated board: tracks, pads, chips, passives, silk screen."""
    board = pose(look, part, size, spin=0.2)
    greens = ((24.0, 92.0, 58.0), (20.0, 58.0, 110.0), (30.0, 34.0, 32.0), (128.0, 30.0, 34.0))
    tone = scaled(greens[int(look.choice(4, p=[0.6, 0.2, 0.1, 0.1]))], float(look.uniform(0.8, 1.3)))
    scene = table(look, part, board)
    scene = scene.lay(board.cover(board.box(1.7, 1.5, 0.03)), tone, 1.0 + 0.02 * grain(part, size, 1.0))
    for _ in range(int(look.integers(6, 12))):
        x, y = float(look.uniform(-0.75, 0.75)), float(look.uniform(-0.65, 0.65))
        to = (float(np.clip(x + look.uniform(-0.7, 0.7), -0.8, 0.8)), y)
        end = (to[0], float(np.clip(y + look.uniform(-0.5, 0.5), -0.7, 0.7)))
        scene = scene.mark(board.lines([((x, y), to), (to, end)], 0.025), scaled(tone, 1.45))
        scene = scene.mark(board.cover(board.disc(0.035, *end)), (190.0, 180.0, 150.0))
    cells = [(x, y) for x in (-0.6, -0.2, 0.2, 0.6) for y in (-0.5, -0.17, 0.17, 0.5)]
    look.shuffle(cells)
    for x, y in cells[: int(look.integers(5, 10))]:
        scene = _chip(scene, board, look, x, y) if look.random() < 0.35 else _passive(scene, board, look, x, y)
        scene = scene.feature(x, y, 0.13)
    return scene


def cable(look: Rng, part: Rng, size: int) -> Scene:
    """Insulated wires side by side."""
    board = pose(look, part, size, spin=0.2)
    count, width = int(look.integers(1, 6)), float(look.uniform(0.18, 0.32))
    scene = table(look, part, board)
    sway = 0.03 * np.sin(board.x * float(look.uniform(1, 3)) + part.uniform(0, 6))
    for index in range(count):
        centre = (index - (count - 1) / 2) * width * 1.08 + sway
        off = (board.y - centre) / (width / 2)
        tone = colour(look, 40, 230, 0.95)
        shine = np.clip(1.2 - 0.8 * (off + 0.25) ** 2, 0.3, 1.25) + 0.02 * grain(part, size, 1.5)
        scene = scene.shadow(board.cover((np.abs(off) - 1.0) * width / 2 - 0.03), 0.2)
        scene = scene.lay(board.cover((np.abs(off) - 1.0) * width / 2), tone, shine)
        scene = scene.feature(float(part.uniform(-0.6, 0.6)), (index - (count - 1) / 2) * width * 1.08, width / 2)
    return scene


def label(look: Rng, part: Rng, size: int) -> Scene:
    """A printed sticker: a frame, lines of text, a bar code."""
    board = pose(look, part, size, spin=0.15)
    wide, high = float(look.uniform(1.3, 1.7)), float(look.uniform(0.9, 1.4))
    paper, ink = colour(look, 200, 245, 0.15), colour(look, 15, 110, 0.9)
    scene = table(look, part, board)
    scene = scene.lay(board.cover(board.box(wide, high, 0.05)), paper, 1.0 + 0.01 * grain(part, size, 1.5))
    if look.random() < 0.5:
        band = board.cover(board.box(wide, high * 0.25, 0.02, 0.0, -high * 0.36))
        scene = scene.mark(band, colour(look, 60, 220, 0.95))
    text: list[tuple[Point, Point]] = []
    for row in range(int(look.integers(2, 5))):
        y, x = -high * 0.12 + row * 0.13, -wide / 2 + 0.12
        while x < wide / 2 - 0.2:
            length = float(look.uniform(0.03, 0.09))
            text += _glyph(look, x, y, length)
            x += length + float(look.choice([0.025, 0.025, 0.07]))
        scene = scene.feature(float(look.uniform(-wide / 3, wide / 3)), y, 0.12)
    scene = scene.mark(board.lines(text, 0.018), ink)
    if look.random() < 0.7:
        x = -wide * 0.35
        while x < wide * 0.3:
            bar = float(look.uniform(0.012, 0.05))
            scene = scene.mark(board.cover(board.box(bar, high * 0.2, 0.0, x, high * 0.36)), ink)
            x += bar + float(look.uniform(0.02, 0.05))
    return scene


def capsule(look: Rng, part: Rng, size: int) -> Scene:
    """A two-coloured hard capsule."""
    board = pose(look, part, size)
    length, width = float(look.uniform(1.3, 1.6)), float(look.uniform(0.5, 0.65))
    scene = table(look, part, board)
    body = board.box(length, width, width / 2)
    scene = scene.shadow(board.cover(body - 0.04), 0.3)
    shine = np.clip(1.15 - 0.7 * ((board.y + 0.08) / width * 2) ** 2, 0.4, 1.2) + 0.01 * grain(part, size, 1.5)
    left, right = colour(look, 60, 240, 0.9), colour(look, 60, 240, 0.9)
    joint = float(look.uniform(-0.2, 0.2))
    scene = scene.lay(board.cover(body), left, shine)
    scene = scene.mark(board.cover(joint - board.x), right, shine)
    scene = scene.mark(board.cover(np.abs(board.x - joint) - 0.012), scaled(right, 0.7))
    ink = colour(look, 15, 90, 0.5)
    for index in range(int(look.integers(0, 6))):
        scene = scene.mark(board.lines(_glyph(look, joint + 0.1 + index * 0.08, 0.0, 0.06), 0.018), ink)
        scene = scene.feature(joint + 0.1 + index * 0.08, 0.0, 0.08)
    gloss = np.exp(-(((board.y + width * 0.25) / 0.03) ** 2)) * board.cover(np.abs(board.x) - length * 0.35)
    return scene.mark(np.asarray(0.35 * gloss, np.float32), (250.0, 250.0, 250.0))


def pill(look: Rng, part: Rng, size: int) -> Scene:
    """A tablet with a score line or an imprint."""
    board = pose(look, part, size)
    oval = float(look.uniform(0.55, 1.0))
    away = np.hypot(board.x, board.y / oval)
    radius = float(look.uniform(0.6, 0.75))
    tone = colour(look, 150, 240, 0.4)
    scene = table(look, part, board)
    scene = scene.shadow(board.cover(away - radius - 0.04), 0.3)
    dome = np.clip(1.05 - 0.35 * np.clip((away / radius - 0.75) * 4, 0.0, 1.0) ** 2, 0.5, 1.1) - 0.04 * board.y
    rough = 1.0 + look.uniform(0.01, 0.03) * grain(part, size, 1.5)
    if look.random() < 0.4:
        rough = rough - 0.25 * (grain(part, size, 4 * size / 240) > look.uniform(1.6, 2.4))
    scene = scene.lay(board.cover(away - radius), tone, dome * rough)
    if look.random() < 0.6:
        scene = scene.mark(board.cover(np.abs(board.x) - 0.02), scaled(tone, 0.75))
    else:
        for index in range(int(look.integers(2, 4))):
            glyph = _glyph(look, -0.2 + index * 0.16, 0.0, 0.12, 0.22)
            scene = scene.mark(board.lines(glyph, 0.018), scaled(tone, 0.7))
            scene = scene.feature(-0.2 + index * 0.16, 0.0, 0.13)
    return scene


def _glyph(look: Rng, x: float, y: float, wide: float, high: float = 0.08) -> list[tuple[Point, Point]]:
    """Something like a letter: two or three strokes."""
    left, right = x - wide / 2, x + wide / 2
    strokes = [((left, y - high / 2), (left, y + high / 2))]
    for _ in range(int(look.integers(1, 3))):
        ends = [y + float(look.choice([-0.5, 0.0, 0.5])) * high for _ in range(2)]
        strokes.append(((left, ends[0]), (right, ends[1])))
    return strokes


def _chip(scene: Scene, board: Board, look: Rng, x: float, y: float) -> Scene:
    wide, high = float(look.uniform(0.18, 0.3)), float(look.uniform(0.16, 0.26))
    for side in (-1, 1):
        comb = np.abs(np.mod(board.x * 22.0, 1.0) - 0.5) - 0.25
        legs = np.maximum(board.box(wide, 0.05, 0.0, x, y + side * high / 2), comb / 22.0)
        scene = scene.mark(board.cover(legs), (190.0, 190.0, 190.0))
    scene = scene.mark(board.cover(board.box(wide, high * 0.9, 0.01, x, y)), (34.0, 34.0, 36.0))
    return scene.mark(board.cover(board.disc(0.015, x - wide * 0.35, y - high * 0.3)), (120.0, 120.0, 120.0))


def _passive(scene: Scene, board: Board, look: Rng, x: float, y: float) -> Scene:
    wide, high = float(look.uniform(0.1, 0.2)), float(look.uniform(0.05, 0.1))
    if look.random() < 0.5:
        wide, high = high, wide
    scene = scene.mark(board.cover(board.box(wide * 1.2, high * 1.2, 0.01, x, y)), (196.0, 192.0, 180.0))
    body = colour(look, 30, 190, 0.5)
    inner = (wide * 0.6, high * 1.1) if wide > high else (wide * 1.1, high * 0.6)
    return scene.mark(board.cover(board.box(*inner, 0.01, x, y)), body)
