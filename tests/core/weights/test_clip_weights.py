"""Weights by path, overrides and input sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.pretrained import _PRETRAINED
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.backbone import load_backbone
from core.model_error import ModelError
from core.overrides import Overrides
from core.weights.fetch import import_file
from core.weights.source import find
from core.weights.store import Store
from tests.support.tiny_clip import TINY, TINY_TOO

SMALL, OTHER, TAG, STAMP = TINY, TINY_TOO, "small_e1", "2026-01-01T00:00:00.000Z"


@pytest.fixture
def state(weights: Path) -> dict[str, Tensor]:
    return load_file(weights)


@pytest.fixture
def store(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """With the weights as those of a tag that has a preprocessing and an activation of its own."""
    settings = {"url": "http://127.0.0.1:9/small.pt", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    monkeypatch.setitem(_PRETRAINED, SMALL, {TAG: {**settings, "quick_gelu": True}})
    made = Store(tmp_path / "models")
    import_file(made, weights, SMALL, TAG, STAMP)
    return made


def loaded(weights: Path | str, store: Store | None = None, **overrides: Any) -> Any:
    return load_backbone(SMALL, str(weights), "cpu", "fp32", store, Overrides(**overrides))


def test_a_path_inside_the_store_keeps_what_its_tag_knew(store: Store) -> None:
    path = store.root / SMALL / f"{TAG}.safetensors"
    by_tag, by_path = loaded(TAG, store), loaded(path, store)
    assert by_path.fingerprint == by_tag.fingerprint
    assert (by_path.pixels.mean, by_path.pixels.std, by_path.assumed) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "")
    assert type(by_path.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


def test_a_path_inside_the_store_of_another_model_or_without_a_record_is_refused(store: Store) -> None:
    path = store.root / SMALL / f"{TAG}.safetensors"
    with pytest.raises(ModelError, match=rf"are those of {SMALL} in the store, not of {OTHER}"):
        find(OTHER, str(path), store)
    (store.root / SMALL / f"{TAG}.json").unlink()
    with pytest.raises(ModelError, match=r"lie in the store and have no record; remove it"):
        find(SMALL, str(path), store)


def test_a_path_that_open_clip_fetched_keeps_what_its_tag_knew(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"url": "http://127.0.0.1:9/small.safetensors", "mean": (0.1, 0.2, 0.3)}
    monkeypatch.setitem(_PRETRAINED, SMALL, {TAG: settings})
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".cache" / "clip" / "small.safetensors"
    path.parent.mkdir(parents=True)
    path.symlink_to(weights)
    assert find(SMALL, str(path)).tag == TAG
    assert find(SMALL, str(path)).settings["mean"] == (0.1, 0.2, 0.3)


def test_what_is_assumed_of_any_other_file_is_said_unless_it_is_set(weights: Path) -> None:
    plain = loaded(weights)
    assert f"weights {weights} have no record of how they were trained; assumed: mean [0.48" in plain.assumed
    assert "activation GELU, as ViT-tiny has it" in plain.assumed
    said = loaded(weights, mean=(0.5, 0.5, 0.5), quick_gelu=True)
    assert "mean" not in said.assumed
    assert "std [0.26" in said.assumed
    known = loaded(weights, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), quick_gelu=False)
    assert known.assumed == ""
    assert len({plain.fingerprint, said.fingerprint, known.fingerprint}) == 3
    assert (known.pixels.mean, known.pixels.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_a_file_whose_positions_would_be_stretched_is_refused(state: Mapping[str, Tensor], tmp_path: Path) -> None:
    """As at an import: open_clip loads weights for another input size without a word."""
    key, path = "visual.positional_embedding", tmp_path / "larger.safetensors"
    save_file({**state, key: torch.randn(1 + 8 * 8, state[key].shape[1])}, str(path))
    with pytest.raises(ModelError, match=r"is \(65, .* 50 in the model; .* pictures of 128 pixels: set the image size"):
        loaded(path)
    assert loaded(path, image_size=128).grid == (8, 8)  # it is what was asked for: nothing is stretched


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_file_with_values_that_are_no_numbers_is_refused(
    state: Mapping[str, Tensor], tmp_path: Path, value: float
) -> None:
    key, path = "transformer.resblocks.0.ln_1.bias", tmp_path / "torn.safetensors"
    changed = state[key].clone()
    changed[3] = value
    save_file({**state, key: changed}, str(path))
    with pytest.raises(ModelError, match=rf"torn\.safetensors: {key} holds values that are not finite"):
        loaded(path)


@pytest.mark.parametrize("name", ["bundled", "untrained"])
def test_another_input_size_interpolates_the_positions_as_open_clip_does(name: str) -> None:
    own, other = load_backbone(name, None), load_backbone(name, None, overrides=Overrides(image_size=(192, 320)))
    assert (other.pixels.size, other.grid) == ((192, 320), (12, 20))
    assert other.fingerprint != own.fingerprint
    table = own.visual.positional_embedding[1:].T.reshape(1, -1, 15, 15)
    fitted = torch.nn.functional.interpolate(table, (12, 20), mode="bicubic", antialias=True, align_corners=False)
    assert torch.equal(other.visual.positional_embedding[1:], fitted.flatten(2)[0].T)
    assert torch.equal(other.visual.conv1.weight, own.visual.conv1.weight)
    assert load_backbone(name, None, overrides=Overrides(image_size=240)).fingerprint == own.fingerprint


def test_a_named_model_takes_another_input_size(weights: Path) -> None:
    own, other = loaded(weights), loaded(weights, image_size=160)
    assert other.grid == (10, 10)
    assert other.fingerprint != own.fingerprint


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"image_size": 250}, r"image size 250 x 250: the patches of bundled are 16 pixels wide; .* 256 x 256"),
        ({"image_size": (240, 8)}, r"image size 240 x 8: .* 240 x 16"),
        (
            {"mean": (0.5, 0.5, 0.5), "quick_gelu": True},
            "comes with its preprocessing and activation; .* mean, quick_g",
        ),
        ({"mean": (0.5, 0.5)}, "name three finite numbers"),
        ({"std": (0.5, 0.0, 0.5)}, "each has to be above 0"),
        ({"mean": (0.5, float("nan"), 0.5)}, "name three finite numbers"),
    ],
)
def test_overrides_that_cannot_be_are_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_backbone("bundled", None, overrides=Overrides(**overrides))
