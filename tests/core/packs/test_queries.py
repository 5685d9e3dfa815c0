"""What is asked, and what is kept of answers."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.packs.pack import BEGINNINGS, Label
from core.packs.queries import (
    as_defect,
    as_phrase,
    as_sentence,
    clean,
    descriptor_query,
    parse_list,
    same_words,
    sentence_query,
)

A, B, C = (f"An abnormal image of a bearing with {one}." for one in ("a crack", "rust on its ring", "a bent cage"))


def test_the_queries_are_the_papers() -> None:
    asked = sentence_query("abnormal", "bottle", 25)
    assert asked.startswith("How to identify an abnormal bottle in an image?")
    assert "tate the description beginning with: An abnormal image of bottle" in asked
    assert "list of 25" in asked
    assert sentence_query("normal", "bottle", 25).startswith("How to identify a normal bottle in an image?")
    assert descriptor_query("bottle") == (
        "Q: What are useful descriptions for distinguishing an anomaly bottle in a photo?\n"
        "A: There are several key descriptions to tell there is an anomaly bottle in a photo:\n-"
    )


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([A, B, C]),
        json.dumps({"items": [A, B, C]}),
        json.dumps({"items": [A, B, C], "note": "that is all"}, indent=2),
        json.dumps([{"text": A}, {"text": B}, {"text": C}]),
        json.dumps({"1": A, "2": B, "3": C}),
        f"Here you are [22 items]:\n```json\n{json.dumps([A, B, C], indent=1)}\n```\nTell me if you want more!",
        f"Sure! {json.dumps({'items': [A, B, C]})} Anything else?",
        f"1. {A}\n2. {B}\n3. {C}",
        f"Of course:\n\n1) {A}\n2) {B}\n\n3) {C}\n\nI hope that this helps.",
        f"Of course.\n- {A}\n  * {B}\n• {C}\nGood luck.",
        f"The list:\n{A}\n\n{B}\n{C}\n",
    ],
)
def test_lists_of_many_forms_are_read(text: str) -> None:
    assert parse_list(text) == [A, B, C]


@pytest.mark.parametrize("form", [json.dumps([A, B, C]), json.dumps({"items": [A, B, C]}, indent=1)])
def test_of_half_a_json_answer_the_complete_items_are_taken(form: str) -> None:
    for end in range(form.index("An"), len(form)):
        whole = [one for one in (A, B, C) if json.dumps(one) in form[:end]]
        assert [one for one in parse_list(form[:end]) if one.startswith("An ")] == whole
    fenced = "```json\n" + form[: form.index("bent")]
    assert parse_list(fenced) == [A, B]


def test_of_a_plain_list_that_was_cut_off_the_last_line_is_left_out() -> None:
    cut = f"- {A}\n- {B}\n- An abnormal image of a bea"
    assert parse_list(cut, complete=False) == [A, B]
    assert len(parse_list(cut)) == 3


@pytest.mark.parametrize("text", ["", " ", "[]", "{}", '{"items": []}', "[1, 2]", "null", '["', "[" * 100_000])
def test_nothing_is_read_from_nothing(text: str) -> None:
    assert [one for one in parse_list(text) if as_sentence(one, "normal", "bearing")] == []


def test_brackets_without_end_cost_no_time() -> None:
    start = time.monotonic()
    for text in ('["' * 200_000, '{"a": ' * 200_000, "[[" * 200_000, '[["a"], ' * 100_000):
        parse_list(text)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("  a \t crack\n across\r\nit ", "a crack across it"),
        ("**Bold** and `code` and __more__", "Bold and code and more"),
        ("a <b>red</b> [stain](http://x.y/z)", "a red stain"),
        ('"a quoted crack",', "a quoted crack"),
        ("3. a crack", "a crack"),
        ("- 2) a crack", "a crack"),
        ("\x1b[31ma red\x1b[0m crack", "a red crack"),
        ("a\x1b]0;title\x07 crack", "a crack"),
        ("a \u202ekcarc\u202c \u200bcrack\ufeff", "a kcarc crack"),
        ('a stamp that reads "OK"', 'a stamp that reads "OK"'),
        ("a défaut of 5 µm, 30° off (left)", "a défaut of 5 µm, 30° off (left)"),
    ],
)
def test_items_are_cleaned(item: str, text: str) -> None:
    assert clean(item) == text


@pytest.mark.parametrize(
    "item",
    [
        "",
        "a bell \x07 rings",
        "a null \x00 byte",
        "half an escape \x1b here",
        "a delete \x7f too",
        "a lone \ud800 surrogate",
        "a private \ue000 one",
        'crack."]\nversion = "9"\nnormal = ["',
        "a back\\slash",
        "a {brace}",
        "see http://example.org/?a=b",
        "a crack \N{COLLISION SYMBOL}",
        "It is round. It has no crack.",
        "Is it round?",
        "a" * 5000,
    ],
)
def test_items_that_are_no_plain_sentence_are_refused(item: str) -> None:
    assert clean(item) is None


@pytest.mark.parametrize(
    ("item", "label", "sentence"),
    [
        (A, "abnormal", A),
        ("an ABNORMAL Image of a bearing with a crack", "abnormal", A),
        ("Abnormal image of bearing with a crack;", "abnormal", A),
        ("A abnormal photo of a bearing with a crack", "abnormal", A),
        ("with a crack", "abnormal", A),
        ("With a crack.", "abnormal", A),
        ("A bearing with a crack", "abnormal", A),
        ("bearing with a crack", "abnormal", A),
        ("**Cracks**: An abnormal image of a bearing with a crack.", "abnormal", A),
        ("whose ring is even", "normal", "A normal image of a bearing whose ring is even."),
        ("A normal image of a shiny bearing", "normal", "A normal image of a shiny bearing."),
        (A, "normal", None),
        ("A normal image of a bearing with an even ring.", "abnormal", None),
        ("A crack runs across the ring", "abnormal", None),
        ("The bearing has a crack", "abnormal", None),
        ("Sure! Here are some descriptions", "abnormal", None),
        ("An abnormal image of", "abnormal", None),
        ("with", "abnormal", None),
        ("with a crack" + " and a crack" * 30, "abnormal", None),
        ('with a crack."]\nversion = "9"', "abnormal", None),
    ],
)
def test_sentences_get_the_packs_form_or_are_refused(item: str, label: Label, sentence: str | None) -> None:
    assert as_sentence(item, label, "bearing") == sentence


def test_articles_of_the_class() -> None:
    assert as_sentence("with a stain", "abnormal", "oil seal") == "An abnormal image of an oil seal with a stain."
    assert as_sentence("with a cut", "abnormal", "leather", mass=True) == "An abnormal image of leather with a cut."
    bare = "An abnormal image of leather with a cut"
    assert as_sentence(bare, "abnormal", "leather", mass=True) == f"{bare}."


@pytest.mark.parametrize(
    ("item", "phrase"),
    [
        ("- **A crack** on the ring.", "a crack on the ring"),
        ("Rust: brown patches on the ring", "rust"),
        ("with a dent", "a dent"),
        ("LED that is dark", "LED that is dark"),
        ("x", None),
        ("a crack " * 20, None),
        ("a crack\x07", None),
    ],
)
def test_phrases(item: str, phrase: str | None) -> None:
    assert as_phrase(item) == phrase


@pytest.mark.parametrize(
    ("item", "defect"),
    [
        ("Crack: a thin dark line; A jagged fracture.", ("crack", ("a thin dark line", "a jagged fracture"))),
        ("1. **Missing ball**: an empty pocket", ("missing_ball", ("an empty pocket",))),
        ("Décoloration: a brown patch; a brown patch", ("decoloration", ("a brown patch",))),
        ("crack", None),
        ("crack:", None),
        (": a thin line", None),
        ('x"]\nversion = "9": a thin line', None),
    ],
)
def test_defects(item: str, defect: tuple[str, tuple[str, ...]] | None) -> None:
    assert as_defect(item) == defect


def test_same_words() -> None:
    assert same_words("A ring, with rust.") == same_words("a  Ring with RUST")
    assert same_words("a ring") != same_words("a rim")


@given(st.text(max_size=400), st.sampled_from(tuple(BEGINNINGS)))
def test_whatever_comes_is_one_plain_line(text: str, label: Label) -> None:
    for item in (text, f"with {text}", f"{BEGINNINGS[label]}a bearing {text}"):
        sentence = as_sentence(item, label, "bearing")
        if sentence is not None:
            assert sentence.startswith(BEGINNINGS[label])
            assert re.fullmatch(r"[A-Z].*\.", sentence)
            assert 12 <= len(sentence) <= 300
            assert sentence.isprintable()
            assert not set(sentence) & set("[]{}<>=\\`#|")
    parse_list(text)
