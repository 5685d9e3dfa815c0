"""The live part of all pages: one WebSocket a page, the newest of each line, and nothing kept for whoever is slow.

Text frames are JSON with a `kind`:

- `status`: `lines`, as the service's command `status` says, and `age_s`; once a second.
- `verdict`: `line`, and `verdict` as on the wire.
- `lost`, `back`: the service does not answer, or answers again. The first frame is `status` or `lost`.

Binary frames are pictures: the length of the head in 4 bytes, big-endian; the head, JSON; the length of the JPEG in
4 bytes; the JPEG; and the rest is the map, a PNG.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import struct
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
from fastapi import APIRouter, Depends
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge.control.feed_client import FeedClient
from edge.control.feed_messages import FeedError, FeedPicture, FeedVerdict
from edge.hmi.access import Gate, needs
from edge.hmi.person import Person
from edge.hmi.refusals import Refused
from edge.hmi.service_link import ServiceLink, Status
from edge.ops.worker import Worker

log = logging.getLogger(__name__)

MOST_VIEWERS = 200
"""Pages that may be live at a time."""
MOST_LINES = 64
"""Of one page."""
_MOST_TEXTS = 64  # of a page that does not take them; the oldest are lost
_SEND_S = 20.0  # for a page to take what it is sent; one that does not is let go
_READ_S = 0.2
_PAUSE_S = 1.0  # after a message that is not understood
_LINE = re.compile(r"[a-z0-9-]{1,64}")
_LENGTH = struct.Struct(">I")
_NOT_ALLOWED, _CROWDED = 1008, 1013  # of WebSockets

router = APIRouter()
T = TypeVar("T")


class Viewer:
    """What a page has not been sent yet. Used in the event loop only."""

    def __init__(self, lines: frozenset[str]) -> None:
        self.lines = lines
        self._texts: deque[str] = deque(maxlen=_MOST_TEXTS)
        self._state: str | None = None
        self._pictures: dict[str, bytes] = {}
        self._changed = asyncio.Event()

    def say(self, text: str) -> None:
        """One more text."""
        self._texts.append(text)
        self._changed.set()

    def tell_state(self, text: str) -> None:
        """The state of the service, in the place of one that was not sent yet."""
        self._state = text
        self._changed.set()

    def show(self, line: str, picture: bytes) -> None:
        """A picture of a line, in the place of one that was not sent yet."""
        self._pictures[line] = picture
        self._changed.set()

    async def next(self) -> list[str | bytes]:
        """What there is to send, once there is something."""
        await self._changed.wait()
        self._changed.clear()
        found: list[str | bytes] = [*self._texts, *self._pictures.values()]
        if self._state is not None:
            found.insert(0, self._state)
        self._texts.clear()
        self._pictures.clear()
        self._state = None
        return found


class Live:
    """All live pages. The feed is read in a thread of its own, and only of lines that somebody looks at."""

    def __init__(self, link: ServiceLink) -> None:
        """Reads nothing yet."""
        self._folder: Path = link.folder
        self._link = link
        self._viewers: set[Viewer] = set()
        self._wanted: frozenset[str] = frozenset()
        self._feed: FeedClient | None = None
        self._subscribed: set[str] = set()
        self._newest: dict[str, bytes] = {}  # of the lines that somebody looks at, for who comes later
        self._lost = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reading = Worker(link.workers, "live-feed", self._read)
        link.listen(self._heard)

    def start(self) -> None:
        """Begins, in the event loop that calls it."""
        self._loop = asyncio.get_running_loop()
        self._reading.start()

    def stop(self) -> None:
        """Ends."""
        self._reading.stop(2 * _READ_S)

    def add(self, lines: Iterable[str]) -> Viewer:
        """One more page, which is told the state at once.

        Raises:
            Refused: there are too many, or it wants too many lines.
        """
        wanted = frozenset(lines)
        if len(self._viewers) >= MOST_VIEWERS:
            raise Refused(503, "busy", f"{MOST_VIEWERS} pages are live already; close some")
        if len(wanted) > MOST_LINES or not all(map(_LINE.fullmatch, wanted)):
            raise Refused(422, "bad_lines", f"lines are 1 to {MOST_LINES} names of lines, separated by commas")
        viewer = Viewer(wanted)
        self._viewers.add(viewer)
        self._want()
        viewer.tell_state(_in_words(self._link.status()))
        for line in wanted & self._newest.keys():
            viewer.show(line, self._newest[line])
        return viewer

    def remove(self, viewer: Viewer) -> None:
        """A page is gone."""
        self._viewers.discard(viewer)
        self._want()

    def _want(self) -> None:
        self._wanted = frozenset[str]().union(*(viewer.lines for viewer in self._viewers))
        self._newest = {line: picture for line, picture in self._newest.items() if line in self._wanted}
        self._reading.wake()

    def _heard(self, status: Status | None) -> None:
        self._have(self._spread_status, status)

    def _spread_status(self, status: Status | None) -> None:
        lost = status is None or status.lost
        said = _in_words(status)
        for viewer in self._viewers:
            if not lost and self._lost:
                viewer.say(json.dumps({"kind": "back"}))
            viewer.tell_state(said)
        self._lost = lost

    def _read(self) -> float | None:
        """One piece of the feed."""
        if self._reading.stopping or not self._wanted:
            if self._feed is not None:
                self._feed.close()
                self._feed, self._subscribed = None, set()
            return None
        if self._feed is None:
            self._feed = FeedClient(self._folder)
        wanted = self._wanted
        for line in wanted - self._subscribed:
            self._feed.subscribe(line)
        for line in self._subscribed - wanted:
            self._feed.unsubscribe(line)
        self._subscribed = set(wanted)
        try:
            found = self._feed.next(_READ_S)
        except FeedError as error:
            log.warning("%s", error)
            return _PAUSE_S
        if found is not None:
            self._have(self._spread, found)
        return 0.0

    def _have(self, done: Callable[[T], None], what: T) -> None:
        """Has something done in the event loop; nothing, once that has ended."""
        with suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(done, what)

    def _spread(self, found: FeedVerdict | FeedPicture) -> None:
        viewers = [viewer for viewer in self._viewers if found.line in viewer.lines]
        if isinstance(found, FeedPicture):
            frame = framed(found.head, found.jpeg, found.map)
            if viewers:
                self._newest[found.line] = frame
            for viewer in viewers:
                viewer.show(found.line, frame)
        else:
            text = json.dumps({"kind": "verdict", "line": found.line, "verdict": found.verdict})
            for viewer in viewers:
                viewer.say(text)


def framed(head: dict[str, Any], jpeg: bytes, png: bytes) -> bytes:
    """A picture as one binary frame."""
    written = json.dumps(head).encode()
    return b"".join((_LENGTH.pack(len(written)), written, _LENGTH.pack(len(jpeg)), jpeg, png))


def _in_words(status: Status | None) -> str:
    if status is None or status.lost:
        return json.dumps({"kind": "lost"})
    return json.dumps({"kind": "status", "age_s": round(status.age_s, 3)} | status.result)


@router.websocket("/live")
async def live(websocket: WebSocket, lines: str = "", person: Person = Depends(needs("view"))) -> None:
    """What is live of the lines that are named, separated by commas; without any, the state of the service alone."""
    hub: Live = websocket.app.state.live
    try:
        viewer = hub.add([name for name in lines.split(",") if name])
    except Refused as refused:
        await websocket.close(_CROWDED if refused.status == 503 else _NOT_ALLOWED, refused.code)
        return
    try:
        await websocket.accept()
        async with anyio.create_task_group() as both:

            async def until_closed() -> None:
                """What a page says is passed over: it only looks."""
                while (await websocket.receive())["type"] != "websocket.disconnect":
                    pass
                both.cancel_scope.cancel()

            both.start_soon(until_closed)
            await _send(websocket, viewer, person)
            both.cancel_scope.cancel()
    finally:
        hub.remove(viewer)


async def _send(websocket: WebSocket, viewer: Viewer, person: Person) -> None:
    """Sends what there is, as long as whoever looks may, and takes it."""
    gate: Gate = websocket.app.state.gate
    while True:
        messages = await viewer.next()
        if not _still(gate, websocket, person):
            await websocket.close(_NOT_ALLOWED, "no_login")
            return
        for message in messages:
            with anyio.move_on_after(_SEND_S) as waiting:
                try:
                    await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))
                except (WebSocketDisconnect, OSError):
                    return
            if waiting.cancelled_caught:
                log.info("a page takes nothing for %.0f s, and is let go", _SEND_S)
                return


def _still(gate: Gate, websocket: WebSocket, person: Person) -> bool:
    """Whether nobody has logged out, was removed or has another role since the page was opened."""
    try:
        return gate.person(websocket) == person
    except Refused:
        return False
