"""Methods beside each other on one model."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.alfa import Alfa
from core.filo.filo import Filo
from core.filo.head import load_head
from core.image import Rgb
from core.model_error import ModelError
from core.packs.pack import load_pack
from core.simline import render
from core.weights.store import Store
from edge.inference import Inference, NotFiniteError
from edge.inspection.methods import Methods, check_method, model_part
from edge.inspection.recipe_loader import Recipes
from edge.settings import LineSettings, MethodSettings, ModelSettings, Settings
from tests.support.filo_heads import random_head
from tests.support.recipes import stored

MODEL = {"name": "bundled", "weights": None, "device": "cpu", "dtype": "fp32", "tower": "none"}


@pytest.fixture(scope="module")
def methods() -> Methods:
    return Methods(ModelSettings(**MODEL))


@pytest.fixture(scope="module")
def head(methods: Methods, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_head(tmp_path_factory.mktemp("heads"), methods.backbone)


def filo(head: Path | str, **chosen: Any) -> MethodSettings:
    return MethodSettings(name="filo", filo={"checkpoint": str(head)} | chosen)


def part(seed: int = 0) -> Rgb:
    return render("bottle", 1, seed, 1.0).image


def test_each_method_is_made_once_on_one_model(methods: Methods, head: Path) -> None:
    plain, named = methods.get(MethodSettings()), methods.get(filo(head))
    assert isinstance(plain, Alfa)
    assert isinstance(named, Filo)
    assert plain.backbone is named.backbone is methods.backbone
    assert methods.get(filo(head)) is named
    assert methods.get(MethodSettings(scales=(3,))) not in (plain, named)
    assert (model_part(plain).method, model_part(plain).head) == ("alfa", None)
    other = methods.get(filo(random_head(head.parent, methods.backbone, seed=1)))
    assert len({plain.basis, named.basis, other.basis}) == 3, "no threshold of the one is another's"
    told = model_part(named)
    assert (told.method, told.head, told.scales, told.windows) == ("filo", named.head.fingerprint, (), "none")


def test_no_frame_waits_for_the_tokenizer(
    methods: Methods, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pack of many defects is thousands of sentences."""
    named = methods.get(filo(head))
    assert isinstance(named, Filo)
    threads, tokenize = [], named.encoder._tokenize

    def noted(sentences: Any) -> Any:
        threads.append(threading.current_thread())
        return tokenize(sentences)

    monkeypatch.setattr(named.encoder, "_tokenize", noted)
    settings = Settings(
        model=MODEL | {"store": tmp_path}, method=filo(head), lines={"a": {"camera": {"source": "sim:bottle"}}}
    )
    inference = Inference(1)
    inference.start()
    recipe = Recipes(settings, methods, inference).load(stored(line="a"), load_pack("bottle"))
    inference.stop()
    assert threads
    assert set(threads) == {threading.current_thread()}
    assert torch.equal(recipe.text.abnormal.words, named.texts(load_pack("bottle")).abnormal.words)


def test_a_line_may_have_a_method_of_its_own(methods: Methods, head: Path, tmp_path: Path) -> None:
    camera = {"source": "sim:bottle"}
    settings = Settings(
        model=MODEL | {"store": tmp_path},
        lines={"plain": {"camera": camera}, "named": {"camera": camera, "method": filo(head).model_dump()}},
    )
    inference = Inference(1)
    inference.start()
    recipes, pack = Recipes(settings, methods, inference), load_pack("bottle")
    loaded = {name: recipes.load(stored(line=name, **dict(line.recipe)), pack) for name, line in settings.lines.items()}
    assert {name: recipe.model.method for name, recipe in loaded.items()} == {"plain": "alfa", "named": "filo"}
    assert recipes.text_loaded, "FiLo needs it for each part"
    judged = {
        name: inference.submit(recipe.inspector, part(), recipe.text, line=name).result(60).inspection
        for name, recipe in loaded.items()
    }
    for name, recipe in loaded.items():
        alone = recipe.inspector.inspect([part()], [recipe.text])[0]
        np.testing.assert_allclose(judged[name].patch_map, alone.patch_map, atol=1e-5)
    inference.stop()
    assert loaded["named"].kinds[loaded["named"].text.phrases[0]] in pack.defects
    assert loaded["plain"].texts_sha256 != loaded["named"].texts_sha256


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"checkpoint": "nowhere"}, "FiLo head 'nowhere': no such file, and none of that name in the store"),
        ({"gate": "suspects", "grounding": "/nowhere"}, "Grounding DINO /nowhere cannot be loaded: .*hf download"),
    ],
)
def test_what_is_missing_is_refused_with_a_remedy(
    methods: Methods, head: Path, chosen: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        methods.get(filo(head, **chosen))
    with pytest.raises(ModelError, match=words):  # `config check` says it before the start does
        check_method(filo(head, **chosen), Store(head.parent / "models"))


@pytest.mark.parametrize("gate", ["suspects", "all"])
def test_a_gate_without_the_extra_is_refused(
    methods: Methods, head: Path, gate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"needs transformers .*: install the extra grounding with "):
        methods.get(filo(head, gate=gate))
    assert methods.get(filo(head)).remark.startswith("without Grounding DINO")


def test_a_head_of_another_model_is_refused(methods: Methods, head: Path, tmp_path: Path) -> None:
    other = Methods(ModelSettings(**MODEL | {"name": "untrained"}))
    with pytest.raises(ModelError, match=r"the FiLo head of bundled.*; name the model bundled$"):
        other.get(filo(head))


def test_a_head_is_needed() -> None:
    with pytest.raises(ValueError, match=r'set filo\.checkpoint to "bundled", or to what `alfa-edge filo import`'):
        MethodSettings(name="filo")
    with pytest.raises(ValueError, match="leave few_shot out"):
        MethodSettings(name="filo", filo={"checkpoint": "x"}, few_shot="alfa")


def test_a_line_of_no_table_has_the_services_method() -> None:
    assert LineSettings(camera={"source": "sim:bottle"}).method is None


def test_what_a_head_makes_no_number_of_names_the_head(methods: Methods, head: Path) -> None:
    """Its numbers are finite, and what they make is not: the model's weights alone were blamed."""
    broken = load_head(head)
    for parameter in broken.decoder_linear.parameters():
        parameter.data.fill_(1e38)
    named, inference = Filo(methods.backbone, broken), Inference(1)
    inference.start()
    with pytest.raises(NotFiniteError, match=rf"is not a finite number; .* or the FiLo head {broken.fingerprint[:12]}"):
        inference.submit(named, part(), named.texts(load_pack("bottle"))).result(60)
    inference.stop()
