"""What a language model is asked for a prompt pack, as the paper words it, and what is kept of its answers.

An answer is text from outside: of it nothing but plain sentences and phrases comes through here.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice

from core.packs.pack import BEGINNINGS, Label, with_article

_SENTENCE_LENGTHS = (12, 300)
_PHRASE_LENGTHS = (3, 120)
_LONGEST_ITEM = 2000  # characters; what is longer is no item of a list, and is not looked at
_LOOKS = 5  # of one kind of defect that are kept

_FORM = "As a list of {count}, one a line; each a single plain sentence about what can be seen: shape, surface, parts."


def sentence_query(label: Label, noun: str, count: int) -> str:
    """Asks for `count` sentences on images of one label; the paper's two sentences, then the form."""
    kind = with_article(label)
    start = BEGINNINGS[label] + noun
    asked = f"How to identify {kind} {noun} in an image? State the description beginning with: {start}"
    return f"{asked}\n{_FORM.format(count=count)}"


def descriptor_query(noun: str) -> str:
    """Asks for descriptors, word for word as the paper does."""
    return (
        f"Q: What are useful descriptions for distinguishing an anomaly {noun} in a photo?\n"
        f"A: There are several key descriptions to tell there is an anomaly {noun} in a photo:\n-"
    )


def defect_query(noun: str, count: int) -> str:
    """Asks for `count` kinds of defect and what each looks like; the paper has no such query."""
    return (
        f"Which kinds of defect does {with_article(noun)} have, and what does each look like in an image?\n"
        f"As a list of {count}, one a line, in the form: kind: what it looks like; another look of it"
    )


def more_query(count: int) -> str:
    """Asks for `count` others, behind an answer."""
    return f"{count} more, each different from all of the above, in the same form."


_DECODER = json.JSONDecoder(strict=False)  # models leave line breaks in strings
_OPENING = re.compile(r"""[\[{](?=\s*["\[{])""")
_OPENINGS = 8  # that are tried, so that an answer of brackets alone costs nothing
_DEPTH = 4  # of lists in lists
_MARK = re.compile(r"^\s*(?:[-*•·–—]|\(?\d{1,3}[.):])\s+(?=\S)")


def parse_list(text: str, complete: bool = True) -> list[str]:
    """The items of the list in `text`, as they stand: a JSON array or object, or lines with or without marks.

    Of JSON that ends too early the complete items are taken. Text around the list is passed over where the list is
    JSON or has marks. If it is not `complete` the answer was cut off: its last line is left out.
    """
    for opening in islice(_OPENING.finditer(text), _OPENINGS):
        if items := _json_items(text, opening.start()):
            return items
    lines = text.splitlines() if complete else text.splitlines()[:-1]
    marked = [line for line in lines if _MARK.match(line)]
    plain = (line for line in lines if line.strip() and not line.rstrip().endswith(":"))
    return [_MARK.sub("", line).strip() for line in marked or plain]


def _json_items(text: str, start: int) -> list[str]:
    try:
        return list(_strings(_DECODER.raw_decode(text, start)[0]))
    except (ValueError, RecursionError):
        pass  # half an answer, or none: the items before the break are still good
    items: list[str] = []
    place = text.find("[", start) + 1
    while place:
        while place < len(text) and (text[place].isspace() or text[place] == ","):
            place += 1
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            break
        items.extend(_strings(value))
    return items


def _strings(value: object, depth: int = _DEPTH) -> Iterator[str]:
    """The strings in a JSON value; of an object with lists, those in the lists."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list):
        for item in value:
            yield from _strings(item, depth - 1)
    elif depth and isinstance(value, dict):
        inside = list(value.values())
        for item in [item for item in inside if isinstance(item, list)] or inside:
            yield from _strings(item, depth - 1)


_ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b]*\x1b\\")
_LINK = re.compile(r"\[([^\[\]]*)\]\([^()]*\)")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,80}>")
_EMPHASIS = re.compile(r"\*+|_{2,}|`+|~~")
_FRONT = re.compile(r"^(?:\s*(?:[-*•·–—>]|#+|\(?\d{1,3}[.):])\s+)+")
_QUOTED = re.compile(r"""^["'“‘](.*)["'”’][.,;]*$""")
_PLAIN = re.compile(r"""(?:[^\W_]|[ ,.;:'’‘"“”()/%°×+&–—-])+""")
_INNER_END = re.compile(r"""\.["'”’)]*\s+["'“‘(]?[A-Z]""")


def clean(item: str) -> str | None:
    """`item` on one line without markup, escape sequences and characters that do not show; None when it is refused.

    Refused is what still holds a control character or another one that no plain sentence has, and what is more than
    one sentence.
    """
    if len(item) > _LONGEST_ITEM:
        return None
    text = _ESCAPES.sub("", unicodedata.normalize("NFC", item))
    text = "".join(
        character for character in text if unicodedata.category(character) != "Cf"
    )  # bidi controls, zero widths, tags
    text = _TAG.sub("", _LINK.sub(r"\1", _FRONT.sub("", text)))
    text = " ".join(_EMPHASIS.sub("", text).split())
    text = _QUOTED.sub(r"\1", text).strip()
    return text if _PLAIN.fullmatch(text) and not _INNER_END.search(text) else None


_TITLE = re.compile(r"^[^.:]{1,40}: (?=an? )", re.I)
_LINKS = (
    "with|without|whose|that|which|where|in|on|of|under|from|showing|having|featuring|exhibiting|displaying|lacking"
    "|covered|seen|viewed|photographed|lying|standing|made"
)
_TAIL = re.compile(rf"(?:{_LINKS})\b.*\w", re.I)


def as_sentence(item: str, label: Label, noun: str, mass: bool = False) -> str | None:
    """`item` as a sentence of a pack: it begins `A normal image of` or `An abnormal image of`, and ends with a period.

    A phrase such as `with a crack` gets the beginning; what cannot have it, and what is of the other label, is refused.
    `mass` says that `noun` takes no article.
    """
    text = clean(item)
    if text is None:
        return None
    text = _TITLE.sub("", text)
    thing = noun if mass else with_article(noun)
    if begun := re.match(rf"(?:(?:an?|the) )?{label} (?:image|photo|picture)s? of (?=\w)", text, re.I):
        rest = text[begun.end() :]
        if bare := re.match(rf"{re.escape(noun)}\b", rest, re.I):  # the paper's own words leave the article out
            rest = thing + rest[bare.end() :]
    else:
        named = re.match(rf"(?:(?:an?|the) )?{re.escape(noun)} (?=\w)", text, re.I)
        tail = text[named.end() :] if named else text
        if not _TAIL.match(tail):
            return None
        rest = f"{thing} {tail[0].lower()}{tail[1:]}"
    return _within(f"{BEGINNINGS[label]}{rest.rstrip(' .,;:')}.", _SENTENCE_LENGTHS)


def as_phrase(item: str) -> str | None:
    """`item` as a phrase that follows `with`: no capital, no period, and of `title: explanation` the title."""
    text = clean(item)
    if text is None:
        return None
    text = re.sub(r"^with ", "", text.partition(": ")[0].rstrip(" .,;:"), flags=re.I)
    if re.match(r"[A-Z]([a-z]|\s)", text):
        text = text[0].lower() + text[1:]
    return _within(text, _PHRASE_LENGTHS)


def as_defect(item: str) -> tuple[str, tuple[str, ...]] | None:
    """`kind: look; look` as the key of the kind, in small ASCII letters, digits and `_`, and its looks."""
    kind, colon, looks = (clean(item) or "").partition(":")
    letters = unicodedata.normalize("NFKD", kind).encode("ascii", "ignore").decode().lower()
    key = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    found = tuple(dict.fromkeys(phrase for look in looks.split(";") if (phrase := as_phrase(look))))[:_LOOKS]
    return (key, found) if colon and found and re.fullmatch(r"[a-z][a-z0-9_]{1,39}", key) else None


def same_words(text: str) -> str:
    """What two texts share that differ in case, punctuation and blanks alone."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _within(text: str, lengths: tuple[int, int]) -> str | None:
    least, most = lengths
    return text if least <= len(text) <= most else None
