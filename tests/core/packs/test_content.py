"""Packs from strangers: whatever a file holds, it is a pack or a PackError, at once, in words that can be printed."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.packs.pack import PackError, load_pack, make_pack
from core.toml import MOST_BYTES

BOTTLE = (Path(__file__).parents[3] / "prompt_packs" / "bottle.toml").read_text("utf-8")
HIDDEN = ("\x1b[31m", "\x00", "\x9b", "\x07", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\u00ad", "\u3000")
QUICK_S = 1.0  # of the processor, whatever else it does


def refusal(folder: Path, data: str | bytes) -> str:
    """What is said of a pack of this content, which is refused at once."""
    path = folder / "mine.toml"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    begun = time.process_time()
    with pytest.raises(PackError) as caught:
        load_pack(str(path))
    assert time.process_time() - begun < QUICK_S
    assert str(caught.value).replace("\n", "").isprintable()
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 20_000
    return str(caught.value)


def with_words(key: str, words: list[str]) -> str:
    """The bottle's pack with other words in the template's list `key`."""
    begin = BOTTLE.index(f"\n{key} = [") + 1
    lines = "".join(f'    "{one}",\n' for one in words)
    return f"{BOTTLE[:begin]}{key} = [\n{lines}{BOTTLE[BOTTLE.index(']', begin) :]}"


@pytest.mark.parametrize("many", [500, 4000])
def test_prompts_are_counted_before_they_are_rendered(tmp_path: Path, many: int) -> None:
    text = BOTTLE
    for key in ("domains", "normal_states", "abnormal_states", "normal_details", "abnormal_details"):
        begin = text.index(f"\n{key} = [") + 1
        words = "".join(f'    "{key[0]}{number}",\n' for number in range(many))
        text = f"{text[:begin]}{key} = [\n{words}{text[text.index(']', begin) :]}"
    assert "template.domains: has more than 72 entries; take some out" in refusal(tmp_path, text)


def test_many_words_within_the_limits_are_multiplied(tmp_path: Path) -> None:
    said = refusal(tmp_path, with_words("domains", [f"d{number}" for number in range(72)]))
    assert "template: gives 1296 normal prompts; it must give 72" in said


@pytest.mark.parametrize("key", ["normal", "abnormal", "descriptors"])
def test_lists_have_an_end(tmp_path: Path, key: str) -> None:
    beginning = {"normal": "A normal image of ", "abnormal": "An abnormal image of "}.get(key, "")
    said = refusal(tmp_path, with_words(key, [f"{beginning}a bottle {number}." for number in range(301)]))
    assert f"{key}: has more than" in said


def test_a_prompt_has_an_end(tmp_path: Path) -> None:
    text = with_words("normal_states", ["x" * 120, *(f"s{number}" for number in range(8))])
    text = text.replace('class = "bottle"', f'class = "{"b" * 120}"').replace('"close-up"', f'"{"d" * 119}"')
    assert "template: gives a normal prompt of" in refusal(tmp_path, text)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_does_not_show_is_refused_by_its_place(tmp_path: Path, hidden: str) -> None:
    escaped = "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in hidden)
    name = f"U+{ord(hidden[0]):04X}"
    line = BOTTLE[: BOTTLE.index('"a crack in the neck"')].count("\n") + 1
    said = refusal(tmp_path, BOTTLE.replace('"a crack in the neck"', f'"a {escaped} crack"'))
    assert f"line {line}: descriptors.5: holds {name}" in said
    assert name in refusal(tmp_path, BOTTLE.replace("[defects]", f'[defects]\n"a{escaped}b" = ["x"]'))
    assert name in refusal(tmp_path, f'"a{escaped}" = 1\n{BOTTLE}')
    assert name in refusal(tmp_path, BOTTLE.replace('licence = "', f'licence = "{escaped}'))


def test_a_line_break_is_for_questions_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(BOTTLE.replace("queries = [", 'queries = [\n    "one\\ntwo",'), "utf-8")
    assert load_pack(str(path)).provenance.queries[0] == "one\ntwo"
    assert "descriptors.0: holds U+000A" in refusal(tmp_path, with_words("descriptors", ["one\\ntwo"] * 5))


def test_half_a_surrogate_pair_is_refused() -> None:
    pack = load_pack("bottle").model_dump(by_alias=True)
    with pytest.raises(PackError, match=r"^draft: plural: holds U\+D83D, which does not show"):
        make_pack(pack | {"plural": "\ud83d"}, "draft")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a = " + "[" * 100_000, id="lists"),
        pytest.param("a = " + "{b=" * 50_000, id="inline tables"),
        pytest.param("a = [" * 2000 + "]" * 2000, id="both"),
        pytest.param(f"{'a.' * 60_000}a = 1", id="dotted keys"),
        pytest.param(f"[{'a.' * 60_000}a]", id="dotted table"),
        pytest.param("\n".join(f"{'a.' * 99}k{number} = 1" for number in range(1200)), id="many dotted keys"),
        pytest.param("\n".join(f"k{number} = 1" for number in range(20_000)), id="unknown keys"),
        pytest.param("[[a]]\n" * 40_000, id="tables in a list"),
        pytest.param(f"schema = {'9' * 100_000}", id="digits"),
        pytest.param("schema = 9e999999999", id="exponent"),
        pytest.param("schema = 9999-12-31T23:59:60.9-99:99", id="time"),
        pytest.param('a = "' + "\\n" * 100_000 + '"', id="escapes"),
        pytest.param('a = """' + '\\"""' * 60_000, id="quotes"),
        pytest.param("class = [" + "'x'," * 60_000 + "]", id="long list"),
        pytest.param("x" * MOST_BYTES + "x", id="large"),
        pytest.param("", id="empty"),
        pytest.param(BOTTLE.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xff" * 1000, id="no text"),
        pytest.param("[defects.'[key]']\n'[key]' = 1", id="a key as pydantic calls keys"),
    ],
)
def test_no_file_takes_long(tmp_path: Path, text: str | bytes) -> None:
    refusal(tmp_path, text)


def test_a_byte_order_mark_is_none_of_the_text(tmp_path: Path) -> None:
    plain, marked = tmp_path / "plain.toml", tmp_path / "marked.toml"
    plain.write_text(BOTTLE, "utf-8")
    marked.write_text(BOTTLE, "utf-8-sig")
    assert load_pack(str(marked)).prompts() == load_pack(str(plain)).prompts()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_fifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"), Path.symlink_to])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, make: Callable[..., None]) -> None:
    path = tmp_path / "mine.toml"
    make(path, path) if make is Path.symlink_to else make(path)
    begun = time.process_time()
    with pytest.raises(PackError, match=r"mine\.toml: "):
        load_pack(str(path))
    assert time.process_time() - begun < QUICK_S


@pytest.mark.parametrize(
    "name", ["a/\0.toml", "~nobody-of-this-name/a.toml", "a/" * 35_000, "x" * 5000, "a/\x1b[2J.toml", "\ud83d/a.toml"]
)
def test_no_name_is_more_than_refused(name: str) -> None:
    with pytest.raises(PackError) as caught:
        load_pack(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 5000


def test_a_file_whose_name_does_not_show_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a\u202eb.toml"
    path.write_text(BOTTLE, "utf-8")
    with pytest.raises(PackError, match=r"the file's name holds U\+202E"):
        load_pack(str(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=1000, max_examples=60)
@given(
    place=st.integers(0, len(BOTTLE)), gone=st.integers(0, 40), instead=st.text(max_size=30) | st.sampled_from(HIDDEN)
)
def test_a_damaged_pack_is_refused_or_shows_all_it_says(tmp_path: Path, place: int, gone: int, instead: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes((BOTTLE[:place] + instead + BOTTLE[place + gone :]).encode("utf-8", "surrogatepass"))
    said = ""
    try:
        pack = load_pack(str(path))
    except PackError as error:
        said = str(error)
    if said:
        assert said.replace("\n", "").isprintable()
        return
    prompts = pack.prompts()
    assert all(text.isprintable() for text in (*prompts.normal, *prompts.abnormal, *pack.descriptors, *pack.defects))
    assert len(prompts.normal) <= 372


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_KEYS = tuple(load_pack("bottle").model_dump(by_alias=True))


@settings(deadline=1000, max_examples=60)
@given(st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=8), _values, max_size=3))
def test_tables_of_anything_are_a_pack_or_a_pack_error(change: dict[str, object]) -> None:
    said = "draft: "
    try:
        make_pack(load_pack("bottle").model_dump(by_alias=True) | change, "draft")
    except PackError as error:
        said = str(error)
    assert said.startswith("draft: ")
