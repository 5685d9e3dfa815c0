import re
from pathlib import Path

import jsonschema
import pytest
from open_clip.tokenizer import SimpleTokenizer

from core.packs.pack import PackError, list_packs, load_pack, pack_schema, winclip_prompts, with_article
from core.toml import tomllib

BOTTLE = Path(__file__).parents[3] / "prompt_packs" / "bottle.toml"


@pytest.mark.parametrize("name", list_packs())
def test_every_bundled_pack_is_sound(name: str) -> None:
    pack = load_pack(name)
    template, everything = pack.prompts(llm=False), pack.prompts()
    tokenizer = SimpleTokenizer()
    for label in ("normal", "abnormal"):
        side = getattr(everything, label)
        assert len(getattr(template, label)) == 72
        assert 88 <= len(side) <= 216, "the paper's range"
        assert len(set(side)) == len(side)
        assert max(len(tokenizer.encode(prompt)) + 2 for prompt in side) <= 77
        assert side[:72] == getattr(template, label)
    assert pack.name == name
    assert len(pack.sha256) == 64
    assert not set(everything.normal) & set(everything.abnormal)
    data = tomllib.loads((BOTTLE.parent / f"{name}.toml").read_text("utf-8"))
    jsonschema.validate(data, pack_schema())


def test_the_first_packs_are_there() -> None:
    assert {"generic", "bottle", "magnetic_tile", "commutator"} <= set(list_packs())


def test_the_template_is_the_papers() -> None:
    prompts = load_pack("bottle").prompts(llm=False)
    assert prompts.normal[0] == "An industrial image of a normal bottle."
    assert prompts.normal[1] == "An industrial image of a normal bottle with a clean round rim."
    assert "A close-up image of an unblemished bottle." in prompts.normal


@pytest.mark.parametrize(
    ("phrase", "article"),
    [
        ("industrial", "an"),
        ("close-up", "a"),
        ("unblemished bottle", "an"),
        ("uniform surface", "a"),
        ("undamaged", "an"),
        ("used part", "a"),
        ("one-piece body", "a"),
        ("hourglass", "an"),
        ("X-ray", "an"),
        ("intact", "an"),
        ("U-shaped cut", "a"),
        ("USB socket", "a"),
        ("LED", "an"),
        ("8 mm hole", "an"),
        ("12 mm hole", "a"),
    ],
)
def test_articles(phrase: str, article: str) -> None:
    assert with_article(phrase) == f"{article} {phrase}"


def test_winclips_ensemble() -> None:
    prompts = winclip_prompts("bottle")
    assert len(prompts.normal) == 7 * 21
    assert len(prompts.abnormal) == 4 * 21
    assert prompts.normal[0] == "a cropped photo of the bottle."
    assert prompts.abnormal[-1] == "a photo of a bottle with damage for anomaly detection."


def test_a_file_is_read_by_its_path_and_hashed(tmp_path: Path) -> None:
    copy = tmp_path / "mine.toml"
    copy.write_bytes(BOTTLE.read_bytes())
    assert load_pack(str(copy)).name == "mine"
    assert load_pack(str(copy)).sha256 == load_pack("bottle").sha256
    copy.write_bytes(BOTTLE.read_bytes() + b"\n# a comment\n")
    assert load_pack(str(copy)).sha256 != load_pack("bottle").sha256


@pytest.mark.parametrize(
    ("find", "replace", "message", "at"),
    [
        ('class = "bottle"', 'class = "bottle', "line 2", 'class = "bottle'),
        ('class = "bottle"', 'clas = "bottle"', "clas: is no key of a pack; did you mean class?", "clas = "),
        ('class = "bottle"\n', "", "class: is missing; add it", "schema = 1"),
        ("schema = 1", "schema = 2", "schema: is 2; only 1 can be read", "schema = 2"),
        ('version = "0.1.0"', 'version = "new"', "'new' is no version; write three numbers", "version = "),
        ('date = "', 'when = "', "provenance.date: is missing; add it", "[provenance]"),
        (
            '    "a crack in the neck",',
            "    1979-05-27,",
            "descriptors.5: is no text; put it in quotes",
            "descriptors = [",
        ),
        (
            '    "a tiny notch in the bright ring",',
            '    " notch",',
            "defects.broken_small.1: ' notch' begins or ends with a blank",
            '" notch"',
        ),
        ('    "cropped",\n', "", "gives 54 normal prompts; it must give 72", "[template]"),
        ('    "cropped",\n', '    "bright",\n', "stands twice", '"bright"'),
        (
            "A normal image of a bottle whose rim is",
            "A good image of a bottle whose rim is",
            "does not begin with",
            "A good",
        ),
        (
            "A normal image of a bottle whose rim is",
            "a normal image of a bottle whose rim is",
            "is no sentence; begin it with",
            '"a normal',
        ),
        (
            "A normal image of a bottle whose neck is clean and empty.",
            "A normal image of a bottle with a flawless circular outline.",
            "normal: stands twice",
            "with a flawless circular outline.",
        ),
        (
            "A normal image of a bottle whose neck is",
            "A normal bottle whose neck is",
            "does not begin",
            "A normal bottle",
        ),
        ('    "damaged",\n', '    "intact",\n', "stands in both labels", '"intact"'),
        ('date = "2026', 'date = "26', "is no date; write year, month and day", "date = "),
        ("plural = ", "plural = []\n# ", "plural: is no text; put it in quotes", "plural = []"),
        ('"cropped",', '"", #', "template.domains.1: is empty; say something", '"", #'),
        ('    "dirt on the inner wall",\n]', "", "the end of the file", ""),
    ],
)
def test_a_broken_pack_names_file_line_and_reason(
    tmp_path: Path, find: str, replace: str, message: str, at: str
) -> None:
    path = tmp_path / "broken.toml"
    text = BOTTLE.read_text("utf-8")
    assert find in text
    text = replace.join(text.rsplit(find, 1) if "inner wall" in find else text.split(find, 1))
    if "both labels" in message:  # the same state and detail on both sides
        text = text.replace('"a broken rim"', '"a clean round rim"')
    path.write_text(text, "utf-8")
    last = max(number for number, line in enumerate(text.split("\n"), 1) if at in line)
    with pytest.raises(PackError, match=message) as caught:
        load_pack(str(path))
    said = next(line for line in str(caught.value).splitlines() if re.search(message, line))
    assert str(path) in said
    assert re.findall(r"line (\d+)", said) == [str(last)]


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b'schema = 1\nclass = "b\xe9"\n')
    with pytest.raises(PackError, match="line 2 is not UTF-8"):
        load_pack(str(path))


def test_an_unknown_name_gets_a_hint_and_a_missing_file_its_path(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"did you mean bottle\?.*generic"):
        load_pack("botle")
    with pytest.raises(PackError, match="No such file"):
        load_pack(str(tmp_path / "none.toml"))
