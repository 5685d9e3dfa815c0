"""Triggers and commands as controllers, gateways and people send them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge.incoming import MessageError, read_command, read_trigger
from edge.messages import CommandMessage, TriggerMessage, json_schemas

TRIGGER = b'{"part_id": "A-17"}'
COMMAND = b'{"id": "7", "command": "pause"}'

AROUND = {
    "as it is": b"%s",
    "a trailing NUL": b"%s\0",
    "padded with NULs": b"%s" + b"\0" * 45,
    "BOM": b"\xef\xbb\xbf%s",
    "BOM and NUL": b"\xef\xbb\xbf%s\0",
    "CRLF": b"%s\r\n",
    "whitespace": b" \t\r\n%s \n",
    "CRLF, then NULs": b"%s\r\n\0\0\0",
    "NULs before it": b"\0\0%s",
    "STX and ETX": b"\x02%s\x03",
    "Ctrl-Z": b"%s\x1a",
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())
def test_what_stands_around_a_message_is_passed_over(around: bytes) -> None:
    assert read_trigger(around % TRIGGER) == TriggerMessage(part_id="A-17")
    assert read_command(around % COMMAND) == CommandMessage(id="7", command="pause")


@pytest.mark.parametrize(
    ("payload", "part_id"),
    [
        (b'{"part_id": 17}', "17"),
        (b'{"part_id": 17.0}', "17"),
        (b'{"part_id": 0}', "0"),
        (b'{"part_id": -3}', "-3"),
        (b'{"part_id": 12345678901234567890}', "12345678901234567890"),
        (b'{"part_id": "17.0"}', "17.0"),
        (b'{"part_id": "A-17\\u0000\\u0000"}', "A-17"),  # an S7 string through a gateway that knows JSON
        (b'{"part_id": "A-17\0\0\0"}', "A-17"),  # and through one that does not
        (b'{"part_id": "A\\u0000-\\u000017"}', "A-17"),
        ('{"part_id": "Teil-Ä 中"}'.encode(), "Teil-Ä 中"),
        (b'{"part_id": "\\ud83d\\ude00"}', "\N{GRINNING FACE}"),
        (b'{"part_id": "A\t17"}', "A\t17"),
        (b'{"part_id": "A-17", "batch": {"shift": [1, 2]}}', "A-17"),
    ],
)
def test_part_ids(payload: bytes, part_id: str) -> None:
    message = read_trigger(payload)
    assert message.part_id == part_id
    assert TriggerMessage.model_validate_json(message.to_json()) == message


@pytest.mark.parametrize("number", [b"5000", b"5000.0", b"5e3", b'"5000"'])
def test_a_whole_deadline(number: bytes) -> None:
    assert read_trigger(b'{"part_id": "A", "deadline_ms": %s}' % number).deadline_ms == 5000


@pytest.mark.parametrize("stamp", ['"2026-01-31T06:00:00Z"', '"2026-01-31T08:00:00.000+02:00"', "1769839200"])
def test_a_stamp_is_in_utc(stamp: str) -> None:
    message = read_trigger(f'{{"part_id": "A", "at": {stamp}}}'.encode())
    assert message.at == datetime(2026, 1, 31, 6, tzinfo=timezone.utc)
    assert json.loads(message.to_json())["at"] == "2026-01-31T06:00:00.000Z"


@pytest.mark.parametrize(("given_id", "text"), [(b"7", "7"), (b"7.0", "7"), (b'"7\\u0000"', "7"), (b'"x"', "x")])
def test_ids_of_commands(given_id: bytes, text: str) -> None:
    assert read_command(b'{"id": %s, "command": "pause"}' % given_id).id == text


def test_arguments_lose_their_nuls() -> None:
    message = read_command(
        b'{"command": "recipe_set", "arguments": {"pack": "bottle\\u0000\\u0000", "deep": ["a\\u0000"]}}'
    )
    assert message.arguments == {"pack": "bottle", "deep": ["a"]}
    assert message.id == "-"


REFUSED = {
    "nothing": (b"", "it is empty"),
    "NULs": (b"\0" * 64, "it is empty"),
    "plain text": (b"A-17", "it is no JSON"),
    "cut short": (b'{"part_id": "A-', "it is no JSON"),
    "a list": (b"[]", "no JSON object"),
    "text": (b'"A-17"', "no JSON object"),
    "no part": (b"{}", "part_id is missing"),
    "true": (b'{"part_id": true}', "part_id is no text or whole number"),
    "a fraction": (b'{"part_id": 7.5}', "part_id is no text or whole number"),
    "a number that has lost digits": (b'{"part_id": 1e22}', "part_id is no text or whole number"),
    "null": (b'{"part_id": null}', "part_id is no text or whole number"),
    "empty": (b'{"part_id": ""}', "part_id: text should have at least 1 character"),
    "only NULs": (b'{"part_id": "\\u0000"}', "part_id: text should have at least 1 character"),
    "long": (b'{"part_id": "%s"}' % (b"x" * 201), "at most 200 characters"),
    "a long number": (b'{"part_id": %s}' % (b"9" * 300), "at most 200 characters"),
    "a huge number": (b'{"part_id": %s}' % (b"9" * 5000), "too many digits"),
    "half a surrogate pair": (b'{"part_id": "\\ud800"}', "half a surrogate pair"),
    "twice": (b'{"part_id": "A", "part_id": "B"}', "'part_id' stands in it twice"),
    "NaN": (b'{"part_id": "A", "deadline_ms": NaN}', "NaN is no number"),
    "infinite": (b'{"part_id": "A", "deadline_ms": 1e400}', "deadline_ms"),
    "part of a millisecond": (b'{"part_id": "A", "deadline_ms": 5000.5}', "deadline_ms"),
    "no time": (b'{"part_id": "A", "deadline_ms": 0}', "deadline_ms: should be greater than or equal to 10"),
    "no moment": (b'{"part_id": "A", "at": "yesterday"}', "at is no time with its zone"),
    "no zone": (b'{"part_id": "A", "at": "2026-01-31T06:00:00"}', "at is no time with its zone"),
    "before the year 1": (b'{"part_id": "A", "at": "0001-01-01T00:00:00+14:00"}', "at: lies outside the years"),
    "deep": (b'{"part_id": "A", "x": %s%s}' % (b"[" * 100, b"]" * 100), "nested more than 32 deep"),
    "very deep": (b"[" * 100_000, "nested more than 32 deep"),
    "Latin-1": ('{"part_id": "Ä"}'.encode("latin-1"), "it is not UTF-8: byte 0xc4 at 13"),
    "UTF-16 with a BOM": ('{"part_id": "A"}'.encode("utf-16"), "it is UTF-16, not UTF-8"),
    "UTF-16, little endian": ('{"part_id": "中"}'.encode("utf-16-le"), "it is UTF-16, not UTF-8"),
    "UTF-16, big endian": ('{"part_id": "A"}'.encode("utf-16-be"), "it is UTF-16, not UTF-8"),
    "UTF-32": ('{"part_id": "A"}'.encode("utf-32"), "it is UTF-32, not UTF-8"),
}


@pytest.mark.parametrize(("payload", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_trigger_is_refused_in_words(payload: bytes, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        read_trigger(payload)
    assert (caught.value.code, caught.value.id) == ("bad_trigger", "-")
    assert reason in caught.value.message
    example = '{"part_id": "A-17", "at": "2026-01-31T06:00:00.123Z"}' if b'"at"' in payload else '{"part_id": "A-17"}'
    assert caught.value.message.endswith(f"send UTF-8 JSON such as {example}")


@pytest.mark.parametrize(
    ("payload", "identity", "reason"),
    [
        (b"pause", "-", "it is no JSON"),
        (b'{"id": "7"}', "7", "command is missing"),
        (b'{"id": 7}\0', "7", "command is missing"),
        (b'{"id": "7", "command": 5}', "7", "command is no text"),
        (b'{"id": "7", "command": ""}', "7", "command: text should have at least 1 character"),
        (b'{"id": "7", "command": "pause", "line": "a"}', "7", "'line' is no field of it"),
        (b'{"id": "7", "command": "pause", "command": "resume"}', "7", "'command' stands in it twice"),
        (b'{"id": "7", "command": "pause", "arguments": [1]}', "7", "arguments is no JSON object"),
        (b'{"id": "7", "command": "pause", "arguments": {"a": "\\udfff"}}', "7", "half a surrogate pair"),
        (b'{"id": "7", "command": "pause", "arguments": %s1%s}' % (b'{"a":' * 90, b"}" * 90), "7", "nested"),
        (b'{"id": {}, "command": "pause"}', "-", "id is no text or whole number"),
        (b'{"id": "%s", "command": "pause"}' % (b"x" * 65), "-", "id: text should have at most 64 characters"),
        (b'{"id": "\\ud800", "command": "pause"}', "-", "half a surrogate pair"),
    ],
)
def test_a_refused_command_carries_the_callers_id(payload: bytes, identity: str, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        read_command(payload)
    assert (caught.value.code, caught.value.id) == ("bad_command", identity)
    assert reason in caught.value.message
    assert '{"id": "1", "command": "pause"}' in caught.value.message


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.sampled_from('a7"Ä中\0\t\ud800\udfff\ufeff'), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["part_id", "deadline_ms", "at", "id", "command", "arguments", "other"])
MESSAGES = st.dictionaries(FIELDS, JSON, max_size=5).map(lambda fields: json.dumps(fields).encode())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=200) | MESSAGES)
def test_whatever_comes_is_read_or_refused(payload: bytes) -> None:
    for read in (read_trigger, read_command):
        try:
            said = read(payload).to_json()
        except MessageError as error:
            said = f"{error.id} {error.message}".encode()
        assert said


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(MESSAGES)
def test_what_is_read_is_what_the_schema_says(payload: bytes) -> None:
    document: Any = json.loads(payload)
    for name, read in (("trigger", read_trigger), ("command", read_command)):
        try:
            message = read(payload)
        except MessageError:
            continue
        validator = Draft202012Validator(json_schemas()[name])
        validator.validate(json.loads(message.to_json()))
        if name == "command":
            assert set(document) <= {"id", "command", "arguments"}
