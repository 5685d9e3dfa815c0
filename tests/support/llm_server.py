"""A language model on loopback that speaks OpenAI's chat completions, well, or badly by a script."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

_PARTS = ("ring", "cage", "seal", "rim", "bore", "race", "ball", "groove", "face", "edge", "rivet", "shoulder")
_MARKS = ("scratch", "crack", "stain", "dent", "burr", "pit", "chip", "smear")
_SMOOTH = ("an even shine", "a clean outline", "a round shape", "a grey tone")
_SIDES = ("left", "right", "upper", "lower")


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        text: What the model says; ignored where there is a body.
        status: HTTP status.
        headers: Further headers.
        body: The whole body, in place of one made from the text.
        cut: Bytes of the body after which the connection is closed; None sends all.
        finish: Why the model stopped.
        stall: Whether nothing is answered until the server ends.
        endless: Whether blanks are sent before the body until somebody hangs up.
    """

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut: int | None = None
    finish: str = "stop"
    stall: bool = False
    endless: bool = False


Model = Callable[[str, int], list[str]]


def good_model(question: str, start: int) -> list[str]:
    """A list that fits the first question of a conversation; `start` is the number of items given before."""
    if "abnormal" in question:
        begin, words = "An abnormal image of a bearing with", [f"a {one}" for one in _MARKS]
    elif "normal" in question:
        begin, words = "A normal image of a bearing with", list(_SMOOTH)
    elif "Which kinds of defect" in question:
        return [f"{one}: a {one} on the ring; a {one} beside the cage" for one in _MARKS]
    else:
        return [f"A {mark} on the {part}." for mark, part in zip(_MARKS, _PARTS, strict=False)]
    places = [f"{word} on the {side} {part}." for side in _SIDES for part in _PARTS for word in words]
    return [f"{begin} {place}" for place in places[start * 7 :: 7][:30]]


class LlmServer:
    """Answers by the script, and when that is through, with what the model lists.

    Attributes:
        script: The answers to the next requests.
        model: What lists items.
        structured: Whether `response_format` is taken; it is refused with 400 otherwise.
        requests: The bodies that came, decoded.
        keys: The `Authorization` header of each request.
        times: When each request came, monotonic seconds.
        stalled: Set when an answer stalls.
    """

    def __init__(self, *script: Answer, model: Model = good_model, structured: bool = True) -> None:
        self.script = list(script)
        self.model = model
        self.structured = structured
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.times: list[float] = []
        self.stalled = threading.Event()
        self._end = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> LlmServer:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: dict[str, Any]) -> Answer:
        if self.script:
            return self.script.pop(0)
        structured = "response_format" in request
        if structured and not self.structured:
            return error(400, "response_format is not supported")
        messages = request["messages"]
        given = sum(len(one["content"].splitlines()) for one in messages if one["role"] == "assistant")
        items = self.model(messages[0]["content"], given)
        return Answer(json.dumps({"items": items}) if structured else "\n".join(f"- {one}" for one in items))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.times.append(time.monotonic())
                server.requests.append(request)
                server.keys.append(self.headers.get("Authorization", ""))
                if self.path != "/v1/chat/completions":
                    self._send(error(404, f"no {self.path}"))
                else:
                    self._send(server._answer(request))

            def _send(self, answer: Answer) -> None:
                if answer.stall:
                    server.stalled.set()
                    server._end.wait(60)
                    return
                body = answer.body
                if body is None:
                    message = {"role": "assistant", "content": answer.text}
                    choice = {"index": 0, "message": message, "finish_reason": answer.finish}
                    completion = {
                        "id": "1",
                        "object": "chat.completion",
                        "created": 0,
                        "model": "m",
                        "choices": [choice],
                    }
                    body = json.dumps(completion).encode()
                self.send_response(answer.status)
                for key, value in ({"Content-Type": "application/json"} | answer.headers).items():
                    self.send_header(key, value)
                if not answer.endless:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    while answer.endless and not server._end.wait(0.01):
                        self.wfile.write(b" " * 1000)
                    self.wfile.write(body[: answer.cut])
                except OSError:  # the client has hung up
                    return

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def error(status: int, message: str, **headers: str) -> Answer:
    """An error as OpenAI's API words it; `_` in a header's name stands for `-`."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": None}}).encode()
    return Answer(status=status, headers={key.replace("_", "-"): one for key, one in headers.items()}, body=body)
