"""A training on a CLIP of a few thousand weights: it learns, is the same twice, and goes on where it was cut short."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.backbone import Backbone
from core.filo.filo import Filo
from core.filo.head import FiloHead, record_for
from core.filo.text import FiloTexts
from core.filo.training.pictures import Example
from core.filo.training.recipe import Recipe
from core.filo.training.tokens import Encoder, TokenCache
from core.filo.training.trainer import CHECKPOINT, CheckpointError, Progress, Trainer

RECIPE = Recipe(epochs=2, adapter_epochs=1, batch=2, decoder_rate=1e-3, adapter_rate=1e-3, fall=0.5, prompts=2)
Weights = dict[str, torch.Tensor]


class Bench:
    """What a training needs, but for the recipe and the folder."""

    def __init__(
        self, backbone: Backbone, examples: list[Example], texts: dict[str, FiloTexts], tokens: Path | None
    ) -> None:
        self.backbone, self.examples, self.texts, self.tokens = backbone, examples, texts, tokens

    def trainer(self, folder: Path, recipe: Recipe = RECIPE) -> Trainer:
        filo = Filo(self.backbone, FiloHead(record_for(self.backbone), seed=3))
        cache = TokenCache(self.tokens, Encoder(filo), 1 << 30)
        return Trainer(filo, self.examples, self.texts, cache, recipe, folder)

    def trained(self, folder: Path, recipe: Recipe = RECIPE) -> Weights:
        folder.mkdir()
        return weights(self.trainer(folder, recipe).run())


@pytest.fixture
def bench(backbone: Backbone, examples: list[Example], texts: dict[str, FiloTexts], tokens_folder: Path) -> Bench:
    return Bench(backbone, examples, texts, tokens_folder)


def weights(head: FiloHead) -> Weights:
    return {name: value.detach().clone() for name, value in head.state_dict().items()}


def same(first: Weights, second: Weights) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def losses(trainer: Trainer) -> list[float]:
    told: list[Progress] = []
    trainer.run(told.append)
    assert [progress.step for progress in told] == list(range(1, told[0].steps + 1))
    return [progress.loss for progress in told]


def test_the_maps_learn_what_they_are_shown(bench: Bench, tmp_path: Path) -> None:
    found = losses(bench.trainer(tmp_path, replace(RECIPE, epochs=7, adapter_epochs=0, mosaics=0.0)))
    assert sum(found[-7:]) < 0.7 * sum(found[:7])


def test_the_adapter_learns_what_it_is_shown(bench: Bench, tmp_path: Path) -> None:
    bench.examples = bench.examples[:2]
    recipe = replace(RECIPE, epochs=0, adapter_epochs=6, adapter_rate=1e-2, mosaics=0.0, fall=0.0, prompts=0)
    found = losses(bench.trainer(tmp_path, recipe))
    assert found == sorted(found, reverse=True)


def test_each_stage_trains_its_own_part_and_the_tower_nothing(bench: Bench, tmp_path: Path) -> None:
    tower = {name: value.clone() for name, value in bench.backbone.visual.state_dict().items()}
    text = {name: value.clone() for name, value in bench.backbone.text.load().state_dict().items()}
    start = weights(FiloHead(record_for(bench.backbone), seed=3))
    maps = bench.trained(tmp_path / "maps", replace(RECIPE, adapter_epochs=0))
    adapter = bench.trained(tmp_path / "adapter", replace(RECIPE, epochs=0))
    for name, value in start.items():
        assert torch.equal(value, maps[name]) == name.startswith("adapter"), name
        assert torch.equal(value, adapter[name]) != name.startswith("adapter"), name
    assert same(tower, bench.backbone.visual.state_dict())
    assert same(text, bench.backbone.text.load().state_dict())


def test_a_seed_gives_one_head_and_another_seed_another(bench: Bench, tmp_path: Path) -> None:
    first, again = (bench.trained(tmp_path / name) for name in ("first", "again"))
    assert same(first, again)
    assert not same(first, bench.trained(tmp_path / "other", replace(RECIPE, seed=1)))


@pytest.mark.parametrize("step", [1, 5, 6, 7])  # within a stage, and around the border between both
def test_cut_short_and_resumed_it_comes_to_the_same(bench: Bench, tmp_path: Path, step: int) -> None:
    whole = bench.trained(tmp_path / "whole")
    cut = tmp_path / "cut"
    cut.mkdir()
    bench.trainer(cut).run(until=step)
    assert same(whole, weights(bench.trainer(cut).run()))
    assert same(whole, weights(bench.trainer(cut).run())), "one that is done stays as it is"


def test_without_any_token_kept_it_comes_to_the_same(bench: Bench, tmp_path: Path) -> None:
    kept = bench.trained(tmp_path / "kept")
    bench.tokens = None
    assert same(kept, bench.trained(tmp_path / "fresh"))


@pytest.mark.parametrize(("other", "named"), [({"seed": 9}, "seed"), ({"batch": 3, "fall": 0.1}, "batch, fall")])
def test_a_checkpoint_of_another_training_is_refused(
    bench: Bench, tmp_path: Path, other: dict[str, float], named: str
) -> None:
    bench.trainer(tmp_path).run(until=1)
    with pytest.raises(CheckpointError, match=f"{CHECKPOINT} is of a training with other {named}: give the same"):
        bench.trainer(tmp_path, replace(RECIPE, **other)).run()


def test_a_checkpoint_of_other_pictures_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.trainer(tmp_path).run(until=1)
    bench.examples = bench.examples[:4]
    with pytest.raises(CheckpointError, match="with other pictures"):
        bench.trainer(tmp_path).run()


def test_all_prompts_and_no_mosaics_can_be_asked_for(bench: Bench, tmp_path: Path) -> None:
    bench.trained(tmp_path / "all", replace(RECIPE, epochs=1, prompts=0, mosaics=0.0))
    bench.trained(tmp_path / "mosaics", replace(RECIPE, epochs=1, mosaics=1.0))


def test_half_precision_is_bfloat16_and_learns_too(bench: Bench, tmp_path: Path) -> None:
    bench.backbone = replace(bench.backbone, dtype="bf16")
    trainer = bench.trainer(tmp_path, replace(RECIPE, epochs=7, adapter_epochs=0, mosaics=0.0))
    found = losses(trainer)
    assert sum(found[-7:]) < 0.7 * sum(found[:7])
    assert all(value.dtype == torch.float32 for value in trainer.run().state_dict().values())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epochs": -1}, "epochs -1: it is 0 or more"),
        ({"batch": 0}, "batch 0: it is 1 or more"),
        ({"decoder_rate": 0.0}, "decoder_rate 0.0: a learning rate"),
        ({"context_rate": float("nan")}, "context_rate nan: a learning rate"),
        ({"mosaics": 1.5}, "mosaics 1.5: a share"),
        ({"epochs": 0, "adapter_epochs": 0}, "nothing to do"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Recipe(**wrong)
