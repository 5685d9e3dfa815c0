"""A prompt pack for a class that has none: a language model is asked, and its answers become a draft for review.

Nothing of an answer but plain sentences and phrases gets into the draft, and nothing of the API key into anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai
from pydantic import BaseModel, Field, ValidationError

from core.packs.pack import BEGINNINGS, Label, PackError, PromptPack, list_packs, load_pack, make_pack, with_article
from core.packs.queries import (
    as_defect,
    as_phrase,
    as_sentence,
    defect_query,
    descriptor_query,
    more_query,
    parse_list,
    same_words,
    sentence_query,
)
from edge.clock import monotonic, utc_now
from edge.ops.redact import redact
from edge.tools.answers import Answers
from edge.tools.drafts import GenerationError

_LONGEST_BODY = 1 << 20  # bytes
_MOST_ITEMS = 1000  # of an answer that are looked at
_LONGEST_SAID = 200  # characters of a server's error message
_SHORTEST_SECRET = 8  # characters; local servers get keys such as `x`, which may well stand in a sentence
_SPARE = 3  # asked for beyond what is missing, since some will be refused
_DESCRIPTORS = (5, 15)  # at least and at most
_DEFECTS = (3, 10)
_LONGEST_DETAIL = 60  # characters

_STRUCTURE: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "list",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"items": {"type": "array", "items": {"type": "string"}}},
            "required": ["items"],
            "additionalProperties": False,
        },
    },
}

Message = Mapping[str, str]
Heard = Callable[[str, int, int], None]
"""Is told after every answer: what was asked for, how many are there now, how many are needed."""
T = TypeVar("T")


@dataclass(frozen=True)
class Wish:
    """What to make."""

    noun: str
    """The class, in the singular."""
    plural: str
    """The class, in the plural."""
    name: str
    """The pack's name."""
    sentences: int = 22
    """Of each label; 22 and the template are 94 prompts."""
    licence: str = "Apache-2.0"
    """SPDX identifier."""
    rounds: int = 6
    """Answers to each question after which it is given up."""


class _Said(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Said
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


class _Bounded(openai.DefaultHttpxClient):
    """Leaves a server whose answer does not end: the client's own timeout is for each part of it."""

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self._limit_s = limit_s

    def send(self, request: Any, **options: Any) -> Any:
        end = monotonic() + self._limit_s
        response = super().send(request, **(options | {"stream": True}))
        body = bytearray()
        try:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _LONGEST_BODY:
                    raise openai.APIConnectionError(message="the answer has no end", request=request)
                if monotonic() > end:
                    raise openai.APITimeoutError(request)
        finally:
            response.close()
        decoded = ("content-encoding", "content-length", "transfer-encoding")  # no longer true of the body
        headers = [(key, value) for key, value in response.headers.multi_items() if key.lower() not in decoded]
        return type(response)(response.status_code, headers=headers, content=bytes(body), request=request)


class Endpoint:
    """A language model behind an OpenAI-compatible API.

    Rate limits, errors of the server, timeouts and broken connections are tried again by the client, which waits as
    long as `Retry-After` says, up to a limit, or longer each time.
    """

    def __init__(
        self, url: str, model: str, key: str | None = None, timeout_s: float = 120.0, retries: int = 4
    ) -> None:
        """`key` is None for a server that wants none.

        Raises:
            GenerationError: `url` is not one of an API, or `key` cannot be one.
        """
        _check_url(url)
        if key is not None and not re.fullmatch(r"[!-~]+", key):
            raise GenerationError("the API key holds blanks or characters that no key has; set it anew")
        self.url = redact(url)
        self.model = model
        self._key = key
        self._timeout_s = timeout_s
        self._structured = True
        self._client = openai.OpenAI(
            base_url=url,
            api_key=key or "none",  # the client wants one
            timeout=timeout_s,
            max_retries=retries,
            http_client=_Bounded(timeout_s),
        )

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, messages: Sequence[Message]) -> list[str]:
        """The items of the list that the model answers with, as they stand.

        Raises:
            GenerationError: the server gives no answer, or none of this API.
        """
        try:
            choice = self._choice(messages)
        except ValidationError:
            remedy = "check --base-url, which often ends in /v1"
            raise GenerationError(f"{self.url}: does not answer as an OpenAI-compatible API does; {remedy}") from None
        except openai.OpenAIError as error:
            raise GenerationError(f"{self.url}: {self._explained(error)}") from None
        text = choice.message.content or ""
        if not text.lstrip().startswith("{"):
            self._structured = False  # the server takes no notice of the structure that was asked for
        return parse_list(text, complete=choice.finish_reason != "length")

    def gives_away(self, text: str) -> bool:
        """Whether the key stands in `text`."""
        return self._key is not None and len(self._key) >= _SHORTEST_SECRET and self._key in text

    def _choice(self, messages: Sequence[Message]) -> _Choice:
        body: dict[str, Any] = {"model": self.model, "messages": list(messages)}
        create = self._client.chat.completions.with_raw_response.create
        if self._structured:
            try:
                return _Completion.model_validate_json(create(**body, response_format=_STRUCTURE).content).choices[0]
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                self._structured = False  # where it was not the structure that was refused, the same comes again
        return _Completion.model_validate_json(create(**body).content).choices[0]

    def _explained(self, error: openai.OpenAIError) -> str:
        """What went wrong and what to do, without the key."""
        if isinstance(error.__cause__, openai.OpenAIError):
            error = error.__cause__  # before version 3 the client wraps what its HTTP client raises
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            # The server's own words are left out: they may hold a part of the key.
            what = "wants an API key" if self._key is None else "refuses the API key"
            return f"{what} ({error.status_code}); set OPENAI_API_KEY, or the variable that --key-env names"
        if isinstance(error, openai.APITimeoutError):
            return f"no answer within {self._timeout_s:g} s; try a longer --timeout"
        if isinstance(error, openai.APIConnectionError):
            return (
                f"no connection ({self._shown(error.__cause__ or error)}); check --base-url, and that the server runs"
            )
        if isinstance(error, openai.NotFoundError):
            return f"not found ({self._shown(error)}); check --model, and --base-url, which often ends in /v1"
        if isinstance(error, openai.RateLimitError):
            return f"too many requests, or no quota left ({self._shown(error)}); try again later"
        return f"{self._shown(error)}; see the server's log, or try another --model"

    def _shown(self, error: BaseException) -> str:
        text = str(error)
        if isinstance(error, openai.APIStatusError):
            message = error.body.get("message") if isinstance(error.body, dict) else None
            text = f"{error.status_code}: {message or error}"
        text = redact(text.replace(self._key, "***") if self._key else text)
        return " ".join("".join(character if character.isprintable() else " " for character in text).split())[
            :_LONGEST_SAID
        ]


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url:
        raise GenerationError(f"--base-url {redact(url)!r} is none; give one such as http://localhost:11434/v1")
    if "@" in parts.netloc:
        raise GenerationError(f"--base-url {redact(url)}: leave credentials out; the key comes from the environment")


class _Interview:
    """The questions to a model, and what is kept of its answers."""

    def __init__(self, endpoint: Endpoint, rounds: int, heard: Heard, answers: Answers) -> None:
        self._answers = answers
        self._endpoint = endpoint
        self._rounds = rounds
        self._heard = heard

    def gather(
        self, what: str, question: str, make: Callable[[str], tuple[str, T] | None], least: int, most: int
    ) -> dict[str, T]:
        """What `make` makes of the items of the answers, each key once; those of an earlier run are not asked for.

        Raises:
            GenerationError: fewer than `least` came.
        """
        kept: dict[str, T] = self._answers.of(what)
        if len(kept) >= least:
            self._heard(what, least, least)
            return dict(list(kept.items())[:most])
        earlier = len(kept)
        messages = [{"role": "user", "content": question}]
        came = refused = 0
        for _ in range(self._rounds):
            if (query := messages[-1]["content"]) not in self._answers.asked:
                self._answers.asked.append(query)
            fresh: list[str] = []
            for item in self._endpoint.ask(messages)[:_MOST_ITEMS]:
                came += 1
                made = make(item)
                if made is None or self._endpoint.gives_away(str(made)):
                    refused += 1
                elif made[0] not in kept:
                    kept[made[0]] = made[1]
                    fresh.append(f"- {' '.join(item.split())}")
            self._answers.keep(what, kept)
            self._heard(what, min(len(kept), least), least)
            if len(kept) >= least:
                return dict(list(kept.items())[:most])
            if fresh:
                messages.append({"role": "assistant", "content": "\n".join(fresh)})
                messages.append({"role": "user", "content": more_query(least - len(kept) + _SPARE)})
        raise GenerationError(
            f"{what}: {len(kept)} of {least} came in {self._rounds} answers; of their {came} items {refused} are "
            f"unusable, {came - refused - len(kept) + earlier} repeated; try again, or another --model, or "
            "fewer --sentences"
        )


def generate(endpoint: Endpoint, wish: Wish, answers: Answers, heard: Heard = lambda *_: None) -> PromptPack:
    """Asks until there is enough for a pack, and keeps each answer in `answers`, which go when the pack is written.

    Raises:
        GenerationError: the server fails, or too little of what it answers can be used.
    """
    noun, count = wish.noun, wish.sentences
    interview = _Interview(endpoint, wish.rounds, heard, answers)

    def sentences(label: Label) -> tuple[str, ...]:
        def make(item: str) -> tuple[str, str] | None:
            made = as_sentence(item, label, noun, mass=wish.plural == noun)
            return (same_words(made), made) if made else None

        query = sentence_query(label, noun, count + _SPARE)
        return tuple(interview.gather(f"{label} sentences", query, make, count, count).values())

    def phrase(item: str) -> tuple[str, str] | None:
        made = as_phrase(item)
        return (same_words(made), made) if made else None

    try:
        normal, abnormal = sentences("normal"), sentences("abnormal")
        descriptors = tuple(interview.gather("descriptors", descriptor_query(noun), phrase, *_DESCRIPTORS).values())
        defects = interview.gather("kinds of defect", defect_query(noun, _DEFECTS[1]), as_defect, *_DEFECTS)
    except GenerationError as error:
        raise GenerationError(f"{error}. {answers}") from None
    content = {
        "schema": 1,
        "class": noun,
        "plural": wish.plural,
        "version": _next_version(wish.name),
        "normal": normal,
        "abnormal": abnormal,
        "descriptors": descriptors,
        "provenance": {
            "generator": f"large language model {endpoint.model}",
            "queries": answers.asked,
            "date": utc_now().strftime("%Y-%m-%d"),
            "licence": wish.licence,
        },
        "template": _template(noun, normal, descriptors),
        "defects": defects,
    }
    try:
        return make_pack(content, "the answers make no pack")
    except PackError as error:
        raise GenerationError(f"{error}. Remove {answers.path}, and try again, or another --model") from None


def _next_version(name: str) -> str:
    if name not in list_packs():
        return "0.1.0"
    major, minor, patch = load_pack(name).version.split(".")
    return f"{major}.{minor}.{int(patch) + 1}"


def _template(noun: str, normal: Sequence[str], descriptors: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The words that all classes share, with details of this one where an answer has some that are short."""
    common = load_pack("generic").template
    start = f"{BEGINNINGS['normal']}{with_article(noun)} with "
    tails = [sentence.removeprefix(start).rstrip(".") for sentence in normal if sentence.startswith(start)]

    def details(ours: Sequence[str], others: tuple[str, ...]) -> tuple[str, ...]:
        short = [tail for tail in ours if len(tail) <= _LONGEST_DETAIL and "," not in tail]
        return ("", *short[:1]) if short else others

    return common.model_dump() | {
        "normal_details": details(sorted(tails, key=len), common.normal_details),
        "abnormal_details": details(descriptors, common.abnormal_details),
    }
