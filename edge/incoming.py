"""Reads triggers and commands as controllers, gateways and people send them, and says in words what is wrong.

Taken as they are meant: padding with NULs, whitespace or a BOM around the JSON, NULs inside it, whole numbers as names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from edge.messages import CommandId, CommandMessage, TriggerMessage, Wire

DEEPEST = 32
"""Levels that a message may be nested."""
NO_ID = "-"
"""Stands for the `id` of a command that has none, or none that can be read."""

_PADDING = "".join(map(chr, range(0x21))) + "\x7f\ufeff"
"""What controllers put around a message: whitespace, NULs, framing characters, a BOM."""
_EXAMPLES = {
    "trigger": '{"part_id": "A-17"}',
    "at": '{"part_id": "A-17", "at": "2026-01-31T06:00:00.123Z"}',
    "command": '{"id": "1", "command": "pause"}',
}
_KINDS = {"string_type": "text or whole number", "dict_type": "JSON object", "timezone_aware": "time with its zone"}
_ID: TypeAdapter[str] = TypeAdapter(CommandId)
_Message = TypeVar("_Message", bound=Wire)


class MessageError(ValueError):
    """A message that is refused.

    Attributes:
        code: `bad_trigger` or `bad_command`; stable, for machines.
        message: What is wrong, and what a right message looks like.
        id: The caller's `id`, for the reply; `-` where it has none, or none that can be read.
    """

    def __init__(self, code: str, message: str, id: str = NO_ID) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id


def read_trigger(payload: bytes) -> TriggerMessage:
    """The trigger in a message of `line/<line>/trigger`.

    Raises:
        MessageError: `bad_trigger`.
    """
    return _read(payload, "trigger", TriggerMessage)


def read_command(payload: bytes) -> CommandMessage:
    """The command in a message of `line/<line>/command`. Whether there is such a command is not looked at here.

    Raises:
        MessageError: `bad_command`.
    """
    return _read(payload, "command", CommandMessage)


def _read(payload: bytes, kind: str, model: type[_Message]) -> _Message:
    caller = NO_ID
    try:
        document, repeated = _parse(_decode(payload))
        if not isinstance(document, dict):
            raise ValueError("it is no JSON object")
        caller = _id_of(document)
        if repeated:
            raise ValueError(f"{repeated[0]!r:.80} stands in it twice")
        return model.model_validate(_cleaned(document))
    except ValidationError as error:
        reason = _in_words(error)
        example = _EXAMPLES["at" if reason.startswith(("at is", "at:")) else kind]
    except ValueError as error:
        reason, example = str(error), _EXAMPLES[kind]
    raise MessageError(f"bad_{kind}", f"no {kind}: {reason}; send UTF-8 JSON such as {example}", caller)


def _decode(payload: bytes) -> str:
    """The text without what stands around it; NULs inside, as of an S7 string's unused bytes, go too."""
    encoding = json.detect_encoding(payload)
    if not encoding.startswith("utf-8") and _looks_like_json(payload, encoding):
        raise ValueError(f"it is {encoding[:6].upper()}, not UTF-8")
    try:
        return payload.replace(b"\0", b"").decode("utf-8").strip(_PADDING)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}") from None


def _looks_like_json(payload: bytes, encoding: str) -> bool:
    try:
        return payload.decode(encoding).strip(_PADDING).startswith("{")
    except UnicodeDecodeError:
        return False


def _parse(text: str) -> tuple[Any, list[str]]:
    """The JSON in `text`, and the names that stand twice in one object.

    Raises:
        ValueError: it is no JSON, in words.
    """
    repeated: list[str] = []

    def to_dict(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                repeated.append(name)
            found[name] = value
        return found

    if not text:
        raise ValueError("it is empty")
    try:
        document = json.loads(
            text, strict=False, object_pairs_hook=to_dict, parse_int=_whole, parse_constant=_no_number
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} deep") from None
    return document, repeated


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python reads no more than 4300 digits
        raise ValueError("a number in it has too many digits") from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _id_of(document: dict[str, Any]) -> str:
    try:
        return _ID.validate_python(_cleaned(document.get("id")))
    except ValueError:
        return NO_ID


def _cleaned(value: Any, depth: int = 1) -> Any:
    """`value` without NULs in its texts.

    Raises:
        ValueError: it is nested too deeply, or holds text that UTF-8 cannot say.
    """
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("it holds half a surrogate pair, which is no character") from None
        return value.replace("\0", "")
    if isinstance(value, (dict, list)) and depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    return value


def _in_words(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    where, kind = ".".join(str(part) for part in first["loc"]), first["type"]
    if kind == "missing":
        return f"{where} is missing"
    if kind == "extra_forbidden":
        return f"{where[:80]!r} is no field of it"
    if kind.startswith("datetime"):
        return f"{where} is no {_KINDS['timezone_aware']}"
    if kind in _KINDS:
        return f"{where} is no {_KINDS[kind]}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("String", "text", 1)
    return f"{where}: {message[0].lower()}{message[1:]}"
