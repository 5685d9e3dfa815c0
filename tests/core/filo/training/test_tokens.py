"""The frozen tower's tokens on disk: the same as fresh ones, never beyond the limit, made anew when damaged."""

from pathlib import Path

import pytest
import torch

from core.filo.filo import Filo
from core.filo.training.pictures import Example
from core.filo.training.tokens import Encoded, Encoder, TokenCache, joined


def equal(first: Encoded, second: Encoded) -> bool:
    pairs = [
        (first.streams.image, second.streams.image),
        *zip(first.streams.ordinary, second.streams.ordinary, strict=True),
        *zip(first.streams.values, second.streams.values, strict=True),
        (first.mask, second.mask),
        (first.anomalous, second.anomalous),
    ]
    return all(torch.equal(one, other) and one.dtype == other.dtype for one, other in pairs)


def test_what_was_kept_is_what_was_encoded(
    filo: Filo, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TokenCache(tmp_path / "tokens", Encoder(filo), 1 << 20)
    fresh = [cache.get(example) for example in examples]
    assert fresh[0].mask.shape == (1, 32, 32)
    assert [bool(encoded.anomalous) for encoded in fresh] == [example.anomalous for example in examples]
    monkeypatch.setattr(Encoder, "encode", lambda *_: pytest.fail("encoded again"))
    assert all(equal(cache.get(example), encoded) for example, encoded in zip(examples, fresh, strict=True))


def test_a_damaged_file_is_made_anew(filo: Filo, examples: list[Example], tmp_path: Path) -> None:
    cache = TokenCache(tmp_path, Encoder(filo), 1 << 20)
    fresh = cache.get(examples[0])
    (file,) = tmp_path.glob("*.safetensors")
    for damaged in (b"", file.read_bytes()[:-40], b"no tensors at all"):
        file.write_bytes(damaged)
        assert equal(cache.get(examples[0]), fresh)
        assert len(file.read_bytes()) > len(damaged)


def test_no_more_is_kept_than_the_limit_says(filo: Filo, examples: list[Example], tmp_path: Path) -> None:
    TokenCache(tmp_path, Encoder(filo), 1 << 20).get(examples[0])
    (file,) = tmp_path.iterdir()
    limit = int(2.5 * file.stat().st_size)
    cache = TokenCache(tmp_path, Encoder(filo), limit)
    for example in examples:
        cache.get(example)
    assert len(list(tmp_path.iterdir())) == 2, "the first is there already, and counts"


def test_a_batch_is_its_pictures_one_by_one(filo: Filo, examples: list[Example]) -> None:
    cache = TokenCache(None, Encoder(filo), 0)
    parts = [cache.get(example) for example in examples[:3]]
    batch = joined(parts)
    assert batch.streams.image.shape == (3, 16)
    assert [len(layer) for layer in (*batch.streams.ordinary, *batch.streams.values)] == [3] * 7
    assert torch.equal(batch.streams.values[2][1:2], parts[1].streams.values[2])
    assert batch.mask.shape == (3, 32, 32)
    assert batch.anomalous.tolist() == [True, False, True]
