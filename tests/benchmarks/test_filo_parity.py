"""FiLo against its plain reading at the release's real size: ViT-L-14-336 at 518 px, random weights, 4 and 24 blocks.

Minutes on one core, and about 6 GB of memory. `pytest tests/benchmarks/test_filo_parity.py -s` prints the differences.
"""

from __future__ import annotations

import time

import numpy as np
import open_clip
import pytest
import torch

from core.backbone import CLIP_MEAN, CLIP_STD, wrap_model
from core.filo.filo import Filo
from core.filo.head import FiloHead, record_for
from core.filo.positions import POSITIONS
from core.packs.pack import load_pack
from tests.core.filo.conftest import frame, lively, plain_of
from tests.core.filo.reference import HABITS
from tests.core.filo.test_parity import read_plainly

CASES = [(4, (1, 2, 3, 4), True), (4, (1, 2, 3, 4), False), (24, (6, 12, 18, 24), True)]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("blocks", "layers", "released"), CASES)
def test_maps_and_scores_are_those_of_the_plain_reading(
    blocks: int, layers: tuple[int, ...], released: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    config = open_clip.get_model_config("ViT-L-14-336")
    vision, text = config["vision_cfg"] | {"image_size": 518, "layers": blocks}, config["text_cfg"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = open_clip.CLIP(config["embed_dim"], vision, text | {"layers": min(blocks, 12)})
        for parameter in model.parameters():
            parameter.data += 0.01 * torch.randn_like(parameter)
    tokenize = open_clip.get_tokenizer("ViT-L-14-336")
    backbone = wrap_model("ViT-L-14-336", model, tokenize, torch.device("cpu"), "fp32", CLIP_MEAN, CLIP_STD)
    filo = Filo(backbone, lively(FiloHead(record_for(backbone, layers=layers, released=released)), 0.01))
    pack = load_pack("bottle").model_copy(update={"defects": {"crack": ("a fine line through the glass",)}})
    picture, texts = frame(), filo.texts(pack)
    start = time.perf_counter()
    found = filo.inspect([picture], [texts])[0]
    took = time.perf_counter() - start
    plain = plain_of(filo, HABITS if released else frozenset())
    score, wanted, position = read_plainly(plain, filo, pack, picture)
    apart = float(np.abs(found.patch_map - wanted).max())
    with capsys.disabled():
        print(
            f"\n{blocks} blocks, {'released' if released else 'clean'}: maps differ by at most {apart:.1e} (range "
            f"{np.ptp(wanted):.3f}), scores by {abs(found.score - score):.1e}; {took:.1f} s a picture"
        )
    assert found.position == POSITIONS[position]
    assert apart <= 1e-4
    assert abs(found.score - score) <= 1e-4
