from pathlib import Path

import pytest
import torch

from core.backbone import Backbone, load_backbone
from core.bank.feature_maps import FeatureMaps
from core.evaluate.map_cache import MapCache, View
from tests.support.parts import write_dataset


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained", None, "cpu", "fp32")


def cache(root: Path, backbone: Backbone, shape: tuple[int, int] = (160, 160)) -> tuple[MapCache, list[bool]]:
    fresh: list[bool] = []
    maps = FeatureMaps(backbone, None, shape)
    return MapCache(root, maps.kinds, maps.__call__, backbone, 2, lambda _, new: fresh.append(new)), fresh


def test_maps_are_encoded_once_and_read_as_they_were(backbone: Backbone, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", train=3, good=0, bad=0)
    views = [View(path, path.stem) for path in sorted(root.rglob("*.png"))]
    views.append(View(views[0].path, views[0].digest, 4))
    first, fresh = cache(tmp_path / "cache", backbone)
    first.encode(views)
    again, later = cache(tmp_path / "cache", backbone)
    again.encode(views)
    assert (fresh, later) == ([True, True], [False, False])
    for kind, one, mirrored in zip(first.kinds, again.load(views[0]), again.load(views[3]), strict=True):
        assert one.shape == (1, *kind.shape)
        assert one.dtype == torch.float32
        assert not torch.equal(one, mirrored)


def test_other_shapes_are_kept_apart(backbone: Backbone, tmp_path: Path) -> None:
    assert cache(tmp_path, backbone)[0].folder != cache(tmp_path, backbone, (160, 320))[0].folder


def test_damaged_maps_are_named(backbone: Backbone, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", train=1, good=0, bad=0)
    (view,) = [View(path, path.stem) for path in root.rglob("*.png")]
    one, _ = cache(tmp_path / "cache", backbone)
    one.encode([view])
    (file,) = one.folder.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"safetensors: the cached feature maps are damaged .* delete the file"):
        one.load(view)
