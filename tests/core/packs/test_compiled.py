from functools import partial
from pathlib import Path

import pytest
import torch

from core.alfa import Alfa, Method
from core.backbone import Backbone, load_backbone
from core.model_error import ModelError
from core.packs.compiled import CompiledPacks, compile_pack
from core.packs.pack import PromptPack, load_pack


@pytest.fixture(scope="module")
def pack() -> PromptPack:
    return load_pack("bottle")


def test_a_compiled_pack_gives_the_same_texts(backbone: Backbone, pack: PromptPack, tmp_path: Path) -> None:
    packs = CompiledPacks(tmp_path / "compiled")
    told: list[int] = []
    packs.get(backbone, pack, partial(backbone.text.embed, done=told.append))
    assert sum(told) == len(pack.prompts().normal) + len(pack.prompts().abnormal) + len(pack.descriptors)
    again = packs.get(backbone, pack, lambda sentences: pytest.fail("embedded again"))
    for method in (Method(), Method(llm_prompts=False), Method(unit_prompts=False)):
        alfa = Alfa(backbone, method)
        text, live = alfa.text(again), alfa.embed(pack.prompts(method.llm_prompts))
        assert torch.allclose(text.normal, live.normal, atol=1e-6)
        assert torch.allclose(text.abnormal, live.abnormal, atol=1e-6)
        assert text.phrases == pack.descriptors
        assert text.descriptors is not None
        assert torch.allclose(text.descriptors.norm(dim=-1), torch.ones(len(pack.descriptors)))


def test_the_text_tower_is_not_needed_where_the_file_is(pack: PromptPack, tmp_path: Path) -> None:
    backbone = load_backbone("untrained", None, "cpu", "fp32")
    CompiledPacks(tmp_path).get(backbone, pack)
    backbone.text.release()
    CompiledPacks(tmp_path).get(backbone, pack)
    assert not backbone.text.loaded


@pytest.mark.parametrize("place", [20, -20])
def test_a_damaged_file_is_made_anew(backbone: Backbone, pack: PromptPack, tmp_path: Path, place: int) -> None:
    packs = CompiledPacks(tmp_path)
    good = packs.get(backbone, pack)
    path = packs.path(backbone, pack)
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.write_bytes(data)
    assert torch.equal(packs.get(backbone, pack).normal, good.normal)
    assert path.read_bytes() != bytes(data)


def test_other_packs_and_models_have_files_of_their_own(backbone: Backbone, pack: PromptPack, tmp_path: Path) -> None:
    packs = CompiledPacks(tmp_path)
    here = packs.path(backbone, pack)
    assert here != packs.path(backbone, load_pack("tile"))
    packs.get(backbone, load_pack("tile"))
    here.write_bytes(packs.path(backbone, load_pack("tile")).read_bytes())  # another pack's, under this one's name
    assert torch.equal(packs.get(backbone, pack).normal, compile_pack(backbone, pack).normal)


def test_another_way_to_render_the_same_file_has_a_file_of_its_own(
    backbone: Backbone, pack: PromptPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is keyed by what was embedded, not by the TOML that it was rendered from."""
    packs = CompiledPacks(tmp_path)
    before = packs.get(backbone, pack)
    monkeypatch.setattr("core.packs.pack.with_article", lambda phrase: f"the {phrase}")
    after = packs.get(backbone, pack)
    assert torch.equal(after.normal, compile_pack(backbone, pack).normal)
    assert not torch.equal(after.normal, before.normal)


def test_a_folder_that_takes_nothing_is_named(backbone: Backbone, pack: PromptPack, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"file.*model\.store"):
        CompiledPacks(tmp_path / "file").get(backbone, pack)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
