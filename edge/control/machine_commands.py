"""The commands that machines give over MQTT: one after the other for each line, answered on its reply topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge.clock import monotonic
from edge.control.command_queue import CommandQueue
from edge.control.commands import COMMANDS
from edge.control.protocol import MachineRequest, Reply
from edge.incoming import MessageError, read_command
from edge.messages import Fault, ReplyMessage
from edge.mqtt.inbound import InboundMessage, Voice

LATE_S = 10.0
"""A command that is older is not done: whoever gave it does not expect it any more."""


class MachineCommands:
    """Passes commands to the queue. Any thread may call it; nothing waits."""

    def __init__(self, commands: CommandQueue, voices: Mapping[str, Voice]) -> None:
        """`voices`: the publishers, by line."""
        self._commands = commands
        self._voices = voices

    def receive(self, message: InboundMessage) -> None:
        """Takes a command, and acknowledges it: machines repeat one that is not answered.

        Raises:
            MessageError: it is none, or none for machines.
        """
        given = read_command(message.payload)
        command = COMMANDS.get(given.command)
        if command is None or not command.machines:
            known = ", ".join(name for name, command in COMMANDS.items() if command.machines)
            message_text = f"no command {given.command!r} for machines; known: {known}"
            raise MessageError("unknown_command", message_text, given.id)
        message.acknowledge()
        voice = self._voices[message.line]
        age_s = message.waited_s + monotonic() - message.received
        if age_s > LATE_S:
            fault = Fault(code="late", message="the command waited at the broker while the service was away")
            voice.publish_reply(ReplyMessage(id=given.id, refusal=fault).to_json())
            return
        arguments = dict(given.arguments)
        if "line" in command.arguments.model_fields:
            arguments["line"] = message.line

        def send(reply: Reply, _pictures: Sequence[bytes]) -> None:
            refusal = reply.refusal
            fault = None if refusal is None else Fault(code=refusal.code, message=refusal.message)
            result = None if fault is not None else reply.result or {}
            voice.publish_reply(ReplyMessage(id=reply.id, result=result, refusal=fault).to_json())

        request = MachineRequest(id=given.id, command=given.command, arguments=arguments, who="mqtt")
        self._commands.submit(request, (), send, sender=("mqtt", message.line))
