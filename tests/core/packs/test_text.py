from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.packs.pack import PromptPack, list_packs, load_pack
from core.packs.text import dump_pack

BUNDLED = Path(__file__).parents[3] / "prompt_packs"

shows = st.characters(max_codepoint=0x2FF, exclude_categories=["C", "Z"], include_characters=" –✓漢😀")
anything = st.text(shows, max_size=40)
several_lines = st.lists(anything, min_size=1, max_size=3).map("\n".join)
one_line = anything.map(lambda text: f"x{text}x")
phrases = st.lists(one_line, min_size=5, max_size=7).map(tuple)
sentences = st.lists(one_line, max_size=3, unique=True)


def said_of(pack: PromptPack) -> dict[str, object]:
    """The content, in which the order of the defects counts."""
    return pack.model_dump() | {"defects": list(pack.defects.items())}


@pytest.mark.parametrize("name", list_packs())
def test_every_bundled_pack_is_in_the_one_form(name: str) -> None:
    assert dump_pack(load_pack(name)) == (BUNDLED / f"{name}.toml").read_bytes().decode("utf-8")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    normal=sentences,
    abnormal=sentences,
    descriptors=phrases,
    queries=st.lists(several_lines, min_size=1, max_size=3).map(tuple),
    generator=anything,
    defects=st.dictionaries(one_line, phrases, min_size=1, max_size=3),
    detail=anything,
)
def test_what_is_dumped_is_read_as_the_same(
    tmp_path: Path,
    normal: list[str],
    abnormal: list[str],
    descriptors: tuple[str, ...],
    queries: tuple[str, ...],
    generator: str,
    defects: dict[str, tuple[str, ...]],
    detail: str,
) -> None:
    bottle = load_pack("bottle")
    pack = bottle.model_copy(
        update={
            "normal": tuple(f"A normal image of a bottle {one}." for one in normal),
            "abnormal": tuple(f"An abnormal image of a bottle {one}." for one in abnormal),
            "descriptors": descriptors,
            "provenance": bottle.provenance.model_copy(update={"queries": queries, "generator": generator}),
            "template": bottle.template.model_copy(update={"normal_details": ("", f"x{detail}")}),
            "defects": defects,
        }
    )
    path = tmp_path / "pack.toml"
    path.write_bytes(dump_pack(pack).encode("utf-8"))
    read = load_pack(str(path))
    assert said_of(read) == said_of(pack)
    assert dump_pack(read) == dump_pack(pack)


def test_every_sentence_has_a_line_of_its_own_and_odd_characters_are_escaped() -> None:
    bottle = load_pack("bottle")
    odd = ('a "rim"', "back\\slash", "tab\there", "\x00\x1f\x7f", "größe ✓ 😀")
    text = dump_pack(bottle.model_copy(update={"descriptors": odd, "normal": (), "defects": {"a b.c": odd[:1]}}))
    escaped = [r'"a \"rim\""', r'"back\\slash"', r'"tab\there"', r'"\u0000\u001f\u007f"', '"größe ✓ 😀"']
    assert "\n".join(["descriptors = [", *(f"    {one}," for one in escaped), "]", ""]) in text
    assert "\nnormal = []\n" in text
    assert text.endswith('[defects]\n"a b.c" = [\n    "a \\"rim\\"",\n]\n')
