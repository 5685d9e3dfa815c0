"""Defects of shape and assembly: pieces missing, bent, misplaced, broken threads, spoilt print."""

from __future__ import annotations

import cv2
import numpy as np

from core.simline.board import Picture
from core.simline.draw import Rng
from core.simline.marks import Place, blob, stroke
from core.simline.scene import Scene, paint
from core.simline.texture import blur, warp


def missing_piece(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A piece broken out of the edge: the background shows."""
    radius = scene.board.size / 240 * rng.uniform(6.0, 9.0 + 12.0 * severity)
    shape = blob(rng, scene.board.size, at, (radius * rng.uniform(0.9, 1.5), radius), rng.uniform(0, 3), 0.25)
    break_edge = np.clip(blob(rng, scene.board.size, at, (radius * 1.3, radius * 1.2), 0.0, 0.2) - shape, 0, 1)
    picture = paint(scene.picture, break_edge * scene.surface * 0.35, (235.0, 235.0, 235.0))
    return paint(picture, shape * scene.surface, scene.background)


def burr(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """Ragged material standing out over the edge."""
    size = scene.board.size
    radius = size / 240 * rng.uniform(4.0, 6.0 + 7.0 * severity)
    shape = blob(rng, size, at, (radius * rng.uniform(1.2, 2.2), radius * 0.7), rng.uniform(0, np.pi), 0.55)
    outside = shape * (1.0 - scene.surface)
    near = blur(scene.picture * scene.surface[..., None], radius)
    weight = blur(scene.surface, radius)
    tone = near / np.maximum(weight, 0.05)[..., None]
    return paint(scene.picture, outside, tone * np.float32(rng.uniform(0.8, 1.3)))


def bent(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A stretch pushed aside."""
    size = scene.board.size
    radius = size * rng.uniform(0.08, 0.12 + 0.06 * severity)
    push = radius * rng.uniform(0.45, 0.6 + 0.25 * severity)
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.arange(size, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    fall = np.exp(-(((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * radius**2)) * 1.5)
    source_x = (x - push * np.cos(angle) * fall).astype(np.float32)
    source_y = (y - push * np.sin(angle) * fall).astype(np.float32)
    picture = scene.picture.astype(np.float32)
    moved = cv2.remap(picture, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.float32)


def misplaced(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A component turned and shifted away from where it belongs, or gone."""
    size = scene.board.size
    near = min(scene.features, key=lambda feature: (feature[0] - at[0]) ** 2 + (feature[1] - at[1]) ** 2)
    col, row, radius = near
    disc = blob(rng, size, (col, row), (radius * 1.15, radius * 1.15), 0.0, 0.0)
    picture = scene.picture.astype(np.float32)
    ring = np.clip(blob(rng, size, (col, row), (radius * 1.5, radius * 1.5), 0.0, 0.0) - disc, 0, 1) * scene.surface
    total = float(ring.sum())
    fill = (picture * ring[..., None]).sum((0, 1)) / max(total, 1.0)
    empty = paint(picture, blur(disc, 0.8), fill.astype(np.float32))
    if rng.random() < 0.35 and total > 1.0:
        return empty
    turn = cv2.getRotationMatrix2D((col, row), float(rng.choice([-1, 1]) * rng.uniform(25, 60 + 60 * severity)), 1.0)
    angle = rng.uniform(0, 6.28)
    turn[:, 2] = turn[:, 2] + radius * rng.uniform(0.35, 0.6 + 0.5 * severity) * np.array(
        [np.cos(angle), np.sin(angle)]
    )
    return paint(empty, warp(disc, turn), warp(picture, turn))


def weave_break(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """A thread torn or pulled: a stretch across the weave is gone, or lies beside its place."""
    size = scene.board.size
    angle = scene.board.turn + (np.pi / 2 if rng.random() < 0.5 else 0.0)
    length = size * rng.uniform(0.08, 0.14 + 0.14 * severity)
    width = size / 240 * rng.uniform(3.0, 4.5 + 2.5 * severity)
    along = np.linspace(-0.5, 0.5, 9) * length
    sag = np.cumsum(rng.normal(0, 0.015 * length, 9))
    x = at[0] + along * np.cos(angle) - sag * np.sin(angle)
    y = at[1] + along * np.sin(angle) + sag * np.cos(angle)
    strip = stroke(size, x, y, width)
    flat = blur(scene.picture, size / 240 * 3.0)
    gone = paint(scene.picture, strip * scene.surface, flat * np.float32(rng.uniform(0.3, 0.65)))
    if rng.random() < 0.4:
        return gone
    loose = stroke(size, x - 1.6 * width * np.sin(angle), y + 1.6 * width * np.cos(angle), width * 0.5)
    return paint(gone, loose * scene.surface, flat * np.float32(rng.uniform(1.25, 1.6)))


def print_error(rng: Rng, scene: Scene, at: Place, severity: float) -> Picture:
    """Print that is smeared, doubled, or gone over a stretch."""
    size = scene.board.size
    near = min(scene.features, key=lambda feature: (feature[0] - at[0]) ** 2 + (feature[1] - at[1]) ** 2)
    radius = max(near[2], size * 0.06) * rng.uniform(1.0, 1.4 + 0.6 * severity)
    where = blur(blob(rng, size, near[:2], (radius * 1.3, radius), 0.0, 0.2), size / 240) * scene.surface
    picture = scene.picture.astype(np.float32)
    kind = rng.random()
    reach = int(size / 240 * rng.uniform(6, 9 + 6 * severity))
    if kind < 0.4:
        smear = np.asarray(cv2.blur(picture, (2 * reach + 1, 1)), np.float32)
        return paint(picture, where, np.minimum(smear, np.roll(picture, reach // 2, axis=1) * 0.5 + smear * 0.5))
    if kind < 0.7:
        return paint(picture, where, np.minimum(picture, np.roll(picture, (reach // 2, reach), axis=(0, 1)) * 1.1))
    inside = blob(rng, size, near[:2], (radius * 1.3, radius), 0.0, 0.0) > 0.5
    paper = np.percentile(picture[inside], 85, axis=0) if inside.any() else np.full(3, 200.0)
    return paint(picture, where, (float(paper[0]), float(paper[1]), float(paper[2])))
