"""Checks of a prompt pack's words: those that CLIP or a camera can make nothing of, and those that say things twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import torch.nn.functional as F
from torch import Tensor

from core.clip import SimpleTokenizer
from core.packs.pack import BEGINNINGS, TEMPLATE_PROMPTS, PromptPack, with_article

PROMPTS = (88, 216)
"""The fewest and the most prompts per label, as in the paper."""
TOKENS = 77
"""CLIP's context, start and end included; it cuts off what is longer."""
DESCRIPTORS = 5
"""The fewest descriptors."""
DESCRIPTOR_WORDS = 8
"""The longest descriptor."""
ALIKE_WORDS = 4
"""Words of meaning that two sentences must have in common to be alike: in shorter ones, one word is what they say."""
ALIKE_SHARE = 0.8
"""Of the words of meaning of two sentences, the share in common that makes them alike; as does all but one word."""

_SENSES = (
    "smell, smells, smelling, smelly, odour, odours, odor, odors, scent, scents, scented, aroma, stench",
    "taste, tastes, tasting, tasty, flavour, flavours, flavor, flavors, delicious, edible, sour, nutritious",
    "sound, sounds, noise, noises, noisy, loud, silent, silence, audible, acoustic, buzz, buzzes, buzzing",
    "rattle, rattles, rattling, squeak, squeaks, squeaking, squeaky",
    "weigh, weighs, weighing, weight, weights, heavier, heaviest, lightweight, light-weight, heavyweight",
    "heavy in the hand, light in the hand, heavy for its size, light for its size",
    "temperature, temperatures, hot, cold, lukewarm, ice-cold, chilled, freezing, feels, feeling, to the touch",
)
_PURPOSE = (
    "price, prices, pricey, cost, costs, costly, cheap, cheaper, expensive, warranty, customer, shipped, sold",
    "durable, durability, reliable, reliability, sturdy, lifetime, lifespan, long-lasting, longevity, tensile",
    "work, works, working, function, functions, functional, functioning, functionality",
    "malfunction, malfunctions, malfunctioning, operates, operating, operational, performs, performing, performance",
    "usable, unusable, easy to use, hard to use, sterile, toxic, voltage, resistance, conductivity",
)
UNSEEN = frozenset(phrase for line in (*_SENSES, *_PURPOSE) for phrase in line.split(", "))
"""Words and phrases for what no camera sees.

Words that also say how a thing looks are not among them: light, heavy (a heavy scratch), warm, cool, hard, soft, felt.
"""

_LOOKS = (
    "image noise, pixel noise, sensor noise, grain noise, price tag, price tags, printed price",
    "hot crack, hot cracks, hot tear, hot tears, hot spot, hot spots",
    "cold shut, cold shuts, cold joint, cold joints, cold slug, cold tone, cold hue, cold light",
    "working surface, working face, working edge",
)
SEEN = frozenset(phrase for line in _LOOKS for phrase in line.split(", "))
"""Phrases with a word of `UNSEEN` that do name something to see."""

_FUNCTION_WORDS = frozenset(
    word
    for line in (
        "a an the this that there which whose its it where as and or",
        "of in on at to from by with for into onto over is are has have having",
    )
    for word in line.split()
)


@dataclass(frozen=True)
class Finding:
    """What is amiss in a pack.

    Attributes:
        rule: The rule's name.
        where: The key it is at, for instance `normal` or `defects.crack`.
        text: What is amiss, word for word.
        remedy: What to do.
    """

    rule: str
    where: str
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}: {self.text!r}: {self.remedy}"


def lint(pack: PromptPack, tokenize: SimpleTokenizer | None = None) -> list[Finding]:
    """What is amiss in `pack`, by rule; nothing where it is well. `tokenize` is CLIP's own where it is left out."""
    return [*_sizes(pack, tokenize or _tokenizer()), *_repetitions(pack), *_wording(pack), *_phrases(pack)]


def confusion(pack: PromptPack, normal: Tensor, abnormal: Tensor) -> list[Finding]:
    """The prompts that a model holds nearer to the other label than to their own, by cosine to the labels' means.

    Args:
        pack: The pack, which gives P prompts per label.
        normal: The embeddings of its normal prompts [P, d], of any length.
        abnormal: Those of its abnormal prompts, likewise.

    Raises:
        ValueError: there is another number of embeddings than of prompts.
    """
    prompts = pack.prompts()
    if (len(normal), len(abnormal)) != (len(prompts.normal), len(prompts.abnormal)):
        raise ValueError(
            f"{len(normal)} and {len(abnormal)} embeddings for {len(prompts.normal)} and {len(prompts.abnormal)} "
            f"prompts; embed pack.prompts() of {pack.name}"
        )
    sides = {"normal": F.normalize(normal, dim=-1), "abnormal": F.normalize(abnormal, dim=-1)}
    means = {label: F.normalize(side.mean(0), dim=-1) for label, side in sides.items()}
    found = []
    for label, other in (("normal", "abnormal"), ("abnormal", "normal")):
        cosines = zip((sides[label] @ means[label]).tolist(), (sides[label] @ means[other]).tolist(), strict=True)
        for prompt, (near, strange) in zip(getattr(prompts, label), cosines, strict=True):
            if strange > near:
                remedy = f"nearer to {other} ({strange:.3f}) than to {label} ({near:.3f}); say plainly what is {label}"
                found.append(Finding("confusion", label, prompt, remedy))
    return found


@cache
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


def _sizes(pack: PromptPack, tokenizer: SimpleTokenizer) -> Iterator[Finding]:
    prompts = pack.prompts()
    fewest, most = PROMPTS
    for label in BEGINNINGS:
        side: tuple[str, ...] = getattr(prompts, label)
        if not fewest <= len(side) <= most:
            remedy = (
                f"have {fewest} to {most}, that is {fewest - TEMPLATE_PROMPTS} to {most - TEMPLATE_PROMPTS} sentences"
            )
            yield Finding("number of prompts", label, f"{len(side)} prompts", remedy)
        for prompt in side:
            tokens = len(tokenizer.encode(prompt)) + 2  # start and end
            if tokens > TOKENS:
                yield Finding("too long", label, prompt, f"{tokens} tokens and CLIP reads {TOKENS}; shorten it")


def _repetitions(pack: PromptPack) -> Iterator[Finding]:
    """Sentences that say what another one says, in the same label or in the other."""
    expected = frozenset(_words(f"{pack.class_name} {pack.plural}")) | _FUNCTION_WORDS
    told = [
        (label, sentence, tail, Counter(word for word in _words(tail) if word not in expected))
        for label, start in BEGINNINGS.items()
        for sentence in getattr(pack, label)
        for tail in [sentence[len(start) :]]
    ]
    for (label, first, tail, words), (other, second, other_tail, other_words) in combinations(told, 2):
        if label != other and _words(tail) == _words(other_tail):
            yield Finding("in both labels", "normal and abnormal", second, "keep it where it belongs, or in neither")
        elif _alike(words, other_words):
            where = label if label == other else "normal and abnormal"
            yield Finding("near-duplicate", where, second, f"hardly differs from {first!r}; say something else")


def _alike(first: Counter[str], second: Counter[str]) -> bool:
    """Whether sentences of these words of meaning, in any order, say nearly the same."""
    if first == second:
        return True
    if len(first & second) < ALIKE_WORDS:
        return False
    swapped = max(sum((first - second).values()), sum((second - first).values()))
    return swapped <= 1 or len(first & second) >= ALIKE_SHARE * len(first | second)


def _wording(pack: PromptPack) -> Iterator[Finding]:
    """Words for what is not to be seen, and articles."""
    for where, text in _texts(pack):
        if unseen := _unseen(text):
            yield Finding("not to be seen", where, text, f"no camera sees {unseen!r}; say what it looks like")
        for article, word in re.findall(r"(?<![\w-])(an?) ([\w'-]+)", text):
            if not with_article(word).startswith(f"{article} "):
                yield Finding("article", where, text, f"write {with_article(word)!r}")
    if pack.plural == pack.class_name:  # a mass noun takes none
        return
    for label, start in BEGINNINGS.items():
        for sentence in getattr(pack, label):
            if re.match(rf"{re.escape(start + pack.class_name)}(?![\w-])", sentence):
                yield Finding("article", label, sentence, f"write {start + with_article(pack.class_name)!r}")


def _unseen(text: str) -> str | None:
    """The first word of `text` for what is not to be seen."""
    found = _pattern(SEEN | UNSEEN).findall(text)
    return next((word for word in found if word.lower() not in SEEN), None)


@cache
def _pattern(phrases: frozenset[str]) -> re.Pattern[str]:
    """Finds whole words, the longest phrases first; a compound with a hyphen is a word."""
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])", re.IGNORECASE)


def _phrases(pack: PromptPack) -> Iterator[Finding]:
    if len(pack.descriptors) < DESCRIPTORS:
        yield Finding(
            "descriptors", "descriptors", f"{len(pack.descriptors)} descriptors", f"have {DESCRIPTORS} or more"
        )
    for index, descriptor in enumerate(pack.descriptors):
        if descriptor in pack.descriptors[:index]:
            yield Finding("descriptors", "descriptors", descriptor, "stands twice; leave one out")
        if len(descriptor.split()) > DESCRIPTOR_WORDS:
            yield Finding("descriptors", "descriptors", descriptor, f"say it in {DESCRIPTOR_WORDS} words or fewer")
    for name, phrases in pack.defects.items():
        if not phrases:
            yield Finding("defects", f"defects.{name}", name, "say what it looks like in a phrase or two")


def _texts(pack: PromptPack) -> Iterator[tuple[str, str]]:
    """Each text that a person wrote, and the key it is at."""
    groups: list[tuple[str, Sequence[str]]] = [(key, getattr(pack, key)) for key in (*BEGINNINGS, "descriptors")]
    groups += [(f"template.{key}", texts) for key, texts in pack.template]
    groups += [(f"defects.{name}", texts) for name, texts in pack.defects.items()]
    for where, texts in groups:
        for text in texts:
            yield where, text


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:[-'’]\w+)*", text.lower())
