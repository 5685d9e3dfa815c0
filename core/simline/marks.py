"""Defects that lie on a surface: each takes a scene and a place on the part, and gives the picture with the mark.

`severity` in [0, 1] sets size and contrast; 0 is subtle.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from core.simline.board import Colour, Field, Picture
from core.simline.draw import Rng, colour
from core.simline.scene import Scene, paint
from core.simline.texture import blur, clouds, grain, warp

_SUB = 4  # fractional bits of OpenCV's drawing coordinates
Place = tuple[float, float]


def scratch(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """One to three nearly straight thin lines, brighter or darker than their ground."""
    size = scene.board.size
    angle, length = rng.uniform(0, np.pi), size * rng.uniform(0.1, 0.25 + 0.25 * severity)
    cover = np.zeros((size, size), np.float32)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        along = np.linspace(-0.5, 0.5, 12) * length * rng.uniform(0.6, 1.0)
        bend = rng.uniform(-0.12, 0.12) * length * (along / length) ** 2 * 4
        off = rng.normal(0.0, 0.012 * size)
        x = at[0] + along * np.cos(angle) - (bend + off) * np.sin(angle)
        y = at[1] + along * np.sin(angle) + (bend + off) * np.cos(angle)
        cover = np.maximum(cover, stroke(size, x, y, size / 240 * rng.uniform(0.9, 1.6 + severity)))
    return _tinted(scene, cover, _contrast(rng, severity))


def crack(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A dark jagged line that wanders, with branches."""
    size = scene.board.size
    heading = rng.uniform(0, 2 * np.pi)
    steps = int(rng.integers(8, 14 + int(12 * severity)))
    width = size / 240 * rng.uniform(1.0, 1.8 + 1.2 * severity)
    x, y = _wander(rng, at, heading, steps, size)
    cover = stroke(size, x, y, width)
    for _ in range(int(rng.integers(0, 3))):
        fork = int(rng.integers(2, len(x) - 2))
        turn = heading + rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.2)
        cover = np.maximum(
            cover, stroke(size, *_wander(rng, (x[fork], y[fork]), turn, steps // 2 + 1, size), width * 0.7)
        )
    return _tinted(scene, cover, -rng.uniform(0.45, 0.65 + 0.3 * severity))


def hole(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A ragged opening, dark or showing what is behind, with a lit edge."""
    radius = scene.board.size / 240 * rng.uniform(4.0, 6.0 + 8.0 * severity)
    slant = rng.uniform(0, np.pi)
    edge = blob(rng, scene.board.size, at, (radius * 1.2, radius), slant, 0.2)
    inner = blob(rng, scene.board.size, (at[0] + 0.1 * radius, at[1]), (radius, radius * 0.82), slant, 0.15) * edge
    behind: Picture | Colour = scene.background if rng.random() < 0.5 else (14.0, 13.0, 12.0)
    return paint(_tinted(scene, edge, rng.uniform(-0.3, 0.35)), inner * scene.surface, behind)


def pit(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A few small round pores, each dark with a lit edge."""
    size, picture = scene.board.size, scene.picture
    light = rng.uniform(0, 2 * np.pi)
    for index in range(int(rng.integers(1, 4 + int(6 * severity)))):
        radius = size / 240 * rng.uniform(1.6, 2.6 + 2.4 * severity)
        spread = 0.0 if index == 0 else 0.05 * size
        x, y = at[0] + rng.normal(0, spread + 1e-6), at[1] + rng.normal(0, spread + 1e-6)
        crown = (x + 0.5 * radius * np.cos(light), y + 0.5 * radius * np.sin(light))
        glow = blob(rng, size, crown, (radius, radius), 0, 0.1)
        dark = blob(rng, size, (x, y), (radius, radius * 0.85), rng.uniform(0, 3), 0.1)
        picture = _tint(picture, glow * scene.surface, 0.3)
        picture = _tint(picture, dark * scene.surface, -rng.uniform(0.5, 0.9))
    return picture


def dent(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A smooth hollow: bright on one flank, dark on the other."""
    size = scene.board.size
    radius = size / 240 * rng.uniform(7.0, 11.0 + 11.0 * severity)
    axis = np.arange(size, dtype=np.float32)
    x, y = (axis[None, :] - at[0]) / radius, (axis[:, None] - at[1]) / (radius * rng.uniform(0.6, 1.0))
    light = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(light) * x + np.sin(light) * y) * np.exp(-(x**2 + y**2))
    gain = 1.0 + scene.surface * slope * rng.uniform(0.5, 0.8 + 0.9 * severity)
    return np.asarray(scene.picture * np.clip(gain, 0.3, 1.9)[..., None], np.float32)


def stain(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """Dried liquid: a ragged soft patch that filters the light, darker at its edge."""
    size = scene.board.size
    radius = size / 240 * rng.uniform(7.0, 11.0 + 14.0 * severity)
    shape = blob(rng, size, at, (radius * rng.uniform(1.0, 1.6), radius), rng.uniform(0, np.pi), 0.35)
    soft = blur(shape, size / 240 * rng.uniform(0.8, 2.0))
    rim = np.clip(soft - blur(soft, radius * 0.25), 0.0, 1.0)
    filtered = np.asarray(colour(rng, 255, 256, 0.75), np.float32) / 255.0
    depth = (rng.uniform(0.3, 0.45 + 0.4 * severity) * soft + 0.8 * rim) * scene.surface
    gain = 1.0 + np.clip(depth, 0.0, 1.0)[..., None] * (filtered * rng.uniform(0.6, 0.95) - 1.0)
    return np.asarray(scene.picture * gain, np.float32)


def discoloration(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A large soft patch of another hue or brightness, its texture kept."""
    size = scene.board.size
    radius = size / 240 * rng.uniform(12.0, 18.0 + 16.0 * severity)
    shape = blob(rng, size, at, (radius * rng.uniform(1.0, 1.6), radius), rng.uniform(0, np.pi), 0.25)
    soft = blur(shape, radius * rng.uniform(0.12, 0.3)) * scene.surface
    shift = rng.permutation([1.0, rng.uniform(-0.5, 0.5), -1.0]) * rng.uniform(0.15, 0.25 + 0.2 * severity)
    if rng.random() < 0.3:
        shift = np.full(3, rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.3 + 0.25 * severity))
    return np.asarray(scene.picture * (1.0 + soft[..., None] * shift), np.float32)


def contamination(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A foreign particle, or a fibre, lying on top with its shadow."""
    size = scene.board.size
    if rng.random() < 0.3:
        x, y = _wander(rng, at, rng.uniform(0, 6.28), int(rng.integers(5, 12)), size, 0.5)
        shape = stroke(size, x, y, size / 240 * rng.uniform(1.2, 2.2 + severity))
    else:
        radius = size / 240 * rng.uniform(3.5, 5.0 + 6.0 * severity)
        shape = blob(rng, size, at, (radius * rng.uniform(1.0, 1.8), radius), rng.uniform(0, np.pi), 0.3)
    drop = size / 240 * 1.5
    shade = warp(shape, np.array([[1, 0, drop], [0, 1, drop]], np.float32))
    here = scene.picture[int(np.clip(at[1], 0, size - 1)), int(np.clip(at[0], 0, size - 1))]
    tone = np.asarray(colour(rng, 30, 250, 0.9), np.float32)
    if float(np.abs(tone - here).max()) < 60.0:  # a particle of the ground's own colour is none
        tone = np.where(here > 128, tone * 0.35, 255.0 - (255.0 - tone) * 0.3).astype(np.float32)
    flat = np.broadcast_to(tone, scene.picture.shape) * (1.0 + 0.12 * clouds(rng, size, size / 6))[..., None]
    return paint(_tint(scene.picture, shade * 0.6, -0.5), shape, flat)


def corrosion(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """Rust: a rough patch, brown to orange, frayed."""
    size = scene.board.size
    radius = size / 240 * rng.uniform(8.0, 13.0 + 14.0 * severity)
    shape = blur(blob(rng, size, at, (radius * 1.3, radius), rng.uniform(0, 3), 0.3), radius * 0.3)
    rough = clouds(rng, size, size / 7) + 0.6 * grain(rng, size, 1.5)
    cover = np.clip((shape * 1.6 - 0.75 + 0.35 * rough) * 3.0, 0.0, 1.0) * np.clip(shape * 4, 0, 1) * scene.surface
    tone = np.asarray([rng.uniform(120, 180), rng.uniform(60, 95), rng.uniform(20, 45)], np.float32)
    return paint(scene.picture, cover * rng.uniform(0.65, 0.95), tone * (1.0 + 0.25 * rough)[..., None])


def bubble(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A blister or an enclosed bubble: a dark round rim, a lit crown, a small glint."""
    size = scene.board.size
    radius = size / 240 * rng.uniform(4.0, 6.0 + 8.0 * severity)
    axis = np.arange(size, dtype=np.float32)
    away = np.hypot(axis[None, :] - at[0], axis[:, None] - at[1]) / radius
    ring = np.exp(-(((away - 0.9) / 0.2) ** 2)) * scene.surface
    crown = np.clip(1.0 - away**2, 0.0, 1.0) * scene.surface
    glint = blob(rng, size, (at[0] - 0.35 * radius, at[1] - 0.35 * radius), (radius * 0.3, radius * 0.2), 0.8, 0.1)
    depth = rng.uniform(0.35, 0.5 + 0.3 * severity)
    picture = scene.picture * (1.0 - depth * ring + 0.3 * depth * crown)[..., None]
    return paint(picture, glint * scene.surface, (250.0, 250.0, 250.0))


def stroke(size: int, x: NDArray[np.floating], y: NDArray[np.floating], width: float) -> Field:
    """Coverage in [0, 1] of a line `width` pixels wide through the points."""
    stamp = np.zeros((size, size), np.uint8)
    pixels = max(1, round(width))
    points = np.rint(np.stack([x, y], axis=1) * (1 << _SUB)).astype(np.int32)
    cv2.polylines(stamp, [points], False, 255, pixels, cv2.LINE_AA, _SUB)
    return stamp.astype(np.float32) * np.float32(min(1.0, width / pixels) / 255.0)


def blob(rng: Rng, size: int, at: Place, radii: tuple[float, float], angle: float, rough: float) -> Field:
    """Coverage in [0, 1] of an ellipse whose outline is broken up by `rough`."""
    turn = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
    reach = np.ones(40)
    for order in range(2, 7):
        reach += rough * rng.normal(0, 0.6) / order**0.5 * np.cos(order * turn + rng.uniform(0, 6.28))
    reach = np.clip(reach, 0.3, 1.8)
    along, across = radii[0] * reach * np.cos(turn), radii[1] * reach * np.sin(turn)
    x = at[0] + along * np.cos(angle) - across * np.sin(angle)
    y = at[1] + along * np.sin(angle) + across * np.cos(angle)
    stamp = np.zeros((size, size), np.uint8)
    points = np.rint(np.stack([x, y], axis=1) * (1 << _SUB)).astype(np.int32)
    cv2.fillPoly(stamp, [points], 255, cv2.LINE_AA, _SUB)
    return stamp.astype(np.float32) / np.float32(255.0)


def _contrast(rng: Rng, severity: float) -> float:
    return float(rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 0.5 + 0.5 * severity))


def _tint(picture: Picture, cover: Field, contrast: float) -> Picture:
    """Brighter (towards white) or darker (towards black) by `contrast` where covered."""
    target = np.float32(255.0 if contrast > 0 else 5.0)
    return picture + (abs(contrast) * cover)[..., None] * (target - picture)


def _tinted(scene: Scene, cover: Field, contrast: float) -> Picture:
    return _tint(scene.picture, cover * scene.surface, contrast)


def _wander(
    rng: Rng, start: Place, heading: float, steps: int, size: int, stray: float = 0.3
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Points of a walk from `start` that about keeps its `heading` (radians)."""
    bearing = heading + np.cumsum(rng.normal(0.0, stray, steps)) + rng.normal(0.0, 0.35, steps)
    length = size / 240 * rng.uniform(2.0, 6.0, steps)
    x = start[0] + np.concatenate([[0.0], np.cumsum(length * np.cos(bearing))])
    y = start[1] + np.concatenate([[0.0], np.cumsum(length * np.sin(bearing))])
    return x, y
