"""Numbers, moments and texts of any size: each command refuses what it does not take, and names the argument."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge.control.commands import COMMANDS
from edge.control.dispatcher import Dispatcher
from edge.control.protocol import MachineRequest, Reply, Request, read_request
from edge.incoming import MessageError, read_command, read_trigger
from tests.support.at_rest import at_rest

BIG = 10**400
NUMBERS = (0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, BIG, -BIG, 1e308, -1e308, 5e-324, 1e-400)
NO_NUMBERS = (float("nan"), float("inf"), float("-inf"))
MOMENTS = (
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "9999-12-31T23:59:59.999999Z",
    "10000-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-01-31T06:00",
    "2026-01-31T06:00:00+99:99",
    -62135596800,
    253402300800,
)
TEXTS = (
    "",
    "one",
    "two",
    "three",
    "\0",
    "a\0b",
    "x" * 65,
    "x" * 1_000_000,
    "../../etc",
    "\x1b[2J",
    "\ud800",
    "ö" * 4096,
)
PATHS = ("relative", "/\0", "/" + "x" * 300, "/" + "x/" * 3000, "/dev/null", "/proc/self/nothing", "/dev/null/x")
OTHERS = (None, True, False, [], {}, [[]], {"a": 1}, "false_alarm", "missed", ["a"] * 300, ["x" * 300])
EXTREME = st.sampled_from([*NUMBERS, *NO_NUMBERS, *MOMENTS, *TEXTS, *PATHS, *OTHERS])
ANY = st.one_of(
    EXTREME,
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.datetimes().map(lambda moment: moment.isoformat() + "+13:00"),
    st.recursive(st.none() | st.booleans(), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
)
REFUSALS = {"bad_arguments", "refused"}


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatcher]:
    with at_rest(tmp_path_factory.mktemp("state")) as one:
        yield one


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A command of the table with extreme arguments, most of them of the right name."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    fields = sorted(COMMANDS[name].arguments.model_fields)
    given_fields = draw(st.lists(st.sampled_from(fields), unique=True)) if fields else []
    arguments = {field: draw(ANY) for field in given_fields}
    if "line" in fields and draw(st.integers(0, 3)):
        arguments["line"] = "one"
    if draw(st.integers(0, 9)) == 0:
        arguments[draw(st.text(max_size=9))] = draw(ANY)
    return name, arguments


def check(dispatcher: Dispatcher, request: Request) -> Reply:
    reply, _ = dispatcher.answer(request, ())
    assert (reply.refusal is None) != (reply.result is None)
    assert dispatcher.limit_s(request) < 100_000
    if reply.refusal is not None:
        assert reply.refusal.code in REFUSALS, reply.refusal
        assert len(reply.refusal.message) < 5000
    reply.to_parts()
    return reply


@given(asked=requests(), machine=st.booleans())
@settings(
    max_examples=400,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_arguments_break_a_command(dispatcher: Dispatcher, asked: tuple[str, dict[str, Any]], machine: bool) -> None:
    name, arguments = asked
    kind = MachineRequest if machine else Request
    check(dispatcher, kind(id="1", command=name, arguments=arguments, who="eva"))


@pytest.mark.parametrize(
    "value", [*NUMBERS, *NO_NUMBERS, *MOMENTS, *TEXTS, *PATHS], ids=lambda value: ascii(value)[:40]
)
def test_each_extreme_in_each_argument_of_each_command(dispatcher: Dispatcher, value: object) -> None:
    for name, command in COMMANDS.items():
        for field in command.arguments.model_fields:
            arguments = {field: value} | (
                {"line": "one"} if field != "line" and "line" in command.arguments.model_fields else {}
            )
            if command.arguments.model_fields.keys() & {"shot"} and field != "shot":
                arguments["shot"] = 1
            check(dispatcher, Request(id="1", command=name, arguments=arguments, who="eva"))


@pytest.mark.parametrize(
    ("command", "arguments", "argument"),
    [
        ("threshold", {"line": "one", "threshold": float("nan")}, "threshold"),
        ("threshold", {"line": "one", "threshold": BIG}, "threshold"),
        ("calibrate", {"line": "one", "timeout_s": float("inf")}, "timeout_s"),
        ("calibrate", {"line": "one", "since": "0001-01-01T00:00:00+14:00"}, "since"),
        ("history", {"line": "one", "until": "9999-12-31T23:59:59-14:00"}, "until"),
        ("feedback", {"line": "one", "kind": "missed", "seq": 2**63}, "seq"),
        ("shots_show", {"shot": 2**63}, "shot"),
        ("shots_remove", {"shot": BIG}, "shot"),
        ("enroll", {"line": "one", "names": ["x" * 256]}, "names.0"),
        ("shots_export", {"line": "one", "folder": "/a\0b"}, "folder"),
        ("pause", {"line": "x" * 65}, "line"),
    ],
)
def test_the_argument_is_named(dispatcher: Dispatcher, command: str, arguments: dict[str, Any], argument: str) -> None:
    refusal = check(dispatcher, Request(id="1", command=command, arguments=arguments, who="eva")).refusal
    assert refusal is not None
    assert refusal.code == "bad_arguments"
    assert refusal.message.startswith(f"{command}: {argument}: "), refusal.message


def test_a_number_of_thousands_of_digits_is_refused_as_it_is_read() -> None:
    document = b'{"id": "7", "command": "threshold", "arguments": {"line": "one", "threshold": ' + b"9" * 5000 + b"}}"
    reply = read_request([document], 0)
    assert isinstance(reply, Reply) or isinstance(reply.arguments["threshold"], (int, float))
    with pytest.raises(MessageError, match="too many digits"):
        read_command(document)


@given(st.dictionaries(st.sampled_from(["part_id", "deadline_ms", "at", "recipe"]), ANY, max_size=4))
@settings(max_examples=300, deadline=None)
def test_no_trigger_breaks_its_reader(document: dict[str, Any]) -> None:
    with contextlib.suppress(MessageError):
        read_trigger(json.dumps(document).encode())


@pytest.mark.parametrize("name", ["/etc/shadow", "/nowhere/at-all.toml", "./pack.toml", "nothing-like-it", "pack.toml"])
def test_a_machine_does_not_learn_which_files_there_are(dispatcher: Dispatcher, tmp_path: Path, name: str) -> None:
    said = set()
    for pack in (name, str(tmp_path), str(tmp_path / "none"), "/dev/zero"):
        arguments = {"line": "one", "pack": pack}
        refusal = check(dispatcher, MachineRequest(id="1", command="recipe_set", arguments=arguments)).refusal
        assert refusal is not None
        said.add((refusal.code, refusal.message))
    [(code, message)] = said
    assert code == "refused"
    assert message.startswith("no pack of that name; machines name one of ")
    assert "/" not in message
