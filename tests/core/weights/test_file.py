"""Whoever has a file that torch does not read safely is never advised to read it unsafely."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch

from core.backbone import load_backbone
from core.model_error import ModelError
from core.towers import load_tower
from core.training.export import export
from core.training.measure import load_trained
from core.weights.fetch import import_file
from core.weights.file import load_tensors
from core.weights.store import Store

ADVICE = ("weights_only", "trust", "safe_globals", "torch.load", "arbitrary")
OBJECTS, DAMAGED = "holds objects beyond tensors", "no file of weights|failed|corrupt|damaged|archive|negative seek"


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil-was-here"),)


def whole_model(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), path)


def script(path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))


def half(path: Path) -> None:
    torch.save({"a": torch.zeros(10_000)}, path)
    path.write_bytes(path.read_bytes()[:5000])


MAKERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "code": (lambda path: torch.save({"state_dict": Evil()}, path), OBJECTS),
    "code of old": (
        lambda path: torch.save({"state_dict": Evil()}, path, _use_new_zipfile_serialization=False),
        OBJECTS,
    ),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps({"a": Evil()})), f"{OBJECTS}|{DAMAGED}"),
    "a whole model": (whole_model, OBJECTS),
    "a program": (script, OBJECTS),
    "text": (lambda path: path.write_text("hello, these are no weights"), DAMAGED),
    "nothing": (lambda path: path.write_bytes(b""), DAMAGED),
    "a half": (half, DAMAGED),
}

LOADERS: dict[str, Callable[[Path, Path], object]] = {
    "tensors": lambda path, _: load_tensors(path),
    "in memory": lambda path, _: load_tensors(BytesIO(path.read_bytes()), "in memory"),
    "open_clip": lambda path, _: load_backbone("ViT-S-32-alt", str(path), "cpu", "fp32"),
    "timm": lambda path, _: load_tower("timm:test_vit", weights=str(path)),
    "import": lambda path, folder: import_file(
        Store(folder / "store"), path, "timm:test_vit", "r160_in1k", "2026-01-31T06:00:00.000Z"
    ),
    "export": lambda path, folder: export(path, "name", folder),
    "a checkpoint": lambda path, _: load_trained(path),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.filterwarnings("ignore")
def test_no_error_advises_to_read_it_unsafely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], loader: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pt"
    make, words = MAKERS[kind]
    make(path)
    with pytest.raises(ModelError, match=words) as caught:
        LOADERS[loader](path, tmp_path)
    said = str(caught.value)
    printed = "".join(capfd.readouterr())
    for advice in ADVICE:
        assert advice.lower() not in said.lower()
        assert advice.lower() not in printed.lower()
    assert "\n" not in said
    assert "\x1b" not in said
    assert caught.value.__cause__ is None, "a traceback would show it"
    assert not (tmp_path / "evil-was-here").exists()
