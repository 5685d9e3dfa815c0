from __future__ import annotations

from typing import Any

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer

from core.packs.lint import Finding, confusion, lint
from core.packs.pack import PromptPack, list_packs, load_pack

TOKENIZER = SimpleTokenizer()


@pytest.fixture
def bottle() -> PromptPack:
    return load_pack("bottle")


def with_words(pack: PromptPack, *, normal: tuple[str, ...] = (), abnormal: tuple[str, ...] = (), **other: Any) -> Any:
    """`pack` with further sentences, given by what follows `image of`, and with other keys changed."""
    sentences = {
        "normal": (*pack.normal, *(f"A normal image of {one}." for one in normal)),
        "abnormal": (*pack.abnormal, *(f"An abnormal image of {one}." for one in abnormal)),
    }
    return pack.model_copy(update=sentences | other)


def rules(pack: PromptPack) -> list[tuple[str, str]]:
    return [(one.rule, one.where) for one in lint(pack, TOKENIZER)]


@pytest.mark.parametrize("name", list_packs())
def test_every_bundled_pack_is_clean(name: str) -> None:
    assert [str(one) for one in lint(load_pack(name), TOKENIZER)] == []


def test_a_finding_reads_as_one_line() -> None:
    finding = Finding("article", "normal", "a\nb", "write 'an'")
    assert str(finding) == "normal: article: 'a\\nb': write 'an'"


@pytest.mark.parametrize(("count", "fine"), [(15, False), (16, True), (144, True), (145, False)])
def test_prompts_per_label_are_within_the_papers_range(bottle: PromptPack, count: int, fine: bool) -> None:
    pack = bottle.model_copy(update={"normal": tuple(f"A normal image of {one}." for one in range(count))})
    assert (("number of prompts", "normal") not in rules(pack)) is fine


def test_a_prompt_that_clip_would_cut_off_is_found(bottle: PromptPack) -> None:
    fits = (
        "a bottle " + "rim " * 70
    )  # 8 more tokens: the start, `A normal image of`, `a bottle`, the full stop, the end
    assert "too long" not in dict(rules(with_words(bottle, normal=(fits[:-8].strip(),))))
    assert ("too long", "normal") in rules(with_words(bottle, normal=(fits.strip(),)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("with a thin scratch running down the wall", "with a fine scratch running down the wall"),
        ("whose base is level, dry and smooth", "whose base is smooth, dry and level"),
        ("with a scar on the base", "that has a scar at the base"),
        ("with a stripe of dust along the inner wall", "with a long stripe of dust along the inner wall"),
        (
            "with rings drawn evenly around its wide shoulder in clear blue lacquer",
            "with bright thin rings drawn evenly around its wide shoulder in clear blue lacquer",
        ),
    ],
)
@pytest.mark.parametrize("labels", [("normal",), ("abnormal",), ("normal", "abnormal")])
def test_sentences_that_say_the_same_are_found(
    bottle: PromptPack, first: str, second: str, labels: tuple[str, ...]
) -> None:
    said = [f"a bottle {first}", f"a bottle {second}"]
    keys = {labels[0]: tuple(said)} if len(labels) == 1 else {labels[0]: (said[0],), labels[1]: (said[1],)}
    where = " and ".join(labels)
    assert rules(with_words(bottle, **keys)) == [("near-duplicate", where)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("with a scratch on the wall", "with a dent on the wall"),
        ("with a dent on the wall", "with a dent on the shoulder"),
        ("whose wall is blue", "whose wall is scratched"),
        ("with a blue scratch along the left half of the wall", "whose left half is darker than the wall beside it"),
    ],
)
def test_sentences_that_differ_are_not_alike(bottle: PromptPack, first: str, second: str) -> None:
    assert rules(with_words(bottle, abnormal=(f"a bottle {first}", f"a bottle {second}"))) == []
    assert rules(with_words(bottle, normal=(f"a bottle {first}",), abnormal=(f"a bottle {second}",))) == []


def test_a_sentence_in_both_labels_is_found(bottle: PromptPack) -> None:
    said = "a bottle with a band of mist"
    assert rules(with_words(bottle, normal=(said,), abnormal=(said,))) == [("in both labels", "normal and abnormal")]
    assert rules(with_words(bottle, normal=(said,), abnormal=("a bottle with a band of mould",))) == []


@pytest.mark.parametrize(
    "said",
    [
        "that smells of vinegar",
        "that is heavy in the hand",
        "whose weight is right",
        "that makes no noise",
        "that is cold to the touch",
        "at a low temperature",
        "with a sour taste",
        "that is cheap",
        "that is Durable",
        "that works as it should",
        "that malfunctions",
    ],
)
def test_what_no_camera_sees_is_found(bottle: PromptPack, said: str) -> None:
    assert rules(with_words(bottle, normal=(f"a bottle {said}",))) == [("not to be seen", "normal")]


@pytest.mark.parametrize(
    "said",
    [
        "in a light tone under even light",
        "with a heavy deposit of lime",
        "in warm amber",
        "with a clock drawn on it, a weightless-looking figure",
        "with image noise in the shadows",
        "with a cold shut in the relief",
        "wrapped in felt",
        "with a patchwork label",
    ],
)
def test_what_a_camera_does_see_is_not(bottle: PromptPack, said: str) -> None:
    assert rules(with_words(bottle, normal=(f"a bottle {said}",))) == []


def test_every_text_is_read(bottle: PromptPack) -> None:
    template = bottle.template.model_copy(
        update={"abnormal_states": ("malfunctioning",), "normal_details": ("a odd rim",)}
    )
    pack = with_words(
        bottle,
        descriptors=(*bottle.descriptors, "a bad smell"),
        template=template,
        defects={"loud": ("a loud rattle",)},
    )
    found = [one for one in rules(pack) if one[0] != "number of prompts"]
    assert found == [
        ("not to be seen", "descriptors"),
        ("not to be seen", "template.abnormal_states"),
        ("article", "template.normal_details"),
        ("not to be seen", "defects.loud"),
    ]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("a bottle with an scratch", "a bottle with a scratch"),
        ("a bottle with a open crack", "a bottle with an open crack"),
        ("a bottle with an U-shaped mark", "a bottle with a U-shaped mark"),
        ("a bottle with a LED in it", "a bottle with an LED in it"),
        ("a bottle with an uniform wall", "a bottle with a uniform wall"),
        ("bottle with lime on it", "a bottle with lime on it"),
        ("bottle", "bottles in a row"),
    ],
)
def test_articles(bottle: PromptPack, wrong: str, right: str) -> None:
    assert rules(with_words(bottle, normal=(wrong,))) == [("article", "normal")]
    assert rules(with_words(bottle, normal=(right,))) == []


def test_a_mass_noun_needs_no_article(bottle: PromptPack) -> None:
    glue = with_words(bottle, class_name="glue", plural="glue", normal=("glue in one drop",))
    assert rules(glue) == []


def test_descriptors_are_several_and_short(bottle: PromptPack) -> None:
    few = bottle.descriptors[:4]
    eight = "a chip in the rim of one bottle"
    assert rules(with_words(bottle, descriptors=few)) == [("descriptors", "descriptors")]
    assert rules(with_words(bottle, descriptors=(*few, eight))) == []
    assert rules(with_words(bottle, descriptors=(*few, eight, f"{eight} here"))) == [("descriptors", "descriptors")]
    assert rules(with_words(bottle, descriptors=(*few, eight, few[0]))) == [("descriptors", "descriptors")]


def test_each_defect_has_a_phrase(bottle: PromptPack) -> None:
    assert rules(with_words(bottle, defects={"chip": ()})) == [("defects", "defects.chip")]
    assert rules(with_words(bottle, defects={"chip": ("a small notch",)})) == []


def test_confusion_finds_the_prompts_that_lie_with_the_other_label(bottle: PromptPack) -> None:
    prompts = bottle.prompts()
    normal = torch.tensor([1.0, 0.1]).repeat(len(prompts.normal), 1)
    abnormal = torch.tensor([0.1, 1.0]).repeat(len(prompts.abnormal), 1)
    assert confusion(bottle, normal, abnormal) == []
    normal[3] = torch.tensor([0.5, 30.0])  # its length must not count
    (finding,) = confusion(bottle, normal, abnormal)
    assert (finding.rule, finding.where, finding.text) == ("confusion", "normal", prompts.normal[3])
    with pytest.raises(ValueError, match=r"embed pack.prompts\(\) of bottle"):
        confusion(bottle, normal[1:], abnormal)
