"""The asking end of the channel."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zmq

from edge.clock import monotonic
from edge.control.asker import own_name
from edge.control.protocol import NO_ID, Reply, Request, too_large_in_words

_LOOK_S = 60.0  # between two looks at the clock
_MEANWHILE_S = 1.0


class NoAnswerError(RuntimeError):
    """The service did not answer in time, or is not there."""


class RefusedError(RuntimeError):
    """The service refused; `code` is for machines, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def ask(
    path: Path,
    command: str,
    arguments: dict[str, Any],
    blobs: Sequence[bytes] = (),
    timeout_s: float = 30.0,
    meanwhile: Callable[[], None] | None = None,
    *,
    who: str | None = None,
) -> tuple[dict[str, Any], list[bytes]]:
    """The result of a command of the service whose socket is at `path`, and the pictures behind it.

    Args:
        path: Of the socket.
        command, arguments, blobs: What is asked, and what is sent along.
        timeout_s: How long it may take, seconds.
        meanwhile: Called about once a second while the answer is not there.
        who: For whom it is asked, at most 64 characters, where that is not the user of this process. The audit has it
            beside that.

    Raises:
        NoAnswerError: there is no service, or it took longer than `timeout_s`; it may still do what was asked.
        RefusedError: it refused, or the request is too large to be sent.
    """
    if not path.is_socket():
        raise NoAnswerError(f"no service listens at {path}; if it still starts or stops, ask again in a while")
    request = Request(id=uuid.uuid4().hex, command=command, arguments=arguments, who=who or own_name())
    if too_large := too_large_in_words(parts := request.to_parts(blobs)):
        raise RefusedError("too_large", f"{too_large}; send fewer at a time")
    end = monotonic() + timeout_s
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{path}")
        socket.send_multipart(parts)
        while (left := end - monotonic()) > 0:
            if not socket.poll(int(min(left, _LOOK_S if meanwhile is None else _MEANWHILE_S) * 1000) + 1):
                if meanwhile is not None:
                    meanwhile()
                continue
            head, *pictures = socket.recv_multipart()
            reply = Reply.model_validate_json(head)
            if reply.id not in (request.id, NO_ID):
                continue  # the answer to an earlier question of this client
            if reply.refusal is not None:
                raise RefusedError(reply.refusal.code, reply.refusal.message)
            return reply.result or {}, pictures
    raise NoAnswerError(
        f"the service at {path} has not answered {command} within {timeout_s:g} s, and may yet do it; "
        "`alfa-edge audit` says whether it did"
    )
