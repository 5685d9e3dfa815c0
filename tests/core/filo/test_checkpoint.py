"""Checkpoints of the release, made here: both namings of attention, and what is refused, in words."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from core.filo.checkpoint import Architecture, architecture_of, read_checkpoint
from core.filo.head import FiloHead, HeadRecord
from core.filo.heads import find_head, import_head
from core.model_error import ModelError
from core.weights.store import Store
from tests.core.filo.conftest import lively, random_clip

SMALL = Architecture("small", 98, 14, 5, 32, 48, 20)
STAMP = "2026-01-01T00:00:00Z"
State = dict[str, Tensor]


def small_head() -> FiloHead:
    record = HeadRecord(
        model="small",
        image_size=(98, 98),
        activation="gelu",
        depth=5,
        width=32,
        joint=48,
        text_width=20,
        layers=(2, 3, 4, 5),
        released=True,
    )
    return lively(FiloHead(record))


@cache
def _clip() -> State:
    state = random_clip(98).state_dict()
    return state | {"token_embedding.weight": state["token_embedding.weight"][:64].clone()}


def released_state(renamed: bool = False) -> State:
    """The state dict as the release saves it: after scoring, attention of the later blocks is renamed."""
    clip = _clip()
    state = {name: value.clone() for name, value in small_head().state_dict().items()}
    for name, value in clip.items():
        number = int(name.split(".")[3]) if name.startswith("visual.transformer.resblocks.") else 0
        if renamed and number >= 2:
            for ours, theirs in (("in_proj_weight", "qkv.weight"), ("in_proj_bias", "qkv.bias"), ("out_proj", "proj")):
                name = name.replace(f"attn.{ours}", f"attn.{theirs}")
        state[f"clip_model.{name}"] = value
        if not name.startswith("visual."):
            state[f"text_encoder.{name}"] = value
    if renamed:
        state["clip_model.visual.attn.qkv.weight"] = torch.zeros(96, 32)  # the last one that the release made
    return state


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("renamed", [False, True], ids=["in_proj and out_proj", "qkv and proj"])
def test_the_head_of_a_checkpoint_is_taken_and_kept(tmp_path: Path, renamed: bool) -> None:
    file = saved(tmp_path / "filo_train_on_visa.pth", {"filo": released_state(renamed)})
    store = Store(tmp_path / "models")
    record, _ = import_head(store, file, SMALL, STAMP)
    assert (record.model, record.tag, record.source) == ("filo", "filo_train_on_visa", f"imported from {file.name}")
    head = find_head("filo_train_on_visa", store)
    assert head.record.released
    assert head.record.activation == "gelu"
    assert head.record.layers == (2, 3, 4, 5)
    wanted = small_head().state_dict()
    assert head.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in head.state_dict().items())
    assert [entry.problem for entry in store.entries()] == [""]
    assert store.verify(store.entries()[0]) == ""


def test_a_head_that_was_trained_here_is_kept_as_it_is(tmp_path: Path) -> None:
    small_head().save(tmp_path / "trained.safetensors")
    store = Store(tmp_path / "models")
    record, of_head = import_head(store, tmp_path / "trained.safetensors", architecture_of("ViT-L-14-336"), STAMP)
    assert (record.tag, of_head) == ("trained", small_head().record)
    assert find_head("trained", store).fingerprint == small_head().fingerprint


def test_half_precision_and_a_checkpoint_without_its_clip_are_taken(tmp_path: Path) -> None:
    own = {name: value.half() for name, value in small_head().state_dict().items()}
    head = read_checkpoint(saved(tmp_path / "own.pth", {"filo": own}), SMALL)
    assert all(value.dtype == torch.float32 for value in head.state_dict().values())


def test_its_layers_are_those_of_the_release() -> None:
    model = architecture_of("ViT-L-14-336")
    assert (model.depth, model.width, model.joint, model.text_width, model.patch) == (24, 1024, 768, 768, 14)


class _RunsCode:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("made by a pickle",)


def without(name: str) -> Callable[[State], Any]:
    return lambda state: {"filo": {key: value for key, value in state.items() if key != name}}


def instead(name: str, value: Any) -> Callable[[State], Any]:
    return lambda state: {"filo": state | {name: value}}


QKV = "clip_model.visual.transformer.resblocks.3.attn.in_proj_weight"
REFUSED: dict[str, tuple[Callable[[State], Any], str]] = {
    "no key filo": (lambda state: state, "is no checkpoint of FiLo: it has .* the one key filo"),
    "a list": (lambda state: [1, 2], "is no checkpoint of FiLo: it has no keys"),
    "no state dict": (lambda state: {"filo": 3}, "what is under its key filo is no state dict"),
    "text in the place of a tensor": (instead("adapter.fc.0.weight", "text"), "adapter.fc.0.weight .* is no tensor"),
    "whole numbers": (instead("adapter.fc.0.weight", torch.ones(24, 48, dtype=torch.int64)), "holds int64, not float"),
    "numbers of eight bits that are not finite": (
        instead("adapter.fc.0.weight", torch.full((24, 48), torch.nan).to(torch.float8_e4m3fn)), "holds what is no fin"
    ),
    "sparse": (instead("adapter.fc.0.weight", torch.ones(24, 48).to_sparse()), "a tensor without all of its numbers"),
    "no numbers": (instead("adapter.fc.0.weight", torch.ones(24, 48, device="meta")), "without all of its numbers"),
    "not finite": (instead("adapter.fc.0.weight", torch.full((24, 48), torch.nan)), "fc.0.weight holds what is no fin"),
    "no adapter": (without("adapter.fc.2.weight"), "lacks adapter.fc.2.weight"),
    "no 5 x 1": (without("decoder_cov.fc_51.2.bias"), r"lacks decoder_cov.fc_51.2.bias"),
    "one decoder more": (instead("decoder_linear.fc.4.weight", torch.ones(48, 32)), "holds decoder_linear.fc.4.weight"),
    "a stranger": (instead("optimizer.step", torch.ones(1)), "holds optimizer.step, which no checkpoint"),
    "other joint space": (instead("decoder_linear.fc.0.weight", torch.ones(64, 32)), r"\(64, 32\) there, \(48, 32\)"),
    "context of other words": (instead("normal_prompt_learner.ctx", torch.ones(12, 24)), r"ctx is \(12, 24\) there"),
    "one block less": (
        lambda state: {"filo": {key: state[key] for key in state if "l.transformer.resblocks.4" not in key}},
        "its CLIP has 4 blocks, small has 5; name the model that it is of",
    ),
    "attention of no naming": (without(QKV), "block 4 of its CLIP has neither attn.in_proj_weight nor attn.qkv.weight"),
    "another size": (
        instead("clip_model.visual.positional_embedding", torch.ones(26, 32)),
        "positional_embedding is 26 x 32, small at 98 px has 50 x 32; name the model that it is of, and its input size",
    ),
    "code": (instead("adapter.fc.0.weight", _RunsCode()), "reading those would run code"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_whole_checkpoint_of_the_model_is_refused(
    make: Callable[[State], Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = saved(tmp_path / "bad.pth", make(released_state()))
    store = Store(tmp_path / "models")
    with pytest.raises(ModelError, match=message) as refused:
        import_head(store, file, SMALL, STAMP)
    assert "bad.pth" in str(refused.value)
    assert store.entries() == []
    assert not Path("made by a pickle").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("../up", "cannot be called '../up'"), ("", "cannot be called ''"), (".hidden", "beginning with a-z or 0-9")],
)
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        import_head(Store(tmp_path), tmp_path / "no.pth", SMALL, STAMP, name)


def test_a_file_that_is_not_there_or_not_as_given_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    with pytest.raises(ModelError, match=r"no\.pth: no such file"):
        import_head(store, tmp_path / "no.pth", SMALL, STAMP)
    file = tmp_path / "torn.pth"
    file.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(ModelError, match=r"torn\.pth cannot be read"):
        import_head(store, file, SMALL, STAMP)
    with pytest.raises(ModelError, match=r"has SHA-256 .*, not 00"):
        import_head(store, file, SMALL, STAMP, sha256="00" * 32)
    with pytest.raises(ModelError, match=r"FiLo head 'torn': no such file, and none of that name .*bring one here"):
        find_head("torn", store)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("ViT-X", 518, "'ViT-X' is not known to open_clip; the release's is ViT-L-14-336"),
        ("RN50", 224, "'RN50' is no plain ViT"),
        ("ViT-L-14-336", 500, "patches of 14 px; use a multiple"),
    ],
)
def test_a_model_that_cannot_be_is_refused(name: str, size: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        architecture_of(name, size)
