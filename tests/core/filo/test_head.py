"""A head on disk: with its record, checked as it is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import save_file

from core.filo.filo import Filo
from core.filo.head import FiloHead, layers_of, load_head, record_for
from core.filo.heads import find_head
from core.model_error import ModelError


def test_a_saved_head_is_the_same_again(clean: Filo, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    clean.head.save(path)
    again = load_head(path)
    assert again.record == clean.head.record
    assert again.fingerprint == clean.head.fingerprint
    assert not again.training


def test_half_precision_halves_the_file(clean: Filo, tmp_path: Path) -> None:
    clean.head.save(tmp_path / "full.safetensors")
    clean.head.save(tmp_path / "half.safetensors", dtype=torch.float16)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.55 * sizes[1]
    again = load_head(tmp_path / "half.safetensors")
    for name, value in again.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, clean.head.state_dict()[name], atol=1e-3, rtol=1e-3)


def test_the_same_seed_is_the_same_head(clean: Filo) -> None:
    record = record_for(clean.backbone)
    assert FiloHead(record, 3).fingerprint == FiloHead(record, 3).fingerprint != FiloHead(record, 4).fingerprint


@pytest.mark.parametrize(
    ("depth", "layers"),
    [(2, (1, 2)), (4, (1, 2, 3, 4)), (6, (2, 3, 5, 6)), (12, (3, 6, 9, 12)), (24, (6, 12, 18, 24))],
)
def test_layers_are_the_quarters_of_the_depth(depth: int, layers: tuple[int, ...]) -> None:
    assert layers_of(depth) == layers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ()}, "layers"),
        ({"layers": (1,)}, "name two or more, or a start before them"),
        ({"layers": (2, 1)}, "name some of the blocks 1 to 5, ascending"),
        ({"layers": (1, 6)}, "blocks 1 to 5"),
        ({"layers": (5,), "start": 5}, "start 5: name a block from 1 to 4"),
        ({"layers": (2, 5), "start": 1, "released": True}, "start: in the release"),
        ({"kernels": ("99",)}, "kernels .*'99'.* are not known; use some of 11, 33"),
    ],
)
def test_what_cannot_be_is_refused(clean: Filo, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        record_for(clean.backbone, **changes)


def test_what_is_not_as_it_was_written_is_refused(clean: Filo, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    with pytest.raises(ModelError, match=r"head\.safetensors: no such file"):
        load_head(path)
    torch.save({"filo": {}}, tmp_path / "released.pth")
    with pytest.raises(ModelError, match=r"released\.pth holds no FiLo head, .*; bring a checkpoint of the release"):
        load_head(tmp_path / "released.pth")
    path.write_bytes(b"no safetensors")
    with pytest.raises(ModelError, match="cannot be read"):
        load_head(path)
    save_file({"ctx": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="holds no FiLo head"):
        load_head(path)
    clean.head.save(path)
    with safe_open(path, framework="pt") as file:
        facts, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors | {"adapter.fc.0.weight": tensors["adapter.fc.0.weight"] + 1}, path, facts)
    with pytest.raises(ModelError, match="is damaged: its tensors are not those"):
        load_head(path)
    save_file(tensors, path, facts | {"filo": facts["filo"].replace('"depth":5', '"depth":1')})
    with pytest.raises(ModelError, match=r"its record is not right \(depth: .*make it anew"):
        load_head(path)


@pytest.mark.parametrize("field", ["width", "joint", "text_width", "bottleneck", "depth"])
def test_a_record_of_sizes_that_no_model_has_is_refused(clean: Filo, tmp_path: Path, field: str) -> None:
    """A file of a few bytes must not cost memory, or end in the words of torch."""
    path = tmp_path / "head.safetensors"
    record = clean.head.record.model_dump(by_alias=True, mode="json") | {field: 10**18}
    save_file({"ctx": torch.zeros(1)}, path, {"filo": json.dumps(record)})
    with pytest.raises(ModelError, match=rf"its record is not right \({field}: .*make it anew"):
        load_head(path)


def test_a_record_of_an_input_without_pixels_is_refused(clean: Filo) -> None:
    with pytest.raises(ValidationError, match=r"image_size\.0"):
        record_for(clean.backbone, image_size=(0, 518))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int8, torch.bool])
def test_numbers_of_another_kind_are_refused(clean: Filo, tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "head.safetensors"
    facts = {"filo": clean.head.record.model_dump_json(by_alias=True)}
    save_file({**clean.head.state_dict(), "adapter.fc.0.weight": torch.ones(24, 48).to(dtype)}, path, facts)
    with pytest.raises(ModelError, match=r"adapter\.fc\.0\.weight holds .*, not floating numbers"):
        load_head(path)


def test_a_name_that_cannot_be_looked_for_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match=r"cannot be looked for: .*File name too long"):
        find_head("a" * 5000)
    with pytest.raises(ModelError, match="cannot be looked for: Could not determine home directory"):
        find_head("~no-such-user/head.safetensors")
