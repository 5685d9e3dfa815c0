from pathlib import Path

import numpy as np
import pytest

from core.training.pool import Pool
from core.training.split import ANY, HELD_OUT_CLASSES, HELD_OUT_DEFECTS, TRAINED_CLASSES, TRAINED_DEFECTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    Pool(folder, 16, 5, 1)
    return folder


def test_pictures_come_in_pairs_of_one_part(folder: Path) -> None:
    batch = Pool(folder, 16, 5, 1).draw(np.random.default_rng(0), 8)
    assert batch.images.shape == (8, 240, 240, 3)
    assert batch.images.dtype == np.uint8
    assert batch.damage.shape == (8, 15, 15)
    assert set(batch.defects.tolist()) <= set(range(-1, len(TRAINED_DEFECTS)))
    for bad, good in zip(range(0, 8, 2), range(1, 8, 2), strict=True):
        assert batch.classes[bad] == batch.classes[good]
        assert not batch.damage[good].any()
        change = np.abs(batch.images[bad].astype(int) - batch.images[good].astype(int)).max(axis=2)
        assert change.any() == batch.damage[bad].any()
        changed = (change.reshape(15, 16, 15, 16).max(axis=(1, 3)) > 16) & (batch.damage[bad] == 0)
        assert not changed.any()  # turned and mirrored together with what is known of them


def test_rendering_is_done_once_and_draws_repeat(folder: Path) -> None:
    before = {one: one.stat().st_mtime_ns for one in folder.iterdir()}
    first, second = (Pool(folder, 16, 5, 1).draw(np.random.default_rng(3), 4) for _ in range(2))
    assert np.array_equal(first.images, second.images)
    assert before == {one: one.stat().st_mtime_ns for one in folder.iterdir()}


def test_hard_classes_are_drawn_more_often(folder: Path) -> None:
    def share(often: list[str]) -> float:
        drawn = [Pool(folder, 16, 5, 1, often).draw(np.random.default_rng(one), 8).classes for one in range(20)]
        return float(np.mean(np.concatenate(drawn) == 0))

    assert share(TRAINED_CLASSES[:1]) > 1.5 * share([])


def test_nothing_held_out_is_shown() -> None:
    assert not set(TRAINED_CLASSES) & set(HELD_OUT_CLASSES)
    assert not set(TRAINED_DEFECTS) & set(HELD_OUT_DEFECTS)
    assert TRAINED_CLASSES[-1] == ANY  # whose anchor is the last
    assert len(HELD_OUT_CLASSES) >= 3
    assert len(HELD_OUT_DEFECTS) >= 2
