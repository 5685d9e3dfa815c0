"""Prompt packs: one TOML file per class of object, read, validated, hashed, and rendered to prompts."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from core.regular_file import SMALL, read_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEMPLATE_PROMPTS = 72
"""Prompts per label that the template gives, as in the paper."""

Label = Literal["normal", "abnormal"]
BEGINNINGS: dict[Label, str] = {"normal": "A normal image of ", "abnormal": "An abnormal image of "}
"""How the sentences of each label begin."""

Words = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^\S(.*\S)?$")]
Sentence = Annotated[str, Field(min_length=12, max_length=300, pattern=r"^[A-Z].*\.$")]


class PackError(ValueError):
    """A pack that is not there or not right; the message names file, line, key and reason."""


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

    generator: str
    """Kind of the generator."""
    queries: tuple[str, ...] = Field(min_length=1)
    """What it was asked, word for word."""
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    """When."""
    licence: str
    """SPDX identifier."""


class Template(_Table):
    """What fills the paper's template, `A {domain} image of a {state} {class} [with {specific details}]`."""

    domains: tuple[Words, ...] = Field(min_length=1)
    """Kinds of image, for instance `close-up`."""
    normal_states: tuple[Words, ...] = Field(min_length=1)
    """For instance `flawless`."""
    abnormal_states: tuple[Words, ...] = Field(min_length=1)
    """For instance `damaged`."""
    normal_details: tuple[str, ...] = Field(min_length=1)
    """What follows `with`; an empty one leaves it out."""
    abnormal_details: tuple[str, ...] = Field(min_length=1)
    """As above, for the other label."""


class PromptPack(_Table):
    """All that is said of one class of object."""

    schema_: Literal[1] = Field(alias="schema")
    """Version of this format."""
    class_name: Words = Field(alias="class")
    """The noun, in the singular."""
    plural: Words
    """The noun, in the plural."""
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    """Semantic version of the pack."""
    normal: tuple[Sentence, ...]
    """Sentences of the LLM on normal images; each begins `A normal image of`."""
    abnormal: tuple[Sentence, ...]
    """Sentences of the LLM on abnormal images; each begins `An abnormal image of`."""
    descriptors: tuple[Words, ...] = Field(min_length=5)
    """Short phrases that say to people what is amiss."""
    provenance: Provenance
    """Where the sentences come from."""
    template: Template
    """What fills the paper's template."""
    defects: dict[str, tuple[Words, ...]] = Field(min_length=1)
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

    def prompts(self, llm: bool = True) -> Prompts:
        """The template's prompts, 72 per label, and behind them, with `llm`, the LLM's sentences."""
        return Prompts(
            (*self._rendered("normal"), *(self.normal if llm else ())),
            (*self._rendered("abnormal"), *(self.abnormal if llm else ())),
        )

    def _rendered(self, label: Label) -> Iterator[str]:
        states = getattr(self.template, f"{label}_states")
        details = getattr(self.template, f"{label}_details")
        for domain, state, detail in product(self.template.domains, states, details):
            thing = f"{state} {self.class_name}"
            tail = f" with {detail}" if detail else ""
            yield f"{with_article(domain).capitalize()} image of {with_article(thing)}{tail}."

    @model_validator(mode="after")
    def _consistent(self) -> PromptPack:
        for label, start in BEGINNINGS.items():
            for index, sentence in enumerate(getattr(self, label)):
                if not sentence.startswith(start):
                    raise _InconsistentError(f"{label}: {sentence!r} does not begin with {start!r}", label, index)
        prompts = self.prompts()
        for label in BEGINNINGS:
            count = sum(1 for _ in self._rendered(label))
            if count != TEMPLATE_PROMPTS:
                raise _InconsistentError(
                    f"template: gives {count} {label} prompts; it must give {TEMPLATE_PROMPTS}", "template"
                )
            side: tuple[str, ...] = getattr(prompts, label)
            if repeated := sorted({one for one in side if side.count(one) > 1}):
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
        path = path_of(name)
        try:
            return _parse(read_regular(path, SMALL), path.stem, str(path))
        except OSError as error:
            raise PackError(f"pack {path}: {error.strerror or error}") from error
    known = list_packs()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise PackError(f"pack {name!r} is not known; {hint}there are {', '.join(known)}, or give the path of a file")
    file = files("prompt_packs") / f"{name}.toml"
    return _parse(file.read_bytes(), name, str(file))


def pack_schema() -> dict[str, Any]:
    """The JSON Schema of the format."""
    schema = PromptPack.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _parse(data: bytes, name: str, where: str) -> PromptPack:
    try:
        text = data.decode("utf-8")
        content = tomllib.loads(text)
        pack = PromptPack.model_validate(content)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PackError(f"pack {where}: line {line} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        end = f"at line {text.count(chr(10)) + 1}, the end of the file"
        raise PackError(f"pack {where}: not valid TOML: {str(error).replace('at end of document', end)}") from None
    except ValidationError as error:
        problems = [_problem(text, content, one) for one in error.errors()]
        raise PackError("\n".join(f"pack {where}: {problem}" for problem in problems)) from None
    pack._name, pack._sha256 = name, hashlib.sha256(data).hexdigest()
    return pack


def _problem(text: str, content: dict[str, Any], error: ErrorDetails) -> str:
    """One thing that is wrong in a file, behind the number of its line."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, _InconsistentError):
        return f"line {_line(text, content, cause.at)}: {cause}"
    at = error["loc"]
    line = _line(text, content, at[:-1] if error["type"] == "missing" else at)
    return f"line {line}: {'.'.join(str(part) for part in at)}: {error['msg']}"


def _line(text: str, content: Any, at: Sequence[str | int]) -> int:
    """The number of the line of what the keys and indices `at` lead to, or of the last of them that is found."""
    lines = text.split("\n")
    row = 0
    for key in at:
        if isinstance(key, str):
            name = re.compile(rf"""\s*\[?\s*["']?{re.escape(key)}["']?\s*[]=]""")
            found = next((after for after in range(row, len(lines)) if name.match(lines[after])), None)
        else:
            found = _line_of_item(lines, row, content[: key + 1])
        if found is None:
            break
        row, content = found, content[key]
    return row + 1


def _line_of_item(lines: Sequence[str], row: int, items: Sequence[object]) -> int | None:
    """The index of the line, from `row` on, that holds the last of `items`, some of which may be the same."""
    item = items[-1]
    if not isinstance(item, str):
        return None
    quoted = {json.dumps(item), json.dumps(item, ensure_ascii=False), f"'{item}'"}
    left = items.count(item)
    for index in range(row, len(lines)):
        left -= sum(lines[index].count(one) for one in quoted)
        if left <= 0:
            return index
    return None


_WINCLIP_NORMAL = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
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

    return Prompts(ensemble(_WINCLIP_NORMAL), ensemble(_WINCLIP_ABNORMAL))
