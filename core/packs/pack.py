"""Prompt packs: one TOML file per class of object, read, validated, hashed, and rendered to prompts."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice, product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from core.packs.content import PackError as PackError
from core.packs.content import line_of, parse, place, read_file, unfit
from core.packs.words import DATE, PHRASE, SENTENCE, VERSION, in_words
from core.printable import shown, unprintable

TEMPLATE_PROMPTS = 72
"""Prompts per label that the template gives, as in the paper."""
MOST_SENTENCES = 300
"""Of a label; the paper has at most 144 besides the template's prompts."""
LONGEST_PROMPT = 300
"""Characters; CLIP reads 77 tokens."""
_MOST_PROBLEMS = 20  # of a file that are named
_LONGEST_NAME = 100  # characters
_LONGEST_PATH = 4096

Label = Literal["normal", "abnormal"]
BEGINNINGS: dict[Label, str] = {"normal": "A normal image of ", "abnormal": "An abnormal image of "}
"""How the sentences of each label begin."""

Words = Annotated[str, Field(min_length=1, max_length=120, pattern=PHRASE)]
Sentence = Annotated[str, Field(min_length=12, max_length=LONGEST_PROMPT, pattern=SENTENCE)]
_Details = Annotated[
    tuple[Annotated[str, Field(max_length=120)], ...], Field(min_length=1, max_length=TEMPLATE_PROMPTS)
]
_States = Annotated[tuple[Words, ...], Field(min_length=1, max_length=TEMPLATE_PROMPTS)]
_Sentences = Annotated[tuple[Sentence, ...], Field(max_length=MOST_SENTENCES)]
_Name = Annotated[str, Field(min_length=1, max_length=60)]


class _InconsistentError(ValueError):
    """What is wrong in a pack as a whole, and the keys and indices that lead to it in the file."""

    def __init__(self, message: str, *at: str | int) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True)
class Prompts:
    """The prompts of both labels."""

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Provenance(_Table):
    """Where the sentences come from."""

    generator: str = Field(max_length=300)
    """Kind of the generator."""
    queries: tuple[Annotated[str, Field(max_length=4000)], ...] = Field(min_length=1, max_length=200)
    """What it was asked, word for word."""
    date: str = Field(pattern=DATE)
    """When."""
    licence: str = Field(max_length=100)
    """SPDX identifier."""


class Template(_Table):
    """What fills the paper's template, `A {domain} image of a {state} {class} [with {specific details}]`."""

    domains: _States
    """Kinds of image, for instance `close-up`."""
    normal_states: _States
    """For instance `flawless`."""
    abnormal_states: _States
    """For instance `damaged`."""
    normal_details: _Details
    """What follows `with`; an empty one leaves it out."""
    abnormal_details: _Details
    """As above, for the other label."""


class PromptPack(_Table):
    """All that is said of one class of object."""

    schema_: Literal[1] = Field(alias="schema")
    """Version of this format."""
    class_name: Words = Field(alias="class")
    """The noun, in the singular."""
    plural: Words
    """The noun, in the plural."""
    version: str = Field(pattern=VERSION)
    """Semantic version of the pack."""
    normal: _Sentences
    """Sentences of the LLM on normal images; each begins `A normal image of`."""
    abnormal: _Sentences
    """Sentences of the LLM on abnormal images; each begins `An abnormal image of`."""
    descriptors: tuple[Words, ...] = Field(min_length=5, max_length=100)
    """Short phrases that say to people what is amiss."""
    provenance: Provenance
    """Where the sentences come from."""
    template: Template
    """What fills the paper's template."""
    defects: dict[_Name, Annotated[tuple[Words, ...], Field(max_length=50)]] = Field(min_length=1, max_length=100)
    """Kinds of defect, and what each looks like."""

    _name: str = PrivateAttr(default="")
    _sha256: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self._name

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        return self._sha256

    @property
    def kinds(self) -> dict[str, str]:
        """Of each phrase of `[defects]` the kind of defect."""
        return {phrase: kind for kind, phrases in self.defects.items() for phrase in phrases}

    @property
    def texts_sha256(self) -> str:
        """SHA-256, hexadecimal, of all that a model embeds of the pack: its prompts as rendered, and its descriptors.

        The file's own says less: another way to render a template makes other prompts of the same file.
        """
        prompts = self.prompts()
        texts = json.dumps([prompts.normal, prompts.abnormal, self.descriptors])
        return hashlib.sha256(texts.encode()).hexdigest()

    def prompts(self, llm: bool = True) -> Prompts:
        """The template's prompts, 72 per label, and behind them, with `llm`, the LLM's sentences."""
        return Prompts(
            (*self._rendered("normal"), *(self.normal if llm else ())),
            (*self._rendered("abnormal"), *(self.abnormal if llm else ())),
        )

    def _rendered(self, label: Label) -> Iterator[str]:
        return (self._prompt(*parts) for parts in product(*self._parts(label)))

    def _parts(self, label: Label) -> tuple[tuple[str, ...], ...]:
        """Domains, states and details; each of one with each of the others gives a prompt."""
        template = self.template
        return template.domains, getattr(template, f"{label}_states"), getattr(template, f"{label}_details")

    def _prompt(self, domain: str, state: str, detail: str) -> str:
        thing = f"{state} {self.class_name}"
        tail = f" with {detail}" if detail else ""
        return f"{with_article(domain).capitalize()} image of {with_article(thing)}{tail}."

    @model_validator(mode="after")
    def _consistent(self) -> PromptPack:
        for label, start in BEGINNINGS.items():
            for index, sentence in enumerate(getattr(self, label)):
                if not sentence.startswith(start):
                    raise _InconsistentError(f"{label}: {sentence!r} does not begin with {start!r}", label, index)
        for label in BEGINNINGS:  # by multiplication, before the first prompt is rendered
            parts = self._parts(label)
            count = math.prod(map(len, parts))
            if count != TEMPLATE_PROMPTS:
                raise _InconsistentError(
                    f"template: gives {count} {label} prompts; it must give {TEMPLATE_PROMPTS}", "template"
                )
            longest = self._prompt(*(max(words, key=len) for words in parts))
            if len(longest) > LONGEST_PROMPT:
                message = (
                    f"template: gives a {label} prompt of {len(longest)} characters; {LONGEST_PROMPT} are the most"
                )
                raise _InconsistentError(message, "template")
        prompts = self.prompts()
        for label in BEGINNINGS:
            side: tuple[str, ...] = getattr(prompts, label)
            if repeated := sorted(prompt for prompt, count in Counter(side).items() if count > 1):
                raise _InconsistentError(f"{label}: stands twice: {repeated[0]!r}", *self._repeats(label, repeated[0]))
        if shared := sorted(set(prompts.normal) & set(prompts.abnormal)):
            states = self.template.abnormal_states
            found = [index for index, one in enumerate(states) if one in self.template.normal_states]
            at = ("abnormal_states", found[0]) if found else ()
            raise _InconsistentError(f"stands in both labels: {shared[0]!r}", "template", *at)
        return self

    def _repeats(self, label: Label, prompt: str) -> tuple[str | int, ...]:
        """Where `prompt` stands again: the last of the sentences, or the words of the template that stand twice."""
        sentences = getattr(self, label)
        if prompt in sentences:
            return label, len(sentences) - 1 - sentences[::-1].index(prompt)
        for key in ("domains", f"{label}_states", f"{label}_details"):
            words = getattr(self.template, key)
            for index, one in enumerate(words):
                if one in words[:index]:
                    return "template", key, index
        return ("template",)


def with_article(phrase: str) -> str:
    """`phrase` behind `a` or `an`, by the sound it begins with; capitals are spelled out, as in `an LED`."""
    first = phrase.split()[0]
    word = first.lower()
    if re.match(r"[A-Z][A-Z0-9]+\b", first):
        vowel = word[0] in "aefhilmnorsx"
    elif word[0] in "aeiou":
        vowel = not re.match(r"(uni([^nmd]|$)|us[aeiu]|u[bt]i|u-|eu|one\b|once\b)", word)
    else:
        vowel = bool(re.match(r"(hour|honest|heir|[fhlmnrsx]-|8|1[18]\b)", word))
    return f"{'an' if vowel else 'a'} {phrase}"


def list_packs() -> tuple[str, ...]:
    """The names of the bundled packs, sorted."""
    return tuple(sorted(one.name[:-5] for one in files("prompt_packs").iterdir() if one.name.endswith(".toml")))


def is_path(name: str) -> bool:
    """Whether a pack is called by the path of its file, not by its name."""
    return "/" in name or name.endswith(".toml")


def path_of(name: str) -> Path:
    """The path of a pack that is called by it; `~` is the home of a user.

    Raises:
        PackError: it cannot be a path.
    """
    if "\0" in name:
        raise PackError(f"pack {name!r}: no path holds a NUL")
    return Path(os.path.expanduser(name))  # noqa: PTH111 - pathlib's raises RuntimeError for a user that is not known


def load_pack(name: str) -> PromptPack:
    """The bundled pack called `name`; or the file, when `name` holds a slash or ends with `.toml`.

    Raises:
        PackError: there is none, or the file is not right.
    """
    if is_path(name):
        if len(name) > _LONGEST_PATH:
            raise PackError(f"pack {shown(name[:80])}...: no path has {len(name)} characters")
        path = path_of(name)
        if found := unprintable(path.stem):  # it stands in tables, logs and verdicts
            raise PackError(f"pack {shown(name)}: the file's name holds {found}, which does not show; rename it")
        if len(path.stem) > _LONGEST_NAME:
            raise PackError(f"pack {shown(name)}: the file's name has more than {_LONGEST_NAME} characters; rename it")
        return _parse(read_file(path), path.stem, f"pack {shown(str(path))}")
    known = list_packs()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise PackError(
            f"pack {name[:200]!r} is not known; {hint}generic fits any part; there are {', '.join(known)}, or give the "
            "path of a file"
        )
    file = files("prompt_packs") / f"{name}.toml"
    return _parse(file.read_bytes(), name, f"pack {file}")


def pack_schema() -> dict[str, Any]:
    """The JSON Schema of the format."""
    schema = PromptPack.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def make_pack(content: Mapping[str, Any], where: str, text: str | None = None) -> PromptPack:
    """The pack of the tables of a file, or of what will be written to one.

    Args:
        content: Keys and values as in the file.
        where: How messages begin.
        text: The file, whose lines messages name.

    Raises:
        PackError: it is no pack, or says something that cannot be printed.
    """
    problems = [f"{place(at)}: {reason}" for at, reason in islice(unfit(content), _MOST_PROBLEMS)]
    if not problems:
        try:
            return PromptPack.model_validate(content)
        except ValidationError as error:
            found = error.errors()
            problems = [_problem(text, content, one) for one in found[:_MOST_PROBLEMS]]
            if more := len(found) - len(problems):
                problems.append(f"and {more} more")
    raise PackError("\n".join(f"{where}: {problem}" for problem in problems))


def _parse(data: bytes, name: str, where: str) -> PromptPack:
    text, content = parse(data, where)
    pack = make_pack(content, where, text)
    pack._name, pack._sha256 = name, hashlib.sha256(data).hexdigest()
    return pack


def _problem(text: str | None, content: Mapping[str, Any], error: ErrorDetails) -> str:
    """One thing that is wrong in a pack, behind the number of its line where there are lines."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, _InconsistentError):
        at, said = cause.at, str(cause)
    else:
        at = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
        said = f"{place(error['loc'])}: {in_words(error, _keys(error['loc'][:-1]))}"
    return said if text is None else f"line {line_of(text, content, at)}: {said}"


def _keys(at: Sequence[str | int]) -> list[str]:
    """The keys that a pack has in the table at `at`."""
    tables: dict[tuple[str | int, ...], type[_Table]] = {("provenance",): Provenance, ("template",): Template}
    table = tables.get(tuple(at), PromptPack)
    return [field.alias or name for name, field in table.model_fields.items()]


NORMAL_STATES = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
"""Of a class, by WinCLIP; FiLo has the same."""
_WINCLIP_ABNORMAL = ("damaged {}", "{} with flaw", "{} with defect", "{} with damage")
_WINCLIP_TEMPLATES = (
    "a cropped photo of the {}.",
    "a close-up photo of a {}.",
    "a close-up photo of the {}.",
    "a bright photo of a {}.",
    "a bright photo of the {}.",
    "a dark photo of the {}.",
    "a dark photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a blurry photo of the {}.",
    "a blurry photo of a {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of a small {}.",
    "a photo of the small {}.",
    "a photo of a large {}.",
    "a photo of the large {}.",
    "a photo of the {} for visual inspection.",
    "a photo of a {} for visual inspection.",
    "a photo of the {} for anomaly detection.",
    "a photo of a {} for anomaly detection.",
)


def winclip_prompts(class_name: str) -> Prompts:
    """WinCLIP's compositional prompt ensemble (Jeong et al., CVPR 2023), word for word, its repetition included."""

    def ensemble(states: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(template.format(state.format(class_name)) for state in states for template in _WINCLIP_TEMPLATES)

    return Prompts(ensemble(NORMAL_STATES), ensemble(_WINCLIP_ABNORMAL))
