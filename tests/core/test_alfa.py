from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.adaptation import TextFeatures
from core.alfa import ALFA, WINCLIP, Alfa, Method
from core.aligner import ALIGNERS, CLS, Aligner, Values
from core.backbone import Backbone
from core.bank.memory import distances, make_index, reference_map, remember
from core.heatmap import find_peak, to_frame
from core.image import Rgb
from core.packs.pack import Prompts
from core.vision import lift
from core.windows import make_windows

PROMPTS = Prompts(
    normal=(
        "A normal image of a part.",
        "An industrial image of a flawless part.",
        "A photo of a perfect part.",
    ),
    abnormal=("An abnormal image of a part.", "An industrial image of a damaged part."),
)


def frame(height: int = 240, width: int = 240, seed: int = 0) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def text_of(dim: int, seed: int = 0, spread: float = 1.0) -> TextFeatures:
    generator = torch.Generator().manual_seed(seed)
    sides = [F.normalize(torch.randn(count, dim, generator=generator) * spread, dim=-1) for count in (5, 7)]
    return TextFeatures(*sides)


def few(text: TextFeatures) -> TextFeatures:
    return TextFeatures(text.normal[:3], text.abnormal[:3])


def test_an_inspection_is_equations_10_to_12(backbone: Backbone) -> None:
    alfa = Alfa(backbone)
    text = text_of(128)
    one = alfa.inspect([frame()], [text])[0]
    features = alfa.vision(backbone.pixels([frame()]))
    labels = alfa.adapt(features.image, text)
    logits = (features.image[0] @ labels.embedding[0].T).double() / 0.07
    assert one.global_score == pytest.approx(float(logits.exp()[1] / logits.exp().sum()), abs=1e-6)

    reciprocal = torch.zeros(225, dtype=torch.double)
    for scale, embeddings, values in zip((2, 3), features.windows, features.values, strict=True):
        cls = values.of(CLS)
        lifted = Values(*(lift(backbone.visual, each) for each in (cls.image, cls.window)), cls.index)
        moved = ALIGNERS["minimal"].move(labels.embedding, lifted)[0].double()
        window = ((embeddings[0].double()[:, None] * moved).sum(-1) / 0.07).softmax(-1)[:, 1]
        index = make_windows((15, 15), scale).index
        for patch in range(225):
            holders = (index == patch).any(1)
            reciprocal[patch] += (1 / window[holders]).sum() / holders.sum()
    s_local = 2 / reciprocal
    assert np.allclose(one.patch_map.ravel(), s_local.numpy(), atol=1e-5)
    assert one.local_score == pytest.approx(float(s_local.max()), abs=1e-5)
    assert one.score == pytest.approx((one.global_score + one.local_score) / 2, abs=1e-6)
    assert one.kept_normal.tolist() == labels.normal[0].tolist()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("method", [ALFA, WINCLIP, Method(temperature=0.001), Method(scales=(1, 4), stride=1)])
def test_scores_and_maps_are_in_the_unit_interval(backbone: Backbone, seed: int, method: Method) -> None:
    one = Alfa(backbone, method).inspect([frame(seed=seed)], [text_of(128, seed)])[0]
    for value in (one.score, one.global_score, one.local_score):
        assert 0 <= value <= 1
    assert one.patch_map.min() >= 0
    assert one.patch_map.max() <= 1
    assert np.isfinite(one.patch_map).all()


def test_the_heatmap_has_the_frames_geometry(backbone: Backbone) -> None:
    one = Alfa(backbone).inspect([frame(130, 417)], [text_of(128)])[0]
    assert one.heatmap.shape == (130, 417)
    assert one.heatmap.dtype == np.float32
    expected = F.interpolate(torch.from_numpy(one.patch_map)[None, None], (130, 417), mode="bilinear")[0, 0]
    assert np.allclose(one.heatmap, expected.numpy(), atol=1e-6)


def test_a_batch_of_lines_with_packs_of_their_own_equals_one_by_one(backbone: Backbone) -> None:
    alfa = Alfa(backbone)
    first, second = text_of(128, 1), few(text_of(128, 2))
    frames = [frame(240, 240, 1), frame(100, 333, 2), frame(480, 300, 3)]
    texts = [first, second, first]
    together = alfa.inspect(frames, texts)
    for ours, image, text in zip(together, frames, texts, strict=True):
        alone = alfa.inspect([image], [text])[0]
        assert ours.score == pytest.approx(alone.score, abs=1e-5)
        assert np.allclose(ours.patch_map, alone.patch_map, atol=1e-5)
        assert ours.size == image.shape[:2]
        assert ours.kept_abnormal.shape == alone.kept_abnormal.shape


def test_each_part_can_be_switched(backbone: Backbone) -> None:
    text = text_of(128)
    base = Alfa(backbone).inspect([frame()], [text])[0]
    changed = [
        Method(adaptation=False),
        Method(aligner="identity"),
        Method(scales=(2,)),
        Method(scales=(3,), stride=2),
        Method(weighted=True),
        Method(local_in_image=False),
        Method(image_in_map=True),
    ]
    for method in changed:
        other = Alfa(backbone, method).inspect([frame()], [text])[0]
        assert not np.array_equal(base.patch_map, other.patch_map) or base.score != other.score
    plain = Alfa(backbone, Method(adaptation=False)).inspect([frame()], [text])[0]
    assert plain.kept_normal.all()
    assert plain.kept_abnormal.all()


def test_prompts_are_embedded_once_and_to_unit_length(backbone: Backbone) -> None:
    text = Alfa(backbone).embed(PROMPTS)
    assert text.normal.shape == (3, 128)
    assert text.abnormal.shape == (2, 128)
    assert torch.allclose(text.normal.norm(dim=-1), torch.ones(3), atol=1e-5)
    raw = Alfa(backbone, WINCLIP).embed(PROMPTS)
    assert torch.allclose(F.normalize(raw.normal, dim=-1), text.normal, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"aligner": "magic"}, "aligner 'magic'"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"temperature": float("inf")}, "temperature inf"),
        ({"memory_gain": float("nan")}, "memory_gain nan"),
        ({"scales": ()}, "scales"),
        ({"scales": (2, 2)}, "scales"),
    ],
)
def test_a_method_that_is_none_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Method(**wrong)  # type: ignore[arg-type]


def test_a_window_larger_than_the_grid_is_refused(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="larger than the grid"):
        Alfa(backbone, Method(scales=(16,)))


def test_an_engineer_can_swap_the_aligner_from_outside(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate is a function and a name; no other file is touched."""

    def towards_the_image(text: torch.Tensor, values: Values) -> torch.Tensor:
        return F.normalize(text[:, None] + 0.1 * F.normalize(values.window, dim=-1), dim=-1)

    monkeypatch.setitem(ALIGNERS, "towards-the-image", Aligner(CLS, towards_the_image))
    text = text_of(128)
    swapped = Alfa(backbone, Method(aligner="towards-the-image")).inspect([frame()], [text])[0]
    default = Alfa(backbone).inspect([frame()], [text])[0]
    assert not np.allclose(swapped.patch_map, default.patch_map)


def test_normal_shots_count_as_in_the_paper(backbone: Backbone) -> None:
    alfa, text = Alfa(backbone, patches=True), text_of(128)
    shot, part = frame(seed=1), frame(seed=2)
    memory = remember(alfa.vision(backbone.pixels([shot])))
    index = make_index([memory], backbone.device)
    same, other, alone = alfa.inspect([shot, part, part], [text] * 3, [index, index, None])
    reference = reference_map(distances(alfa.vision(backbone.pixels([part])), memory), alfa.windows)[0, 0]
    assert other.memory_score == pytest.approx(float(reference.max()), abs=1e-5)
    assert np.allclose(other.patch_map.ravel(), (alone.patch_map.ravel() + reference.numpy()) / 2, atol=1e-5)
    assert other.score == pytest.approx((alone.global_score + float(other.patch_map.max())) / 2, abs=1e-5)
    assert other.local_score == pytest.approx(alone.local_score, abs=1e-5)
    assert same.memory_score == pytest.approx(0, abs=1e-3)
    assert alone.memory_score is None


def test_the_peak_is_the_heatmaps_largest_value() -> None:
    chance = np.random.default_rng(0)
    for _ in range(200):
        rows, columns, height, width = (int(one) for one in chance.integers(1, (20, 20, 300, 300)))
        patch_map = chance.random((rows, columns)).astype(np.float32)
        heatmap, peak = to_frame(patch_map, (height, width)), find_peak(patch_map, (height, width))
        assert peak.value == pytest.approx(heatmap.max(), abs=1e-5)
        assert heatmap[peak.y, peak.x] == pytest.approx(heatmap.max(), abs=1e-5)


@pytest.mark.parametrize("layers", [(), (99,)])
def test_blocks_that_the_model_does_not_have_are_refused_at_once(backbone: Backbone, layers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"memory layers .* has blocks 1 to"):
        Alfa(backbone, replace(ALFA, memory_layers=layers), patches=True)
    Alfa(backbone, replace(ALFA, memory_layers=layers, few_shot="alfa"), patches=True)  # which takes none
