"""A fingerprint tells models apart by all that their output depends on, and not by the machine."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core import backbone as module
from core.backbone import CLIP_MEAN, CLIP_STD, wrap_model
from core.clip import CLIP
from core.fingerprint import STEP, coarse, projections, refuse_not_finite
from core.model_error import ModelError

CPU = torch.device("cpu")
VISION = {"image_size": 64, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


def made(vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **settings: Any) -> CLIP:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return CLIP(32, {**VISION, **(vision or {})}, {**TEXT, **(text or {})}, **settings)


def fingerprint(model: CLIP, mean: tuple[float, ...] = CLIP_MEAN) -> str:
    return wrap_model("small", model, lambda _: torch.zeros(1, 77), CPU, "fp32", mean, CLIP_STD).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        {"vision": {"head_width": 32}},
        {"text": {"heads": 4}},
        {"quick_gelu": True},
        {"vision": {"norm_kwargs": {"eps": 1e-3}}},
        {"vision": {"act_kwargs": {"approximate": "tanh"}}},
        {"vision": {"final_ln_after_pool": True}},
        {"text": {"no_causal_mask": True}},
    ],
    ids=lambda other: str(next(iter(other.values()))),
)
def test_the_same_tensors_in_another_architecture_are_another_model(other: dict[str, Any]) -> None:
    base, changed = made(), made(**other)
    changed.load_state_dict(base.state_dict())
    assert base.state_dict().keys() == changed.state_dict().keys()
    assert fingerprint(base) != fingerprint(changed)


def test_the_same_model_made_twice_has_one_fingerprint() -> None:
    assert fingerprint(made()) == fingerprint(made()) != fingerprint(made(), (0.5, 0.5, 0.5))


def test_what_the_pass_computes_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that computes something else under the same names makes another model."""
    before = fingerprint(made())
    monkeypatch.setattr(torch.nn.GELU, "forward", lambda _, x: x * torch.sigmoid(1.702 * x))
    assert fingerprint(made()) != before


def test_rounding_moves_no_projection_by_a_noticeable_part_of_a_step() -> None:
    """A hundred times the rounding of float32 is nothing to a step."""
    torch.manual_seed(0)
    output = torch.nn.functional.normalize(torch.randn(1, 640), dim=-1)
    near = output * (1 + 1e-5 * torch.randn_like(output))
    moved = [abs(a - b) for a, b in zip(projections(output), projections(near), strict=True)]
    assert max(moved) < STEP / 1000
    assert coarse([output]) == coarse([near])


def test_the_bundled_model_lies_far_from_the_edges_of_the_steps() -> None:
    """Its shots hold on every machine: the margin is far above what processors differ by."""
    network, known = module.load_clip("bundled", None)
    pixels = module.Preprocess((240, 240), known.mean, known.std, CPU)
    values = [value for one in module._output(network.eval(), pixels) for value in projections(one)]
    margins = [min(value % STEP, STEP - value % STEP) for value in values]
    assert min(margins) > 1e-4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    model = made()
    model.visual.proj.data[3, 4] = value
    with pytest.raises(ModelError, match=r"weights mine\.pt: visual\.proj holds values that are not finite numbers"):
        refuse_not_finite(model, "mine.pt")
