"""Data sets as people have them: what is understood, and that the rest is named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.evaluate.datasets import DataClass, DatasetError, find_classes, read_mask, require_both_labels
from tests.support.data_sets import write_mask, write_picture

GOODS = ("good/0.png", "good/1.png")


def _tree(root: Path, *files: str) -> Path:
    """Pictures, and with `*` before them masks with one pixel."""
    for name in files:
        if name.startswith("*"):
            write_mask(root / name[1:], (0, 0))
        else:
            write_picture(root / name)
    return root


def _found(root: Path) -> tuple[DataClass, dict[str, tuple[str, list[str]]]]:
    """The one class, and the kind and masks of each defective picture, by their paths."""
    (data,) = find_classes(root)
    assert all(read_mask(sample, (8, 8)).sum() == bool(sample.masks) for sample in data.test)
    return data, {
        sample.path.relative_to(root).as_posix(): (
            sample.defect,
            [mask.relative_to(root).as_posix() for mask in sample.masks],
        )
        for sample in data.test
        if sample.anomalous
    }


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        *(
            ("bad/0.png", f"bad/0{ending}.png")
            for ending in ("_label", "_mask", "-GT", ".mask", "_ground_truth", " seg")
        ),
        ("bad/0.jpg", "bad/0_label.bmp"),
        ("bad/0.jpg", "bad/0.png"),
        ("bad/0.png", "bad/mask_0.png"),
        ("bad/0.png", "bad/masks/0.png"),
        ("bad/0.png", "bad/Ground Truth/0_mask.png"),
        *(("bad/0.png", f"{folder}/0.png") for folder in ("mask", "Masks", "label", "labels", "gt", "groundtruth")),
        *(("bad/0.png", f"{folder}/0.png") for folder in ("mask/bad", "bad_mask", "gt_bad", "defect_masks")),
        ("bad/0.png", "annotations/0_gt.png"),
    ],
)
@pytest.mark.parametrize("split", ["", "test/"])
def test_masks_wherever_they_lie(tmp_path: Path, picture: str, mask: str, split: str) -> None:
    """Beside the pictures, below them, beside their folder; in plain folders and in a split data set."""
    _tree(tmp_path, *(f"{split}{good}" for good in GOODS), f"{split}{picture}", f"*{split}{mask}")
    data, defects = _found(tmp_path)
    assert defects == {f"{split}{picture}": ("bad", [f"{split}{mask}"])}
    assert len(data.test) == 3
    assert not any("Left out" in note or "Not read" in note for note in data.notes)


def test_parts_may_be_called_as_masks(tmp_path: Path) -> None:
    """Where none belongs to a picture, they are what is inspected; where one does, those of no picture are noted."""
    _tree(tmp_path / "labels", *GOODS, "bad/red_label.png", "bad/blue_label.png")
    data, defects = _found(tmp_path / "labels")
    assert sorted(defects) == ["bad/blue_label.png", "bad/red_label.png"]
    _tree(tmp_path / "masked", *GOODS, "bad/0.png", "*bad/0_label.png", "*bad/7_label.png", "*good/0_label.png")
    data, defects = _found(tmp_path / "masked")
    assert defects == {"bad/0.png": ("bad", ["bad/0_label.png"])}
    assert len(data.test) == 3
    assert "Left out, as masks of no picture: 1 file (bad/7_label.png)." in data.notes
    assert "Not read, as masks of good parts: 1 file (good/0_label.png)." in data.notes


def test_pictures_without_a_label_are_noted(tmp_path: Path) -> None:
    _tree(tmp_path, *GOODS, "bad/0.png", "loose.png")
    data, _ = _found(tmp_path)
    assert "Left out, as no folder says whether they are good: 1 file (loose.png)." in data.notes


def test_several_masks_of_one_picture(tmp_path: Path) -> None:
    _tree(tmp_path, *GOODS, "bad/0.png", "*bad/0_mask_1.png", "*bad/0_mask2.png")
    assert _found(tmp_path)[1] == {"bad/0.png": ("bad", ["bad/0_mask2.png", "bad/0_mask_1.png"])}


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    _tree(tmp_path, *GOODS, "bad/crack/0.png")
    (tmp_path / "good/again").symlink_to(tmp_path / "good")
    (tmp_path / "bad/crack/above").symlink_to(tmp_path / "bad")
    data, _ = _found(tmp_path)
    assert sorted(path.name for path in data.files()) == ["0.png", "0.png", "1.png"]


def test_two_formats_of_a_good_part_are_two_pictures(tmp_path: Path) -> None:
    _tree(tmp_path, "good/0.jpg", "good/0.png", "bad/1.png")
    assert len(_found(tmp_path)[0].test) == 3


KINDS: Mapping[str, tuple[tuple[str, ...], dict[str, tuple[str, list[str]]]]] = {
    "kinds below NG": (
        ("OK/0.png", "NG/crack/0.png", "NG/dent/0.png", "*mask/crack/0.png", "*mask/NG/dent/0.png"),
        {"NG/crack/0.png": ("crack", ["mask/crack/0.png"]), "NG/dent/0.png": ("dent", ["mask/NG/dent/0.png"])},
    ),
    "kinds below NG of a split": (
        ("train/OK/9.png", "test/OK/0.png", "test/NG/crack/0.png", "*ground_truth/NG/crack/0_mask.png"),
        {"test/NG/crack/0.png": ("crack", ["ground_truth/NG/crack/0_mask.png"])},
    ),
    "some with a kind": (
        ("OK/0.png", "NG/1.png", "NG/crack/2.png", "*NG/mask/1.png", "*mask/crack/2.png"),
        {"NG/1.png": ("NG", ["NG/mask/1.png"]), "NG/crack/2.png": ("crack", ["mask/crack/2.png"])},
    ),
    "masks below NG": (
        ("OK/0.png", "NG/crack/0.png", "*NG/mask/crack/0.png"),
        {"NG/crack/0.png": ("crack", ["NG/mask/crack/0.png"])},
    ),
    "by day": (("good/monday/0.png", "good/tuesday/0.png", "bad/0.png"), {"bad/0.png": ("bad", [])}),
    "Real-IAD": (
        ("OK/S0001/a_OK_C1.jpg", "NG/BX/S0007/a_NG_BX_C1.jpg", "*NG/BX/S0007/a_NG_BX_C1.png"),
        {"NG/BX/S0007/a_NG_BX_C1.jpg": ("BX", ["NG/BX/S0007/a_NG_BX_C1.png"])},
    ),
    "MVTec AD 2": (
        (
            *("train/good/0_regular.png", "validation/good/0_regular.png", "test_private/0.png"),
            *("test_public/good/0_regular.png", "test_public/bad/0_overexposed.png"),
            "*test_public/ground_truth/bad/0_overexposed_mask.png",
        ),
        {
            "test_public/bad/0_overexposed.png": (
                "bad",
                ["test_public/ground_truth/bad/0_overexposed_mask.png"],
            )
        },
    ),
}


@pytest.mark.parametrize("layout", KINDS)
def test_kinds_of_defects(tmp_path: Path, layout: str) -> None:
    files, expected = KINDS[layout]
    data, defects = _found(_tree(tmp_path, *files))
    assert defects == expected
    assert sum(not sample.anomalous for sample in data.test) == (2 if layout == "by day" else 1)
    assert (data.layout == "MVTec AD 2") == (layout == "MVTec AD 2")
    assert not any("Left out" in note for note in data.notes)


def test_kinds_of_visa(tmp_path: Path) -> None:
    """By `image_anno.csv`; a table that is none costs the kinds, and is noted."""
    anomaly = "pcb1/Data/Images/Anomaly"
    _tree(tmp_path, "pcb1/Data/Images/Normal/0.JPG", *(f"{anomaly}/{name}.JPG" for name in "abc"))
    table = tmp_path / "pcb1/image_anno.csv"
    rows = [f"{anomaly}/a.JPG,bent,", f'{anomaly}/b.JPG,"bent,melt",', "pcb1/Data/Images/Normal/0.JPG,normal,"]
    table.write_text("\n".join(["image,label,mask", *rows]), "utf-8-sig")
    _, defects = _found(tmp_path)
    assert [kind for kind, _ in defects.values()] == ["bent", "bent, melt", "anomaly"]
    table.write_bytes(b"\xff\xfe\0")
    data, defects = _found(tmp_path)
    assert [kind for kind, _ in defects.values()] == ["anomaly"] * 3
    assert any("image_anno.csv cannot be read" in note for note in data.notes)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("part/test/good/0.png",), r"part \(MVTec AD\) has 1 good and 0 defective ones"),
        (("part/test/crack/0.png",), r"part \(MVTec AD\) has 0 good and 1 defective ones"),
        (("good/0.png", "bad/deep/notes.txt.d/._0.png"), r"plain folders\) has 1 good and 0 defective ones.*Left out"),
    ],
)
def test_one_label_is_nothing_to_measure(tmp_path: Path, files: tuple[str, ...], said: str) -> None:
    _tree(tmp_path, *files)
    with pytest.raises(DatasetError, match=rf"good and defective test pictures are needed.*{said}"):
        require_both_labels(find_classes(tmp_path), tmp_path)


def test_folders_of_other_names_are_named(tmp_path: Path) -> None:
    _tree(tmp_path, "good/0.png", "scratch/0.png", "crack/0.png")
    with pytest.raises(DatasetError, match=r"no data set.*There are crack, good, scratch: rename or move them so"):
        find_classes(tmp_path)


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    """A class's name is what can be said of it, also when it is asked for; its files are found."""
    name = os.fsdecode(b"pi\xe8ce")
    _tree(tmp_path / name, *GOODS, "bad/0.png")
    (data,) = find_classes(tmp_path, [name])
    assert data.name == r"pi\udce8ce"
    assert all(path.is_file() for path in data.files())
