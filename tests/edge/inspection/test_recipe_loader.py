"""The method on the model, as configured, and the recipes that lines judge by."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.adaptation import TextFeatures
from core.alfa import Alfa, Method
from core.packs.compiled import compile_pack
from core.packs.pack import PromptPack, load_pack
from core.traits import CLIP_TRAITS
from core.weights.source import ModelError
from edge.clock import monotonic
from edge.inference import Inference, InferenceStoppedError
from edge.inspection.methods import Methods
from edge.inspection.recipe_loader import Recipes
from edge.settings import LineSettings, MethodSettings, ModelSettings, Settings
from tests.support.recipes import stored

PACKS = ("bottle", "tile", "cable", "zipper")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"memory_layers": (99,)}, r"memory layers \[99\]"),
        ({"scales": (16,)}, "16"),
        ({"weighted": True, "adaptation": False}, r"weighted .* set adaptation = true"),
    ],
)
def test_a_method_that_does_not_fit_the_model_is_refused_in_words(
    tmp_path: Path, method: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelError, match=rf"the method does not fit the model: .*{words}"):
        Methods(model(tmp_path)).get(MethodSettings(**method))


def test_every_switch_of_the_method_can_be_set_but_for_those_that_make_it_winclip(tmp_path: Path) -> None:
    """Red on the old code: temperature, memory_gain and weighted could be set nowhere."""
    winclips = {"unit_prompts", "local_in_image", "image_in_map"}
    names = {field.name for field in fields(Method)} - winclips
    assert names == set(MethodSettings.model_fields) - {"name", "filo"}
    asked: dict[str, Any] = {
        "scales": (2,),
        "stride": 2,
        "windows": "exact",
        "adaptation": True,
        "weighted": True,
        "aligner": "ridge",
        "llm_prompts": False,
        "temperature": 0.01,
        "memory_gain": 4.0,
        "few_shot": "alfa",
        "memory_layers": (2, 3),
    }
    assert set(asked) == names
    made = Methods(model(tmp_path)).get(MethodSettings(**asked)).method
    assert {name: getattr(made, name) for name in names} == asked
    assert Methods(model(tmp_path)).get(MethodSettings()).method == Method().on(CLIP_TRAITS)


def model(folder: Path) -> ModelSettings:
    return ModelSettings(name="untrained", weights=None, device="cpu", dtype="fp32", store=folder)


def line(pack: str) -> LineSettings:
    return LineSettings(pack=pack, camera={"source": "sim:bottle"})


METHOD = MethodSettings(scales=(3,), stride=3)


def settings(folder: Path) -> Settings:
    return Settings(model=model(folder), method=METHOD, lines={"one": line("bottle")})


@pytest.fixture
def methods(tmp_path: Path) -> Methods:
    return Methods(model(tmp_path))


@pytest.fixture
def alfa(methods: Methods) -> Alfa:
    made = methods.get(METHOD)
    assert isinstance(made, Alfa)
    return made


@pytest.fixture
def inference() -> Iterator[Inference]:
    running = Inference(1)
    running.start()
    yield running
    running.stop()


def same(text: TextFeatures, other: TextFeatures) -> bool:
    assert text.descriptors is not None
    assert other.descriptors is not None
    pairs = ((text.normal, other.normal), (text.abnormal, other.abnormal), (text.descriptors, other.descriptors))
    return all(torch.allclose(found, expected, atol=1e-5) for found, expected in pairs)


def test_four_packs_are_compiled_at_once_while_frames_go_on(
    alfa: Alfa, methods: Methods, inference: Inference, tmp_path: Path
) -> None:
    """Red on the old code: three of four fail with `'NoneType' object has no attribute 'encode_text'`."""
    recipes = Recipes(settings(tmp_path), methods, inference)
    words = recipes.load(stored(pack="metal_nut"), load_pack("metal_nut")).text
    assert not recipes.text_loaded
    threads: set[str] = set()
    embed = alfa.backbone.text.embed

    def watched(sentences: Sequence[str]) -> torch.Tensor:
        threads.add(threading.current_thread().name)
        return embed(sentences)

    alfa.backbone.text.embed = watched  # type: ignore[method-assign,assignment]
    waits: list[float] = []
    with ThreadPoolExecutor(len(PACKS)) as pool:
        loads = [pool.submit(recipes.load, stored(pack=name), load_pack(name)) for name in PACKS]
        while not all(load.done() for load in loads):
            begun = monotonic()
            inference.submit(alfa, np.zeros((64, 64, 3), np.uint8), words, line="one").result(20)
            waits.append(monotonic() - begun)
    alfa.backbone.text.embed = embed  # type: ignore[method-assign]
    for name, load in zip(PACKS, loads, strict=True):
        assert same(load.result().text, alfa.text(compile_pack(alfa.backbone, load_pack(name))))
    assert threads == {"inference"}
    assert len(waits) > 50, "frames are inspected meanwhile"
    assert max(waits) < 1.0
    alfa.backbone.text.release()


def test_the_last_to_need_the_text_half_lets_go_of_it(
    alfa: Alfa, methods: Methods, inference: Inference, tmp_path: Path
) -> None:
    recipes = Recipes(settings(tmp_path), methods, inference)
    reads = 0
    reload = alfa.backbone.text._reload
    assert reload is not None

    def counted() -> Any:
        nonlocal reads
        reads += 1
        return reload()

    alfa.backbone.text._reload = counted
    alfa.backbone.text.release()
    with recipes.text_half():
        for name in PACKS:
            recipes.load(stored(pack=name), load_pack(name))
        assert recipes.text_loaded
    assert not recipes.text_loaded
    assert reads == 1
    again = Recipes(settings(tmp_path), methods, inference)
    again.load(stored(pack="bottle"), load_pack("bottle"))  # from its file
    assert reads == 1


def test_lines_with_one_pack_compile_it_once_and_share_it(
    alfa: Alfa, methods: Methods, inference: Inference, tmp_path: Path
) -> None:
    recipes = Recipes(settings(tmp_path), methods, inference)
    with ThreadPoolExecutor(4) as pool:
        texts = {id(recipe.text) for recipe in pool.map(partial(_load, recipes), ["bottle"] * 4)}
    assert len(texts) == 1


def _load(recipes: Recipes, name: str) -> Any:
    return recipes.load(stored(pack=name), load_pack(name))


def test_a_pack_that_cannot_be_compiled_can_be_later(
    alfa: Alfa, methods: Methods, inference: Inference, tmp_path: Path
) -> None:
    recipes = Recipes(settings(tmp_path / "models"), methods, inference)
    pack: PromptPack = load_pack("bottle")
    (tmp_path / "models").write_text("in the way of the folder")
    for _ in range(2):
        with pytest.raises(ModelError, match=r"model\.store"):
            recipes.load(stored(pack="bottle"), pack)
    assert not recipes.text_loaded
    (tmp_path / "models").unlink()
    assert recipes.load(stored(pack="bottle"), pack).wire.pack == "bottle"


def test_a_stop_ends_a_compilation(methods: Methods, inference: Inference, tmp_path: Path) -> None:
    recipes = Recipes(settings(tmp_path), methods, inference)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(recipes.load, stored(pack="bottle"), load_pack("bottle"))
        begun = monotonic()
        inference.stop()
        with pytest.raises(InferenceStoppedError):
            load.result(20)
    assert monotonic() - begun < 2.0
