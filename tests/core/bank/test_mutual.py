import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.bank.mutual import mutual, suggest, unlike
from core.bank.scorers import pooled, top_mean


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def muse(parts: np.ndarray, share: float) -> np.ndarray:
    """MuSc's formula, read plainly: of each patch the least distance to each other image, then the lowest averaged."""
    scores = np.zeros(parts.shape[:2])
    for i, part in enumerate(parts):
        for m, patch in enumerate(part):
            to = [np.linalg.norm(other - patch, axis=1).min() for j, other in enumerate(parts) if j != i]
            scores[i, m] = np.mean(sorted(to)[: int(len(to) * share)])
    return scores


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_it_scores_as_a_plain_reading_of_musc(share: float) -> None:
    parts = normal(12, 4, 5, 16)
    maps, read = [], []
    for one in pooled(parts, (1, 3, 5)):
        features = F.normalize(one, dim=-1)
        maps.append(mutual(features, share))
        read.append(muse(features.double().reshape(12, 20, 16).numpy(), share))
    ours = torch.stack(maps).mean(0)
    theirs = np.mean(read, 0)
    assert ours.shape == (12, 4, 5)
    assert np.allclose(ours.flatten(1), theirs, rtol=0, atol=1e-5)
    assert np.allclose(top_mean(ours, 0), theirs.max(1), rtol=0, atol=1e-5)


def test_a_defect_stands_out_of_parts_that_nobody_labelled() -> None:
    parts = F.normalize(normal(1, 5, 5, 16) + 0.05 * normal(10, 5, 5, 16, seed=1), dim=-1)
    parts[6, 3, 1] = F.normalize(normal(16, seed=2), dim=-1)
    for within in (None, 0):
        scores = mutual(parts, within=within)
        assert int(scores.flatten().argmax()) == 6 * 25 + 3 * 5 + 1
        assert float(scores[6, 3, 1]) > 2 * float(scores.flatten().topk(2).values[1])


def test_a_missing_part_is_seen_at_its_place_by_those_that_have_it() -> None:
    parts = F.normalize(normal(1, 1, 1, 16) + 0.05 * normal(8, 6, 6, 16, seed=1), dim=-1)
    parts[:7, 2:4, 2:4] = F.normalize(normal(16, seed=2) + 0.05 * normal(7, 2, 2, 16, seed=3), dim=-1)
    gone = torch.zeros(6, 6, dtype=torch.bool)
    gone[2:4, 2:4] = True
    assert not bool((mutual(parts)[7] > 0.6).any())
    assert torch.equal(mutual(parts, within=0)[7] > 0.6, gone)


def test_at_least_one_other_part_scores() -> None:
    pair = normal(2, 2, 3, 4)
    assert torch.allclose(
        mutual(pair), torch.cdist(pair.flatten(1, 2), pair.flatten(1, 2).flip(0)).amin(-1).view(2, 2, 3)
    )
    assert float(mutual(pair[:1].expand(4, -1, -1, -1)).max()) == 0
    assert mutual(normal(3, 1, 1, 4), within=5).shape == (3, 1, 1)


@pytest.mark.parametrize("within", [None, 1])
def test_another_part_is_scored_as_if_it_were_among_them(within: int | None) -> None:
    parts = normal(6, 3, 4, 8)
    expected = mutual(parts, 0.5, within)[-1]
    assert torch.allclose(unlike(parts[-1], parts[:-1], 0.5, within), expected, atol=1e-6)


def test_the_suggested_are_typical_and_unlike_each_other() -> None:
    pictures = torch.tensor([[0.0, 0], [0.1, 0], [5, 0], [0, 3], [5.1, 0], [90, 90], [80, 0], [0, 70]])
    scores = torch.tensor([0.2, 0.1, 0.2, 0.2, 0.8, 0.9, 0.9, 0.9])
    assert suggest(scores, pictures, 1) == [1]
    assert suggest(scores, pictures, 3) == [1, 2, 3]  # of 0 to 3, the typical half: those afar may be defects
    assert suggest(scores, pictures, 4) == [1, 2, 3, 0]
    assert suggest(scores, pictures, 5) == [1, 4, 3, 0, 2]  # half of them are too few
    assert sorted(suggest(scores, pictures, 8)) == list(range(8))
    assert suggest(torch.zeros(4), torch.zeros(4, 2), 3) == [0, 1, 2]


def test_what_is_no_line_of_parts_is_refused() -> None:
    part = normal(1, 2, 2, 4)
    with pytest.raises(ValueError, match="at least two"):
        mutual(part)
    for share in (0, 1.5):
        with pytest.raises(ValueError, match="share"):
            mutual(part.expand(3, -1, -1, -1), share)
    with pytest.raises(ValueError, match="parts has values that are not finite"):
        mutual(torch.cat([part, part * torch.nan]))
    with pytest.raises(ValueError, match="share"):
        unlike(part[0], part, 0)
    with pytest.raises(ValueError, match="query has values"):
        unlike(part[0] * torch.nan, part)
    with pytest.raises(ValueError, match="differ in rows"):
        unlike(normal(2, 3, 4), part)
    scores, pictures = torch.zeros(3), normal(3, 2)
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"{count} of 3"):
            suggest(scores, pictures, count)
    with pytest.raises(ValueError, match="pictures"):
        suggest(scores, pictures[:2], 1)
    with pytest.raises(ValueError, match="scores has values"):
        suggest(scores * torch.nan, pictures, 1)
