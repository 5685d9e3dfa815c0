"""A head starts as the tower's own way to the joint space."""

import pytest
import torch
import torch.nn.functional as F

from core.backbone import Backbone
from core.filo.filo import Filo
from core.filo.head import FiloHead, record_for
from core.filo.training.pictures import Example
from core.filo.training.start import start_at_tower
from core.filo.training.tokens import Encoder


@pytest.mark.parametrize("bottleneck", [None, 40, 8])
def test_decoders_start_at_the_towers_own_embeddings(
    backbone: Backbone, examples: list[Example], bottleneck: int | None
) -> None:
    filo = Filo(backbone, FiloHead(record_for(backbone, bottleneck=bottleneck)))
    encoder = Encoder(filo)
    streams = encoder.encode(*examples[0].load(encoder.size)).streams
    start_at_tower(filo.head, backbone, streams)
    decoded = filo.decode(streams)
    for tokens, found in zip((*streams.ordinary, *streams.values), decoded, strict=True):
        own = F.normalize(backbone.visual.ln_post(tokens) @ backbone.visual.proj, dim=-1)
        likeness = (own * found).sum(-1).mean()
        assert likeness > (0.99 if bottleneck != 8 else 0.7)
    torch.testing.assert_close(filo.adapted(streams.image), F.normalize(streams.image, dim=-1))


def test_without_a_kernel_of_one_patch_the_first_one_starts_there(backbone: Backbone, examples: list[Example]) -> None:
    filo = Filo(backbone, FiloHead(record_for(backbone, kernels=("33", "15"))))
    encoder = Encoder(filo)
    streams = encoder.encode(*examples[0].load(encoder.size)).streams
    start_at_tower(filo.head, backbone, streams)
    own = F.normalize(backbone.visual.ln_post(streams.values[2]) @ backbone.visual.proj, dim=-1)
    assert (own * filo.decode(streams)[-1]).sum(-1).mean() > 0.99
