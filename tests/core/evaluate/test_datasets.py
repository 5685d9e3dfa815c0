"""Miniature trees of each layout: what is found, what is noted, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.evaluate.datasets import DataClass, DatasetError, find_classes, read_mask
from tests.support.data_sets import write_mask as _mask
from tests.support.data_sets import write_picture as _picture
from tests.support.photographs import ROOT

NO_TRAINING = (
    "There are no good training pictures: shots, if any, are drawn from good test pictures, which are then not tested."
)


def _pictures(folder: Path, *names: str) -> None:
    for name in names:
        _picture(folder / name)


def mvtec(root: Path) -> None:
    for name in ("bracket_black", "metal nut"):
        _pictures(root / name / "train/good", "001.png", "000.png")
        _pictures(root / name / "test/good", "000.png")
        _pictures(root / name / "test/crack", "000.png", "001.png")
        _mask(root / name / "ground_truth/crack/000_mask.png", (0, 0))
        _mask(root / name / "ground_truth/crack/001.png", (0, 0))


def loco(root: Path) -> None:
    _pictures(root / "pushpins/train/good", "000.png", "001.png")
    _pictures(root / "pushpins/validation/good", "000.png")
    for kind in ("good", "logical_anomalies", "structural_anomalies"):
        _pictures(root / "pushpins/test" / kind, "000.png")
    for index in range(2):
        _mask(root / f"pushpins/ground_truth/logical_anomalies/000/{index:03d}.png", (0, index), value=200)
    _mask(root / "pushpins/ground_truth/structural_anomalies/000/000.png", (0, 0))


def btad(root: Path) -> None:
    _pictures(root / "01/train/ok", "0000.bmp", "0001.BMP")
    _pictures(root / "01/test/ok", "0000.bmp")
    _pictures(root / "01/test/ko", "0000.bmp", "0001.bmp")
    _mask(root / "01/ground_truth/ko/0000.png", (0, 0))
    _mask(root / "01/ground_truth/ko/0001.bmp", (0, 0))


def prepared_visa(root: Path) -> None:
    _pictures(root / "candle/train/good", "0002.JPG", "0003.JPG")
    _pictures(root / "candle/test/good", "0000.JPG")
    _pictures(root / "candle/test/bad", "000.JPG", "001.JPG")
    for stem in ("000", "001"):
        _mask(root / f"candle/ground_truth/bad/{stem}.png", (0, 0))


def visa(root: Path) -> None:
    """Twenty normal pictures and two with a defect of kinds 1 and 3, as the masks say."""
    for name in ("pcb1", "pipe_fryum"):
        data = root / name / "Data"
        _pictures(data / "Images/Normal", *(f"{index:04d}.JPG" for index in range(20)))
        _pictures(data / "Images/Anomaly", "000.JPG", "001.JPG")
        _mask(data / "Masks/Anomaly/000.png", (0, 0), value=1)
        _mask(data / "Masks/Anomaly/001.png", (0, 0), value=3)
        (root / name / "image_anno.csv").write_text("image,label,mask\n")


def visa_split(root: Path, more: str = "") -> None:
    """Normal 0005 and later train, 0000 tests; with `more` rows."""
    visa(root)
    rows = ["object,split,label,image,mask"]
    for name in ("pcb1", "pipe_fryum"):
        normal, anomaly = f"{name}/Data/Images/Normal", f"{name}/Data/Images/Anomaly"
        rows += [f"{name},train,normal,{normal}/{index:04d}.JPG," for index in range(19, 4, -1)]
        rows += [f"{name},test,normal,{normal}/0000.JPG,"]
        rows += [
            f"{name},test,anomaly,{anomaly}/{one}.JPG,{name}/Data/Masks/Anomaly/{one}.png" for one in ("001", "000")
        ]
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_text("\n".join(rows) + f"\n{more}", "utf-8-sig")


def plain(root: Path, good: str = "good", bad: str = "bad") -> None:
    _pictures(root / good, "1.jpg", "2.JPEG")
    _pictures(root / bad, "3.PNG", "4.png")


def _one(root: Path) -> DataClass:
    found = find_classes(root)
    assert len(found) == 1
    return found[0]


def _labels(found: DataClass) -> list[tuple[str, str, int]]:
    return [(one.path.name, one.defect, len(one.masks)) for one in found.test]


LAYOUTS: dict[str, tuple[Callable[[Path], None], list[tuple[str, str, int, int, int]]]] = {
    # layout: builder, (class, layout, training pictures, good and defective test pictures)
    "mvtec": (mvtec, [(name, "MVTec AD", 2, 1, 2) for name in ("bracket_black", "metal nut")]),
    "loco": (loco, [("pushpins", "MVTec LOCO", 2, 1, 2)]),
    "btad": (btad, [("01", "BTAD", 2, 1, 2)]),
    "prepared visa": (prepared_visa, [("candle", "MVTec AD", 2, 1, 2)]),
    "visa": (
        visa,
        [
            (name, "VisA (no split_csv/1cls.csv: the first 90 % of the normal pictures train)", 18, 2, 2)
            for name in ("pcb1", "pipe_fryum")
        ],
    ),
    "visa split": (visa_split, [(name, "VisA (split_csv/1cls.csv)", 15, 1, 2) for name in ("pcb1", "pipe_fryum")]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path: Path, layout: str) -> None:
    """Each layout is told apart, its pictures are labelled, sorted, and every defect has its masks."""
    build, expected = LAYOUTS[layout]
    build(tmp_path)
    found = find_classes(tmp_path)
    summary = [
        (
            one.name,
            one.layout,
            len(one.train),
            sum(not sample.anomalous for sample in one.test),
            sum(sample.anomalous for sample in one.test),
        )
        for one in found
    ]
    assert summary == expected
    for one in found:
        assert one.notes == ()
        assert list(one.train) == sorted(one.train)
        assert [sample.path for sample in one.test] == sorted(sample.path for sample in one.test)
        assert not set(one.train) & {sample.path for sample in one.test}
        for sample in one.test:
            assert sample.path.is_relative_to(tmp_path / one.name)
            assert sample.anomalous == (sample.defect != "good") == bool(sample.masks)
            assert read_mask(sample, (4, 4)).any() == sample.anomalous


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folder_of_one_class(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a class gives what the data set gives of it, also as `.`, and with VisA's split beside it."""
    build, expected = LAYOUTS[layout]
    build(tmp_path)
    name = expected[0][0]
    assert find_classes(tmp_path / name) == find_classes(tmp_path, [name])
    monkeypatch.chdir(tmp_path / name)
    here = _one(Path())
    assert (here.name, here.layout, len(here.train), len(here.test)) == (*expected[0][:3], sum(expected[0][3:]))
    assert all(sample.path.is_file() and not sample.path.is_absolute() for sample in here.test)


def test_loco_masks_are_joined(tmp_path: Path) -> None:
    loco(tmp_path)
    sample = next(one for one in _one(tmp_path).test if one.defect == "logical_anomalies")
    assert [mask.name for mask in sample.masks] == ["000.png", "001.png"]
    assert np.argwhere(read_mask(sample, (8, 8))).tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("good", "bad"),
    [("good", "bad"), ("OK", "NG"), ("ok", "nok"), ("Normal", "Anomaly"), ("normal", "abnormal"), ("Good", "Defect")],
)
@pytest.mark.parametrize("above", ["", "left", "left/right"])
def test_plain_folders(tmp_path: Path, good: str, bad: str, above: str) -> None:
    """Directly, as one class of several, and not two levels down."""
    plain(tmp_path / above, good, bad)
    if above.count("/"):
        with pytest.raises(DatasetError, match=r"no data set.*There is one in .*left: name that folder"):
            find_classes(tmp_path)
        return
    found = _one(tmp_path)
    assert found.name == (above or tmp_path.name)
    assert found.layout == "plain folders"
    assert found.train == ()
    expected = [("1.jpg", "good", 0), ("2.JPEG", "good", 0), ("3.PNG", bad, 0), ("4.png", bad, 0)]
    assert sorted(_labels(found)) == expected
    assert found.notes == (NO_TRAINING,)


@pytest.mark.parametrize("masks", ["masks", "Ground_Truth", "masks/bad", "ground_truth/Bad"])
def test_plain_folders_with_training_and_masks(tmp_path: Path, masks: str) -> None:
    plain(tmp_path)
    _pictures(tmp_path / "train/good", "9.png")
    _mask(tmp_path / masks / "3.png", (1, 1))
    _mask(tmp_path / masks / "4_mask.png", (2, 2))
    found = _one(tmp_path)
    assert [path.name for path in found.train] == ["9.png"]
    assert _labels(found) == [("3.PNG", "bad", 1), ("4.png", "bad", 1), ("1.jpg", "good", 0), ("2.JPEG", "good", 0)]
    assert found.notes == ()


def test_plain_masks_of_same_names(tmp_path: Path) -> None:
    """A good and a defective part of one name: the mask is the defective one's. Two defective ones: neither's."""
    _pictures(tmp_path / "good", "1.png", "5.png")
    _pictures(tmp_path / "bad", "1.png", "2.png")
    _pictures(tmp_path / "defect", "2.png")
    for name in ("masks/1.png", "masks/2.png", "masks/5.png", "masks/good/1.png"):
        _mask(tmp_path / name, (0, 0))
    found = _one(tmp_path)
    masked = [sample.path.relative_to(tmp_path).as_posix() for sample in found.test if sample.masks]
    assert masked == ["bad/1.png"]
    assert found.notes == (
        "Left out, as masks that fit several pictures: 1 file (masks/2.png).",
        "Not read, as masks of good parts: 2 files (masks/5.png, …).",
        "Defects without a mask, though others have one: 2 files (bad/2.png, …).",
        NO_TRAINING,
    )


def test_litter_is_passed_over(tmp_path: Path) -> None:
    mvtec(tmp_path)
    before = find_classes(tmp_path)
    (tmp_path / "__MACOSX/metal nut/test/good").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "metal nut/test/good", tmp_path / "metal nut/ground_truth/crack"):
        for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._000.png"):
            (folder / name).write_bytes(b"\0")
    (tmp_path / "metal nut/test/.ipynb_checkpoints").mkdir()
    (tmp_path / "license.txt").write_text("")
    assert find_classes(tmp_path) == before


def test_links_are_followed(tmp_path: Path) -> None:
    mvtec(tmp_path / "store")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/nut").symlink_to(tmp_path / "store/metal nut")
    (tmp_path / "store/metal nut/test/good/900.png").symlink_to(tmp_path / "store/bracket_black/test/good/000.png")
    found = _one(tmp_path / "set")
    assert (found.name, len(found.train), len(found.test)) == ("nut", 2, 4)


def test_dangling_link_is_kept(tmp_path: Path) -> None:
    """So that the evaluation lists it as broken."""
    mvtec(tmp_path)
    (tmp_path / "metal nut/test/good/900.png").symlink_to(tmp_path / "away.png")
    assert "900.png" in [sample.path.name for sample in find_classes(tmp_path, ["metal nut"])[0].test]


def test_notes(tmp_path: Path) -> None:
    """What does not fit together is kept out of the samples' masks and said."""
    mvtec(tmp_path)
    top = tmp_path / "metal nut"
    _pictures(top / "test/crack", "007.png")
    _pictures(top / "test/crack/deep", "000.png")
    (top / "test/crack/notes.docx").write_bytes(b"")
    (top / "test/bend").mkdir()
    for name in ("crack/099_mask.png", "fold/000_mask.png", "good/000_mask.png"):
        _mask(top / "ground_truth" / name, (0, 0))
    found = find_classes(tmp_path, ["metal nut"])[0]
    assert _labels(found) == [
        ("000.png", "crack", 1),
        ("001.png", "crack", 1),
        ("007.png", "crack", 0),
        ("000.png", "crack", 0),
        ("000.png", "good", 0),
    ]
    assert found.notes == (
        "test/bend is empty.",
        "Pictures in folders among those of crack are read too: test/crack/deep.",
        "Left out, as no pictures of a kind that is read: 1 file (test/crack/notes.docx).",
        "Left out, as masks of no picture: 1 file (ground_truth/crack/099_mask.png).",
        "Left out, as masks of no picture: 1 file (ground_truth/fold/000_mask.png).",
        "Not read, as masks of good parts: 1 file (ground_truth/good/000_mask.png).",
        "Defects without a mask, though others have one: 2 files (test/crack/007.png, …).",
    )


def test_class_without_masks_has_no_notes(tmp_path: Path) -> None:
    _pictures(tmp_path / "a/train/good", "0.png")
    _pictures(tmp_path / "a/test/good", "0.png")
    _pictures(tmp_path / "a/test/crack", "0.png")
    assert _one(tmp_path).notes == ()


def test_masks_that_are_not_where_they_belong(tmp_path: Path) -> None:
    """Or not in a format that is read: the class then looks as if it had none, which is said."""
    _pictures(tmp_path / "a/train/good", "0.png")
    _pictures(tmp_path / "a/test/good", "0.png")
    _pictures(tmp_path / "a/test/crack", "0.png")
    _mask(tmp_path / "a/ground_truth/9_mask.png", (0, 0))
    (tmp_path / "a/ground_truth/crack").mkdir()
    (tmp_path / "a/ground_truth/crack/0.npy").write_bytes(b"")
    assert _one(tmp_path).notes == (
        "Left out, as no masks of a kind that is read: 1 file (ground_truth/crack/0.npy).",
        "Left out, as masks of no picture: 1 file (ground_truth/9_mask.png).",
    )


def test_one_label_only(tmp_path: Path) -> None:
    _pictures(tmp_path / "a/test/good", "0.png")
    _pictures(tmp_path / "b/test/crack", "0.png")
    good, bad = (one.notes[0] for one in find_classes(tmp_path))
    assert good.startswith("There are no defective test pictures")
    assert bad.startswith("There are no good test pictures")


def test_names(tmp_path: Path) -> None:
    """Only the asked ones are looked into, in the order of their names and once each."""
    mvtec(tmp_path)
    _pictures(tmp_path / "broken/train/good", "0.png")
    found = find_classes(tmp_path, ["metal nut", "bracket_black", "metal nut"])
    assert [one.name for one in found] == ["bracket_black", "metal nut"]
    with pytest.raises(
        DatasetError, match=r"no class 'Metal_nut' \(did you mean 'metal nut'\?\); there are bracket_bl"
    ):
        find_classes(tmp_path, ["Metal_nut"])
    with pytest.raises(DatasetError, match=r"no class 'xyz'; there are bracket_black, broken, metal nut$"):
        find_classes(tmp_path, ["xyz"])


def test_no_names_are_all(tmp_path: Path) -> None:
    mvtec(tmp_path)
    assert find_classes(tmp_path, []) == find_classes(tmp_path)


def test_no_data_set(tmp_path: Path) -> None:
    """The message names the folder and what was looked for."""
    _pictures(tmp_path / "good", "0.png")
    with pytest.raises(DatasetError, match=r"no data set; looked in it.*MVTec AD.*VisA.*good with bad") as caught:
        find_classes(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    with pytest.raises(DatasetError, match="no such folder"):
        find_classes(tmp_path / "away")
    with pytest.raises(DatasetError, match="a file; unpack it"):
        find_classes(tmp_path / "good/0.png")


@pytest.mark.parametrize("folder", ["a/train/good", "a/test", "a/Data/Images/Normal"])
def test_empty_test_split(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"a: no test pictures \(.*leave the class 'a' out"):
        find_classes(tmp_path)


def test_pictures_directly_in_test_are_refused(tmp_path: Path) -> None:
    """Without a folder nothing says whether they are good, which is said."""
    _pictures(tmp_path / "a/test", "0.png")
    with pytest.raises(DatasetError, match=r"no test pictures.*no folder says whether they are good: 1 file \(test/0"):
        find_classes(tmp_path)


def test_empty_plain_folders(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    with pytest.raises(DatasetError, match="no test pictures"):
        find_classes(tmp_path)


def test_visa_split_notes(tmp_path: Path) -> None:
    """Rows without a picture, masks without a row, and defects whose mask is away."""
    visa_split(tmp_path, "pcb1,train,normal,pcb1/Data/Images/Normal/0999.JPG,\n")
    (tmp_path / "pcb1/Data/Masks/Anomaly/001.png").rename(tmp_path / "pcb1/Data/Masks/Anomaly/777.png")
    assert find_classes(tmp_path, ["pcb1"])[0].notes == (
        "In split_csv/1cls.csv and not on disk: 1 file (Data/Images/Normal/0999.JPG).",
        "Left out, as masks of no picture in split_csv/1cls.csv: 1 file (Data/Masks/Anomaly/777.png).",
        "Defects without a mask, though others have one: 1 file (Data/Images/Anomaly/001.JPG).",
    )


def test_visa_class_that_the_split_does_not_name(tmp_path: Path) -> None:
    visa_split(tmp_path)
    (tmp_path / "pcb1").rename(tmp_path / "pcb9")
    found = find_classes(tmp_path, ["pcb9"])[0]
    assert len(found.train) == 18
    assert found.layout.startswith("VisA (no split_csv/1cls.csv")
    assert found.notes == ("split_csv/1cls.csv does not name pcb9, so that it is not used.",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("pcb1,train,anomaly,pcb1/Data/Images/Anomaly/000.JPG,", "trains and is no normal picture"),
        ("pcb1,holdout,normal,pcb1/Data/Images/Normal/0000.JPG,", "the split 'holdout'"),
        ("pcb1,test,unclear,pcb1/Data/Images/Normal/0000.JPG,", "the label 'unclear'"),
        ("pcb1,test,normal,../away.JPG,", r"'\.\./away\.JPG' is no path below pcb1"),
        ("pcb1,test,normal,pcb1/../away.JPG,", "is no path below pcb1"),
        ("pcb1,test,normal,/away.JPG,", "is no path below pcb1"),
        ("pcb1,test,normal", "is no path below pcb1"),  # a row that was cut off
    ],
)
def test_visa_split_that_is_none(tmp_path: Path, row: str, message: str) -> None:
    visa_split(tmp_path, row)
    with pytest.raises(DatasetError, match=r"1cls\.csv: .*" + message):
        find_classes(tmp_path, ["pcb1"])


@pytest.mark.parametrize("content", [b"object,split,image\n", b"", b"\xff\xfe\0"])
def test_visa_split_that_is_no_table(tmp_path: Path, content: bytes) -> None:
    visa_split(tmp_path)
    (tmp_path / "split_csv/1cls.csv").write_bytes(content)
    with pytest.raises(DatasetError, match="restore the file, or remove it"):
        find_classes(tmp_path)


@pytest.mark.parametrize("depth", [1, 2])
def test_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int) -> None:
    """It may be a class, and so is not passed over; one further down is looked into for a hint only."""
    iterdir = Path.iterdir

    def guarded(folder: Path) -> Iterator[Path]:
        if folder.name == "metal nut":
            raise PermissionError(13, "Permission denied")
        return iterdir(folder)

    top = tmp_path if depth == 1 else tmp_path / "set"
    mvtec(top)
    monkeypatch.setattr(Path, "iterdir", guarded)
    with pytest.raises(DatasetError, match="metal nut: Permission denied" if depth == 1 else "no data set"):
        find_classes(tmp_path)


_PHOTOGRAPHS = {"commutator": (40, 102), "magnetic_tile": (80, 230)}


@pytest.mark.parametrize("name", [*(one for one in _PHOTOGRAPHS if (ROOT / one).is_dir()), "generated"])
def test_photographs(tmp_path: Path, name: str) -> None:
    """Real trees where they are at hand, and a generated one of the same layout."""
    if name == "generated":
        mvtec(tmp_path)
        root, name, counts = tmp_path, "metal nut", (2, 3)
    else:
        root, counts = ROOT, _PHOTOGRAPHS[name]
    found = find_classes(root, [name])[0]
    assert (len(found.train), len(found.test)) == counts
    assert found.notes == ()
    for sample in found.test:
        assert read_mask(sample, (240, 240)).any() == sample.anomalous
