import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from core.adaptation import TextFeatures, adapt, contextual_scores

# Few distinct values, so that ties and intervals of length 0 are common.
SIMILARITY = st.one_of(st.sampled_from([-0.5, 0.0, 0.25, 0.5]), st.floats(-1, 1, width=32))
SIDE = st.lists(SIMILARITY, min_size=1, max_size=6)


def plain_distance(d: float, interval: list[float]) -> float:
    return max(0.0, min(interval) - d, d - max(interval))


def plain_score(d: float, own: list[float], other: list[float]) -> float:
    """Eq. 4 as the paper writes it."""
    gap = abs(plain_distance(d, own) - plain_distance(d, other))
    return gap / (gap + math.exp(-1.0 * gap))


@given(SIDE, SIDE)
def test_contextual_score_is_the_papers(plus: list[float], minus: list[float]) -> None:
    ours = contextual_scores(torch.tensor([plus]), torch.tensor([plus]), torch.tensor([minus]))[0]
    for one, d in zip(ours.tolist(), torch.tensor(plus).tolist(), strict=True):
        expected = plain_score(d, torch.tensor(plus).tolist(), torch.tensor(minus).tolist())
        assert one == pytest.approx(expected, abs=1e-6)
        assert (one == 0) == (expected == 0)
        assert 0 <= one < 1


@given(SIDE, SIDE)
def test_a_prompt_is_kept_exactly_when_it_lies_outside_the_other_interval(
    plus: list[float], minus: list[float]
) -> None:
    d, other = torch.tensor([plus]), torch.tensor([minus])
    kept = contextual_scores(d, d, other) > 0
    outside = (d < other.min()) | (d > other.max())
    assert torch.equal(kept, outside)


@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(0, 10_000),
    st.booleans(),
)
def test_labels_are_the_mean_of_the_kept_prompts(p: int, q: int, seed: int, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = F.normalize(torch.randn(3, 4, generator=generator), dim=-1)
    text = TextFeatures(
        F.normalize(torch.randn(p, 4, generator=generator), dim=-1),
        F.normalize(torch.randn(q, 4, generator=generator), dim=-1),
    )
    labels = adapt(image, text, weighted=weighted)
    assert labels.normal.any(-1).all()
    assert labels.abnormal.any(-1).all()
    assert torch.allclose(labels.embedding.norm(dim=-1), torch.ones(3, 2), atol=1e-5)
    if not weighted:
        for row in range(3):
            expected = F.normalize(text.normal[labels.normal[row]].mean(0), dim=-1)
            assert torch.allclose(labels.embedding[row, 0], expected, atol=1e-5)


def nested() -> tuple[torch.Tensor, TextFeatures]:
    """An image whose normal similarities (0.4, 0.5) lie inside the abnormal ones (0.1 to 0.9)."""
    image = torch.tensor([[1.0, 0.0]])
    side = [torch.tensor([[d, (1 - d * d) ** 0.5] for d in values]) for values in ([0.4, 0.5], [0.1, 0.45, 0.9])]
    return image, TextFeatures(*side)


def test_an_empty_side_keeps_all_its_prompts_and_leaves_the_other_alone() -> None:
    labels = adapt(*nested())
    assert labels.normal.tolist() == [[True, True]]
    assert labels.abnormal.tolist() == [[True, False, True]]
