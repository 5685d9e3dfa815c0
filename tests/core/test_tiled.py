"""The method on tiles: rows of one batch, each compared with its own place of the shots, one inspection a frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.adaptation import TextFeatures
from core.alfa import Alfa, Method
from core.backbone import CLIP_MEAN, CLIP_STD, Backbone
from core.bank.tiled_index import TiledIndex, left_out
from core.encoding import FeaturesError, encoding_of
from core.image import Rgb
from core.inspection import Inspection
from core.preprocess import Preprocess
from core.tiles import WHOLE, Tiling, TilingError
from tests.core.conftest import small_vit
from tests.core.test_alfa import frame, text_of

TWO = Tiling(1, 2)
SIZE = (96, 160)


@pytest.fixture(scope="module")
def small() -> Backbone:
    """Of 5 x 5 patches, which tiles multiply."""
    device = torch.device("cpu")
    pixels = Preprocess((80, 80), CLIP_MEAN, CLIP_STD, device)
    return Backbone("small", "f" * 64, device, "fp32", small_vit(), pixels, text=None)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["evidence", "alfa"])
def alfa(request: pytest.FixtureRequest, small: Backbone) -> Alfa:
    return Alfa(small, Method(few_shot=request.param), patches=True)


def described() -> TextFeatures:
    text = text_of(32)
    return replace(text, descriptors=text.abnormal, phrases=tuple("abcdefg"))


def same(one: Inspection, other: Inspection) -> bool:
    """Equal to the last bit."""
    assert one.likeness is not None
    assert other.likeness is not None
    pairs = (
        (one.patch_map, other.patch_map),
        (one.kept_normal, other.kept_normal),
        (one.likeness.image, other.likeness.image),
        (one.likeness.patch, other.likeness.patch),
    )
    numbers = ("score", "global_score", "local_score", "memory_score", "size")
    return all(np.array_equal(*pair) for pair in pairs) and all(
        getattr(one, name) == getattr(other, name) for name in numbers
    )


def index_of(alfa: Alfa, shots: list[Rgb], tiling: Tiling) -> TiledIndex | None:
    memories = [alfa.remember(shot, tiling=tiling) for shot in shots]
    index = alfa.index(memories, range(len(shots)), SIZE, tiling=tiling)
    return index  # type: ignore[return-value]


def test_one_tile_is_as_none_to_the_last_bit(alfa: Alfa) -> None:
    text, shots, part = described(), [frame(*SIZE, seed=one) for one in (1, 2)], frame(*SIZE, seed=3)
    one = Tiling(1, 1, 0.4)
    zero = alfa.inspect([part], [text])[0], alfa.inspect([part], [text], None, [one])[0]
    assert same(*zero)
    plain, tiled = (
        alfa.index([alfa.remember(shot, SIZE, *more) for shot in shots], [0, 1], SIZE, **named)
        for more, named in (((), {}), ((one,), {"tiling": one}))
    )
    few = alfa.inspect([part], [text], [plain])[0], alfa.inspect([part], [text], [tiled], [one])[0]
    assert same(*few)
    assert encoding_of(alfa, SIZE) == encoding_of(alfa, SIZE, one)


def test_a_frame_in_tiles_is_its_tiles_put_together(alfa: Alfa) -> None:
    """Each tile is judged as a frame would be that shows it alone; the frame has the largest of their scores."""
    text, shots, part = described(), [frame(*SIZE, seed=one) for one in (1, 2, 3)], frame(*SIZE, seed=4)
    index = index_of(alfa, shots, TWO)
    assert isinstance(index, TiledIndex)
    whole = alfa.inspect([part], [text], [index])[0]
    assert whole.size == SIZE
    alone = []
    for place, tile in enumerate(TWO.cut(part)):
        memories = [alfa.remember(np.ascontiguousarray(TWO.cut(shot)[place])) for shot in shots]
        of_tile = alfa.index(memories, range(3), (tile.shape[0], tile.shape[1]))
        alone.append(alfa.inspect([np.ascontiguousarray(tile)], [text], [of_tile])[0])
    assert whole.score == pytest.approx(max(one.score for one in alone), abs=1e-5)
    top = max(alone, key=lambda one: one.score)
    for name in ("global_score", "local_score", "memory_score"):
        assert getattr(whole, name) == pytest.approx(getattr(top, name), abs=1e-5)
    assert whole.patch_map == pytest.approx(TWO.merge([one.patch_map for one in alone]), abs=1e-5)
    assert whole.heatmap.shape == SIZE
    assert whole.likeness is not None
    assert top.likeness is not None
    assert whole.likeness.image == pytest.approx(top.likeness.image, abs=1e-5)
    assert whole.likeness.patch.shape == (5, 9)


def test_frames_of_several_tilings_share_a_pass(alfa: Alfa) -> None:
    text = described()
    frames = [frame(*SIZE, seed=1), frame(seed=2), frame(*SIZE, seed=3)]
    tilings = [TWO, WHOLE, Tiling(2, 2, 0.0)]
    passes = []
    vision = alfa.vision
    alfa.vision = lambda pixels: passes.append(len(pixels)) or vision(pixels)  # type: ignore[func-returns-value]
    try:
        together = alfa.inspect(frames, [text] * 3, None, tilings)
    finally:
        alfa.vision = vision
    assert passes == [2 + 1 + 4]
    for one, part, tiling in zip(together, frames, tilings, strict=True):
        apart = alfa.inspect([part], [text], None, [tiling])[0]
        assert one.size == part.shape[:2]
        assert one.score == pytest.approx(apart.score, abs=1e-5)
        assert one.patch_map == pytest.approx(apart.patch_map, abs=1e-5)


def test_an_index_of_other_tiles_is_refused(alfa: Alfa) -> None:
    text, part = described(), frame(*SIZE)
    index = index_of(alfa, [frame(*SIZE, seed=1), frame(*SIZE, seed=2)], TWO)
    with pytest.raises(TilingError, match=r"shots are of tiles 1x2@0\.2, and the frame is cut into 2x1@0\.2"):
        alfa.inspect([part], [text], [index], [Tiling(2, 1)])
    with pytest.raises(TilingError, match="and the frame is cut into 1x1: make their index for 1x1"):
        alfa.inspect([part], [text], [index], [WHOLE])
    with pytest.raises(TilingError, match="use fewer tiles"):
        alfa.inspect([frame(20, 20)], [text], None, [TWO])


def test_what_is_left_out_is_left_out_at_every_place(small: Backbone) -> None:
    """The score of a shot that is left out is the largest of its tiles', as that of a part; also where views are too
    many to keep them all.
    """
    alfa = Alfa(small, patches=True)
    shots = [frame(*SIZE, seed=one) for one in range(5)]
    memories = [alfa.remember(shot, tiling=TWO) for shot in shots]
    for limit in (None, 150):
        index = alfa.index(memories, [3, 4, 5, 6, 7], SIZE, tiling=TWO, limit=limit)
        owners = {tile.evidence.owners for tile in index.tiles if tile.evidence is not None}
        assert len(owners) == 1
        found = left_out(index)
        apart = [tile.evidence.shots() for tile in index.tiles if tile.evidence is not None]
        assert [score for score, _ in found] == torch.stack([scores for scores, _ in apart]).amax(0).tolist()
        assert len(found) == len(next(iter(owners)))
        for shot, (_, peak) in enumerate(found):
            assert peak == pytest.approx(float(TWO.merge([maps[shot].numpy() for _, maps in apart]).max()))
        assert sum(index.weights.values()) == pytest.approx(1.0)
    assert len(found) < 5, "of shots in the last limit some had to go"


def test_features_of_tiles_are_kept_as_such(alfa: Alfa) -> None:
    """Those of other tiles are missing, not misread: they are made anew from the kept picture."""
    whole, two, other = (encoding_of(alfa, SIZE, tiling) for tiling in (WHOLE, TWO, Tiling(2, 1)))
    memory = alfa.remember(frame(*SIZE), SIZE, TWO)
    rows = two.pack({0: memory})
    (back,) = two.unpack(rows).values()
    assert torch.equal(back.patches, memory.patches.half())
    for kept, made in zip((*back.windows, *back.maps), (*memory.windows, *memory.maps), strict=True):
        assert torch.equal(kept, made.half())
    for encoding in (whole, other, encoding_of(alfa, SIZE, Tiling(1, 2, 0.1))):
        assert encoding != two
        assert encoding.unpack(rows) == {}
    with pytest.raises(FeaturesError, match=r"have shapes \[2, "):
        whole.pack({0: memory})


def test_a_shot_that_is_left_out_is_so_at_each_place(small: Backbone) -> None:
    """The paper's way: the index of the others is that of all without the one."""
    alfa, text = Alfa(small, Method(few_shot="alfa"), patches=True), text_of(32)
    shots = [frame(*SIZE, seed=one) for one in range(3)]
    memories = [alfa.remember(shot, tiling=TWO) for shot in shots]
    index = alfa.index(memories, [4, 5, 6], SIZE, tiling=TWO)
    others = index.without(6)
    assert isinstance(others, TiledIndex)
    anew = alfa.index(memories[:2], [4, 5], SIZE, tiling=TWO)
    scores = [alfa.inspect([shots[2]], [text], [one])[0].score for one in (others, anew)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    one = alfa.index(memories[:1], [4], SIZE, tiling=TWO)
    assert one.without(4) is None, "nothing would be left"
