"""Prompt packs: one TOML file per class of object, read, validated, hashed, and rendered to prompts."""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEMPLATE_PROMPTS = 72
"""Prompts per label that the template gives, as in the paper."""

Words = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^\S(.*\S)?$")]
Sentence = Annotated[str, Field(min_length=12, max_length=300, pattern=r"^[A-Z].*\.$")]


class PackError(ValueError):
    """A pack that is not there or not right; the message names file, key and reason."""


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

    def _rendered(self, label: Literal["normal", "abnormal"]) -> Iterator[str]:
        states = getattr(self.template, f"{label}_states")
        details = getattr(self.template, f"{label}_details")
        for domain, state, detail in product(self.template.domains, states, details):
            thing = f"{state} {self.class_name}"
            tail = f" with {detail}" if detail else ""
            yield f"{with_article(domain).capitalize()} image of {with_article(thing)}{tail}."

    @model_validator(mode="after")
    def _consistent(self) -> PromptPack:
        for label, start in (("normal", "A normal image of "), ("abnormal", "An abnormal image of ")):
            for sentence in getattr(self, label):
                if not sentence.startswith(start):
                    raise ValueError(f"{label}: {sentence!r} does not begin with {start!r}")
        prompts = self.prompts()
        template = self.prompts(llm=False)
        for label in ("normal", "abnormal"):
            count = len(getattr(template, label))
            if count != TEMPLATE_PROMPTS:
                raise ValueError(f"template: gives {count} {label} prompts; it must give {TEMPLATE_PROMPTS}")
            side: tuple[str, ...] = getattr(prompts, label)
            if repeated := sorted({one for one in side if side.count(one) > 1}):
                raise ValueError(f"{label}: stands twice: {repeated[0]!r}")
        if shared := sorted(set(prompts.normal) & set(prompts.abnormal)):
            raise ValueError(f"stands in both labels: {shared[0]!r}")
        return self


def with_article(phrase: str) -> str:
    """`phrase` behind `a` or `an`, by the sound it begins with."""
    word = phrase.split()[0].lower()
    consonant = re.match(r"(uni([^nmd]|$)|us[aeiu]|u[bt]i|eu|one\b|once\b)", word)
    vowel = (word[0] in "aeiou" and not consonant) or re.match(r"(hour|honest|heir|[fhlmnrsx]-)", word)
    return f"{'an' if vowel else 'a'} {phrase}"


def list_packs() -> tuple[str, ...]:
    """The names of the bundled packs, sorted."""
    return tuple(sorted(one.name[:-5] for one in files("prompt_packs").iterdir() if one.name.endswith(".toml")))


def load_pack(name: str) -> PromptPack:
    """The bundled pack called `name`; or the file, when `name` holds a slash or ends with `.toml`.

    Raises:
        PackError: there is none, or the file is not right.
    """
    if "/" in name or name.endswith(".toml"):
        path = Path(name).expanduser()
        try:
            return _parse(path.read_bytes(), path.stem, str(path))
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
        pack = PromptPack.model_validate(tomllib.loads(data.decode("utf-8")))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PackError(f"pack {where}: line {line} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise PackError(f"pack {where}: not valid TOML: {error}") from None
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
        shown = [problem.removeprefix(": ").replace("Value error, ", "") for problem in problems]
        raise PackError("\n".join(f"pack {where}: {problem}" for problem in shown)) from None
    pack._name, pack._sha256 = name, hashlib.sha256(data).hexdigest()
    return pack


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
