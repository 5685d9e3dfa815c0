import weakref

import pytest
import torch

from core.alfa import Alfa
from core.backbone import load_backbone
from core.graph import BatchTooLargeError, GraphedPass, batch_sizes, fitting
from core.vision import VisionPass
from core.windows import make_windows
from tests.core.conftest import small_vit
from tests.core.test_alfa import frame, text_of

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8, 9))]
)
def test_every_batch_up_to_the_largest_finds_a_graph(most: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(most) == sizes
    for batch in range(1, most + 1):
        assert batch <= fitting(sizes, batch) < 2 * batch
    with pytest.raises(ValueError, match="larger than the largest"):
        fitting(sizes, most + 1)


def test_features_of_a_padded_batch_are_those_of_its_images() -> None:
    vision = VisionPass(small_vit(), [make_windows((5, 5), 2)], patches=True)
    pixels = torch.randn(4, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    part, alone = vision(pixels).take(slice(0, 3)), vision(pixels[:3])
    assert torch.allclose(part.image, alone.image, atol=1e-6)
    assert torch.allclose(part.windows[0], alone.windows[0], atol=1e-6)
    assert torch.allclose(part.values[0].window, alone.values[0].window, atol=1e-5)
    assert part.patches is not None
    assert part.patches.shape[0] == 3


def test_a_batch_that_does_not_fit_says_which_does() -> None:
    device = torch.device("cuda:0")
    assert "a batch of 8 does not fit into the memory of cuda:0; a batch of 4 does" in str(
        BatchTooLargeError(8, 4, device)
    )
    assert "smaller model" in str(BatchTooLargeError(1, 0, device))


def test_a_pass_that_did_not_fit_leaves_no_tensor_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[torch.Tensor]] = []

    def capture(graphs: GraphedPass, size: int, device: torch.device) -> object:
        tensor = torch.zeros(size)
        made.append(weakref.ref(tensor))
        if size > 2:
            raise torch.cuda.OutOfMemoryError(f"no room for {len(tensor)}")
        return tensor

    monkeypatch.setattr(GraphedPass, "_capture", capture)
    with pytest.raises(BatchTooLargeError, match="a batch of 2 does") as caught:
        GraphedPass(VisionPass(small_vit(), [make_windows((5, 5), 2)]), 8)
    assert caught.value.fits == 2
    assert len(made) == 3
    assert not any(one() is not None for one in made), "what the error holds cannot be given back"


def test_warming_up_on_a_cpu_changes_nothing() -> None:
    alfa = Alfa(load_backbone("untrained", None, "cpu", "fp32"))
    before = alfa.inspect([frame()], [text_of(128)])[0].score
    alfa.warm_up(2)
    assert alfa.inspect([frame()], [text_of(128)])[0].score == before


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_graphs_give_what_the_pass_gives(dtype: str) -> None:
    alfa = Alfa(load_backbone("untrained", None, "cuda", dtype))
    graphed = GraphedPass(alfa.vision, 4)  # type: ignore[arg-type]
    for batch in (1, 3, 4):
        pixels = alfa.backbone.pixels([frame(seed=seed) for seed in range(batch)])
        direct, replayed = alfa.vision(pixels), graphed(pixels)
        assert torch.allclose(direct.image, replayed.image, atol=1e-5)
        for ours, theirs in zip(replayed.windows, direct.windows, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-3)


@pytest.mark.cuda
@needs_cuda
def test_cuda_agrees_with_the_cpu() -> None:
    here, there = (Alfa(load_backbone("untrained", None, device, "auto")) for device in ("cpu", "cuda"))
    there.warm_up(2)
    for seed in range(4):
        ours, theirs = (
            alfa.inspect([frame(300, 500, seed)], [move(text_of(128), alfa.backbone.device)])[0]
            for alfa in (here, there)
        )
        assert abs(ours.score - theirs.score) <= 2e-3


def move(text: object, device: torch.device) -> object:
    return type(text)(text.normal.to(device), text.abnormal.to(device))  # type: ignore[attr-defined, call-arg]
