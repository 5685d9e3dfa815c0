"""What a client sends is looked at on its way, however it is cut: sizes, subscriptions, and who it is."""

from __future__ import annotations

import pytest

from edge.control.zmtp import Introduction, MessageMeter, ProtocolError, SubscriptionMeter, identity_of, uid_of
from tests.support.zmtp import GREETING, READY, command, frame, in_pieces, properties

SUBSCRIBE, CANCEL = b"\x09SUBSCRIBE", b"\x06CANCEL"


def read(stream: bytes, pieces: int = 1, most_bytes: int = 1000, most_parts: int = 3) -> None:
    """The stream through a meter."""
    meter = MessageMeter(most_bytes, most_parts)
    for piece in in_pieces(stream, pieces):
        meter.read(piece)


@pytest.mark.parametrize("pieces", [1, 7, 400])
def test_messages_within_the_limits_pass_however_they_are_cut(pieces: int) -> None:
    read(GREETING + READY + (frame(300, True) + frame(0, True) + frame(700)) * 5, pieces)


@pytest.mark.parametrize("pieces", [1, 7, 400])
@pytest.mark.parametrize(
    "message",
    [
        frame(1001),
        frame(500, True) + frame(501),
        frame(1, True) * 4,
        frame(0, True) * 4,
        b"\x02" + (1 << 62).to_bytes(8, "big"),  # not one byte of it has come
        b"\x06" + (1 << 40).to_bytes(8, "big"),
    ],
    ids=["one part", "two parts", "many parts", "many empty parts", "announced", "a command of ZMTP"],
)
def test_a_message_that_is_too_large_is_noticed_as_it_comes(message: bytes, pieces: int) -> None:
    with pytest.raises(ProtocolError):
        read(GREETING + READY + frame(1000) + message, pieces)


@pytest.mark.parametrize(
    "stream", [b"GET / HTTP/1.1\r\n" + bytes(64), bytes(64), b"\xff" + bytes(8) + b"\x7f\x01" + bytes(64)]
)
def test_another_protocol_is_noticed(stream: bytes) -> None:
    with pytest.raises(ProtocolError, match="no ZMTP 3"):
        read(stream)


def subscribed(stream: bytes, pieces: int = 1) -> set[bytes]:
    """The topics that a client has after a stream."""
    meter = SubscriptionMeter()
    for piece in in_pieces(GREETING + READY + stream, pieces):
        meter.read(piece)
    assert meter.complete == bool(stream)
    return meter.topics


def message(body: bytes, flags: int = 0) -> bytes:
    return bytes([flags, len(body)]) + body


@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_subscriptions_are_counted_as_either_version_sends_them(pieces: int) -> None:
    commands = command(SUBSCRIBE + b"line/one/") + command(SUBSCRIBE + b"line/two/") + command(CANCEL + b"line/one/")
    assert subscribed(commands, pieces) == {b"line/two/"}
    messages = message(b"\1line/one/") + message(b"\1line/two/") + message(b"\0line/one/") + message(b"\1line/two/")
    assert subscribed(messages + command(b"\x04PING" + bytes(2)), pieces) == {b"line/two/"}
    assert subscribed(b"") == set()
    assert subscribed(message(b"\1")) == {b""}


def test_topics_may_change_for_ever() -> None:
    changes = (message(b"\1line/%d/" % number) + message(b"\0line/%d/" % number) for number in range(2000))
    assert subscribed(b"".join(changes)) == set()


@pytest.mark.parametrize(
    "stream",
    [
        b"".join(command(SUBSCRIBE + b"line/%d/" % number) for number in range(257)),
        b"".join(message(b"\1line/%d/" % number) for number in range(257)),
        command(SUBSCRIBE + bytes(129)),
        command(SUBSCRIBE + bytes(300)),
        frame(200),
        message(b"\2hello"),
        message(b""),
        message(b"\1line/one/", flags=1),
        b"\x02" + (1 << 62).to_bytes(8, "big"),
    ],
    ids=["many", "many, of before", "long", "longer", "long, of before", "no topic", "empty", "two parts", "announced"],
)
@pytest.mark.parametrize("pieces", [1, 9])
def test_whoever_sends_something_else_or_too_much_is_noticed(stream: bytes, pieces: int) -> None:
    with pytest.raises(ProtocolError):
        subscribed(stream, pieces)


def introduced(stream: bytes, pieces: int) -> bytes:
    introduction = Introduction(b"uid-7-1")
    return b"".join(introduction.pass_on(piece) for piece in in_pieces(stream, pieces))


@pytest.mark.parametrize("pieces", [1, 2, 9, 300])
@pytest.mark.parametrize("own", [b"", b"uid-0-1", b"x" * 255], ids=["none", "that of root", "long"])
def test_a_client_has_the_identity_of_its_user_whatever_it_says(own: bytes, pieces: int) -> None:
    rest = frame(300, True) + frame(2)
    said = b"\x05READY" + properties(Socket_Type=b"DEALER", IDENTITY=own, Other=b"x" * 20)
    found = introduced(GREETING + command(said) + rest, pieces)
    made = b"\x05READY" + properties(Identity=b"uid-7-1", Socket_Type=b"DEALER", Other=b"x" * 20)
    assert found == GREETING + b"\x06" + len(made).to_bytes(8, "big") + made + rest


def test_the_greeting_does_not_wait_for_ready() -> None:
    introduction = Introduction(b"uid-7-1")
    assert introduction.pass_on(GREETING[:10]) == GREETING[:10]
    assert introduction.pass_on(GREETING[10:] + b"\x04") == GREETING[10:]
    assert introduction.pass_on(b"") == b""


@pytest.mark.parametrize(
    "first",
    [
        frame(3),
        command(b"\x04PING"),
        command(b"\x05READY\x08Identity\x00\x00\x00\x09short"),
        command(b"\x05READY\xff"),
        command(b"\x05READY\x01a\xff\xff\xff\xff"),
        command(b""),
    ],
    ids=["a message", "another command", "a value cut short", "a name cut short", "a huge value", "nothing"],
)
def test_whoever_does_not_introduce_itself_is_not_passed_on(first: bytes) -> None:
    with pytest.raises(ProtocolError):
        introduced(GREETING + first, 1)


@pytest.mark.parametrize(("uid", "number"), [(0, 1), (1000, 2**40), (2**32 - 2, 7)])
def test_an_identity_tells_the_user(uid: int, number: int) -> None:
    assert uid_of(identity_of(uid, number)) == uid
    assert len(identity_of(uid, number)) < 255


@pytest.mark.parametrize("identity", [b"", b"\x00abcd", b"uid-", b"uid-x-1", b"uid--1-2", b"someone"])
def test_another_identity_tells_none(identity: bytes) -> None:
    assert uid_of(identity) is None
