"""The head that comes with the package: it belongs to the bundled model, is small, and finds a defect."""

from importlib.resources import files

import pytest

from core import models
from core.backbone import UNTRAINED, load_backbone
from core.filo.filo import Filo
from core.filo.heads import BUNDLED_FILE, find_head, head_name
from core.model_error import ModelError
from core.packs.pack import load_pack
from core.simline import render
from core.training.split import HELD_OUT_CLASSES, HELD_OUT_DEFECTS


@pytest.fixture(scope="module")
def filo() -> Filo:
    return Filo(load_backbone(models.BUNDLED, None, dtype="fp32"), find_head(models.BUNDLED))


def test_it_is_small_and_says_what_it_was_trained_on(filo: Filo) -> None:
    assert len((files(models) / BUNDLED_FILE).read_bytes()) < 1 << 20
    notes = filo.head.record.notes
    assert notes["data"] == ["simline"]
    assert set(notes["held_out"]) == {*HELD_OUT_CLASSES, *HELD_OUT_DEFECTS}
    assert not set(notes["classes"]) & set(HELD_OUT_CLASSES)


def test_it_finds_a_defect_on_a_part_of_a_kind_that_it_never_saw(filo: Filo) -> None:
    pack = load_pack("wood").model_copy(update={"defects": {"hole": ("a dark hole",)}})
    good, bad = (render("wood", 99_000_000, 0, rate, ("hole",)) for rate in (0.0, 1.0))
    fine, amiss = filo.inspect([good.image, bad.image], [filo.texts(pack)] * 2)
    assert amiss.score > fine.score
    inside = bad.mask > 0
    assert amiss.patch_map[inside].mean() > 2 * amiss.patch_map[~inside].mean()


def test_another_model_refuses_it() -> None:
    with pytest.raises(ModelError, match="the FiLo head of bundled-simline-4 is for"):
        Filo(load_backbone(UNTRAINED, None, dtype="fp32"), find_head(models.BUNDLED))


def test_no_head_in_the_store_takes_its_name() -> None:
    with pytest.raises(ModelError, match="comes with the package"):
        head_name(models.BUNDLED)
