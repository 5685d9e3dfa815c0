"""What comes in for a line over MQTT: triggers, and the commands that machines may give."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.clock import utc_now
from edge.control.commands import COMMANDS
from edge.control.dispatcher import Dispatcher
from edge.control.protocol import Refusal, Reply, Request
from edge.inspection.line import Line

log = logging.getLogger(__name__)

_WAITING = 8  # commands of a line that may wait to be done


class TriggerMessage(BaseModel):
    """The message of `line/<line>/trigger`; fields that are not known are passed over."""

    model_config = ConfigDict(frozen=True)

    part_id: str = Field(min_length=1, max_length=200)
    deadline_ms: int | None = Field(default=None, ge=10, le=600_000)
    at: AwareDatetime | None = None
    """When the part was there; a part older than its deadline is answered, not judged."""


class CommandMessage(BaseModel):
    """The message of `line/<line>/command`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(default="-", min_length=1, max_length=64)
    command: str = Field(min_length=1, max_length=64)
    arguments: dict[str, Any] = {}


class LineInbox:
    """Passes triggers to the line and commands to the dispatcher, and answers on the line's reply topic."""

    def __init__(self, line: Line, deadline_ms: int, dispatcher: Dispatcher, reply: Callable[[bytes], object]) -> None:
        self._line = line
        self._deadline_ms = deadline_ms
        self._dispatcher = dispatcher
        self._reply = reply
        self._worker = ThreadPoolExecutor(1, f"commands-{line.line}")
        self._waiting = 0

    def trigger(self, payload: bytes, *, again: bool, stale: bool) -> Future[Any] | None:
        """Asks the line for an answer; the future is done when the trigger is on disk.

        Raises:
            ValueError: the message is no trigger; it names no part to answer, so the reply topic says so.
        """
        try:
            message = TriggerMessage.model_validate_json(payload)
        except (ValidationError, RecursionError) as error:
            self._refuse("-", "bad_trigger", f"no trigger: {_first(error)}")
            raise ValueError("bad_trigger") from None
        deadline_ms = message.deadline_ms or self._deadline_ms
        old = message.at is not None and utc_now() - message.at > timedelta(milliseconds=deadline_ms)
        ticket = self._line.trigger(message.part_id, message.deadline_ms, again=again, stale=stale or old)
        return ticket.accepted if ticket is not None else None

    def command(self, payload: bytes, *, stale: bool) -> None:
        """Has a command done, one after the other, and answers it.

        Raises:
            ValueError: the message is no command, or none for machines; the reply topic says so.
        """
        try:
            message = CommandMessage.model_validate_json(payload)
        except (ValidationError, RecursionError) as error:
            self._refuse("-", "bad_request", f"no command: {_first(error)}")
            raise ValueError("bad_command") from None
        command = COMMANDS.get(message.command)
        if command is None or not command.machines:
            known = ", ".join(name for name, one in COMMANDS.items() if one.machines)
            self._refuse(message.id, "unknown_command", f"no command {message.command!r} for machines; known: {known}")
            raise ValueError("bad_command")
        if stale:
            self._refuse(message.id, "late", "the command waited at the broker while the service was away")
            return
        if self._waiting >= _WAITING:
            self._refuse(message.id, "busy", f"{_WAITING} commands wait already")
            return
        arguments = dict(message.arguments)
        if "line" in command.arguments.model_fields:
            arguments["line"] = self._line.line
        self._waiting += 1
        self._worker.submit(self._do, Request(id=message.id, command=message.command, arguments=arguments, who="mqtt"))

    def close(self) -> None:
        """Does no more commands."""
        self._worker.shutdown(cancel_futures=True)

    def _do(self, request: Request) -> None:
        try:
            reply, _ = self._dispatcher.answer(request, ())
        except Exception as error:  # who asked is told; the line goes on
            log.exception("line %s: command %s", self._line.line, request.command)
            reply = Reply(id=request.id, refusal=Refusal(code="failed", message=f"{type(error).__name__}: {error}"))
        finally:
            self._waiting -= 1
        self._reply(reply.to_parts()[0])

    def _refuse(self, identity: str, code: str, message: str) -> None:
        self._reply(Reply(id=identity, refusal=Refusal(code=code, message=message)).to_parts()[0])


def _first(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
