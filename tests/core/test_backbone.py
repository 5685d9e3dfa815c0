from pathlib import Path

import open_clip
import pytest
import torch

from core.backbone import Backbone, load_backbone, resolve_device, resolve_dtype
from core.weights.source import ModelError, find
from tests.support.tiny_clip import TINY

SMALL = TINY


def test_the_untrained_model_is_the_same_everywhere(backbone: Backbone) -> None:
    again = load_backbone("untrained", None, "cpu", "fp32")
    assert again.fingerprint == backbone.fingerprint
    assert len(again.fingerprint) == 64
    assert again.name == "untrained"
    assert again.grid == (15, 15)


def test_the_fingerprint_is_of_the_weights_and_not_of_the_dtype(backbone: Backbone) -> None:
    assert load_backbone("untrained", None, "cpu", "bf16").fingerprint == backbone.fingerprint


def test_a_weights_file_is_loaded(weights: Path) -> None:
    loaded = load_backbone(SMALL, str(weights), "cpu", "fp32")
    state = open_clip.create_model(SMALL, str(weights)).state_dict()
    assert torch.equal(loaded.visual.proj, state["visual.proj"])
    assert loaded.embed_text(["a part", "another part"]).shape == (2, loaded.visual.output_dim)
    assert loaded.fingerprint != load_backbone("untrained", None).fingerprint


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.safetensors"
    path.write_bytes(b"\x00" * 64)
    with pytest.raises(ModelError, match=r"torn\.safetensors do not load"):
        load_backbone(SMALL, str(path))


def test_a_file_that_holds_code_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(ModelError, match=r"evil\.pt do not load"):
        load_backbone(SMALL, str(path))
    assert not (Path.cwd() / "evil-was-here").exists()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("evil-was-here"),))  # type: ignore[return-value]


def test_weights_of_another_model_are_named(weights: Path) -> None:
    with pytest.raises(ModelError, match="do not load into ViT-B-32"):
        load_backbone("ViT-B-32", str(weights))


@pytest.mark.parametrize(
    ("name", "tag", "message"),
    [
        ("ViT-B-16-plus-241", "laion400m_e32", "did you mean ViT-B-16-plus-240"),
        ("ViT-B-16-plus-240", "laion400m_e99", "its tags: laion400m_e31, laion400m_e32"),
        ("ViT-B-16-plus-240", "/nowhere/weights.pt", "no such file"),
        ("ViT-B-16-plus-240", None, "needs weights"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(name: str, tag: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_backbone(name, tag)


def test_a_tag_is_taken_from_the_cache_and_never_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", no_network)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelError, match="laion400m_e32' of ViT-B-16-plus-240 are not on this machine: fetch them once"
    ):
        find("ViT-B-16-plus-240", "laion400m_e32")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here, so asking for one is right")
def test_a_missing_gpu_is_an_error_and_not_a_cpu() -> None:
    with pytest.raises(ModelError, match="sees no CUDA device"):
        load_backbone("untrained", None, "cuda")


def test_devices_and_dtypes_that_are_none() -> None:
    with pytest.raises(ModelError, match="is no device"):
        resolve_device("gpu")
    with pytest.raises(ModelError, match="not supported"):
        resolve_device("meta")
    with pytest.raises(ModelError, match="needs a CUDA device"):
        resolve_dtype("fp16", torch.device("cpu"))
    with pytest.raises(ModelError, match="int8"):
        resolve_dtype("int8", torch.device("cpu"))
    assert resolve_dtype("auto", torch.device("cpu")) in ("fp32", "bf16")
    assert resolve_dtype("auto", torch.device("cuda")) == "fp16"
