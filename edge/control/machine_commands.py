"""The commands that machines give over MQTT: one after the other for each line, answered on its reply topic."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from edge.clock import monotonic
from edge.control.commands import COMMANDS
from edge.control.dispatcher import Dispatcher
from edge.control.protocol import Refusal, Reply, Request
from edge.incoming import MessageError, read_command
from edge.mqtt.inbound import InboundMessage
from edge.ops.logs import line_log

_WAITING = 8  # commands of a line that may wait to be done
_AT_ONCE = 4  # commands of all lines that are done side by side
_LATE_S = 10.0  # a command that is older is not done: whoever gave it does not expect it any more
_AT_ONCE_COMMANDS = ("status", "pause", "resume", "recipe_list")  # never wait behind a long one


class Voice(Protocol):
    """A line's publisher, as far as replies go."""

    def publish_reply(self, payload: bytes) -> None:
        """Answers on the line's reply topic."""


class MachineCommands:
    """Passes commands to the dispatcher, in threads of its own. Any thread may call it."""

    def __init__(self, dispatcher: Dispatcher, voices: Mapping[str, Voice]) -> None:
        """`voices`: the publishers, by line."""
        self._dispatcher = dispatcher
        self._voices = voices
        self._workers = ThreadPoolExecutor(_AT_ONCE, "commands")
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Request]] = {line: deque() for line in voices}
        self._busy: set[str] = set()

    def receive(self, message: InboundMessage) -> None:
        """Takes a command, and acknowledges it: machines repeat one that is not answered.

        Raises:
            MessageError: it is none, or none for machines.
        """
        command_message = read_command(message.payload)
        line, identity, name = message.line, command_message.id, command_message.command
        command = COMMANDS.get(name)
        if command is None or not command.machines:
            known = ", ".join(known for known, one in COMMANDS.items() if one.machines)
            raise MessageError("unknown_command", f"no command {name!r} for machines; known: {known}", identity)
        message.acknowledge()
        if message.waited_s + monotonic() - message.received > _LATE_S:
            self._refuse(line, identity, "late", "the command waited at the broker while the service was away")
            return
        arguments = dict(command_message.arguments)
        if "line" in command.arguments.model_fields:
            arguments["line"] = line
        request = Request(id=identity, command=name, arguments=arguments, who="mqtt")
        if name in _AT_ONCE_COMMANDS:
            self._workers.submit(self._do, line, request)
            return
        with self._lock:
            waiting = self._waiting[line]
            full = len(waiting) >= _WAITING
            if not full:
                waiting.append(request)
            begins = not full and line not in self._busy
            if begins:
                self._busy.add(line)
        if full:
            self._refuse(line, identity, "busy", f"{_WAITING} commands wait already")
        elif begins:
            self._workers.submit(self._do_all, line)

    def close(self) -> None:
        """Does no more commands, and waits for those in work."""
        with self._lock:
            for waiting in self._waiting.values():
                waiting.clear()
        self._workers.shutdown(cancel_futures=True)

    def _do_all(self, line: str) -> None:
        """The commands of a line that wait, one after the other."""
        while True:
            with self._lock:
                if not self._waiting[line]:
                    self._busy.discard(line)
                    return
                request = self._waiting[line].popleft()
            self._do(line, request)

    def _do(self, line: str, request: Request) -> None:
        try:
            reply, _ = self._dispatcher.answer(request, ())
        except Exception as error:  # who asked is told
            line_log(__name__, line).exception("command %s", request.command)
            reply = Reply(id=request.id, refusal=Refusal(code="failed", message=f"{type(error).__name__}: {error}"))
        self._voices[line].publish_reply(reply.to_parts()[0])

    def _refuse(self, line: str, identity: str, code: str, message: str) -> None:
        reply = Reply(id=identity, refusal=Refusal(code=code, message=message))
        self._voices[line].publish_reply(reply.to_parts()[0])
