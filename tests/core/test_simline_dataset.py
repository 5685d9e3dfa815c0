from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.evaluate.datasets import find_classes
from core.simline import UnknownName, defects_of
from core.simline.dataset import Amount, DatasetExists, write_dataset


def test_a_data_set_is_found_as_one_of_mvtecs_layout(tmp_path: Path) -> None:
    written = list(write_dataset(tmp_path, ["washer", "mesh"], Amount(2, 3, 1), seed=4, size=96))
    assert len(written) == sum(2 + 3 + len(defects_of(name)) for name in ("washer", "mesh"))
    found = find_classes(tmp_path)
    assert sorted(one.name for one in found) == ["mesh", "washer"]
    for defect in defects_of("washer"):
        mask = np.asarray(Image.open(tmp_path / "washer" / "ground_truth" / defect / "000_mask.png"))
        assert mask.shape == (96, 96)
        assert set(np.unique(mask)) == {0, 255}
        assert Image.open(tmp_path / "washer" / "test" / defect / "000.png").mode == "RGB"


def test_the_same_arguments_write_the_same_files(tmp_path: Path) -> None:
    first, second = (
        list(write_dataset(tmp_path / name, ["glass"], Amount(1, 1, 1), size=64)) for name in ("first", "second")
    )
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in second]


def test_nothing_is_written_over_and_unknown_classes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mesh").mkdir()
    with pytest.raises(DatasetExists, match="mesh is there already"):
        list(write_dataset(tmp_path, ["washer", "mesh"]))
    with pytest.raises(UnknownName, match="unicorn"):
        list(write_dataset(tmp_path, ["unicorn"]))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mesh"]
