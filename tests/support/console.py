"""A service whose lines look at folders of simulated parts, its console in the browser, and a real browser.

with hall(folder, mosquitto) as found, browser() as chromium:
    page = chromium.new_page(base_url=found.address)
    page.goto("/")
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, expect, sync_playwright

from core.bank.shot_checks import FLAGS
from core.image import Rgb, encode_png
from core.simline import render
from edge.control.client import ask
from edge.hmi.server import listening, make_server
from edge.service import Service
from edge.settings import Settings
from tests.support.mosquitto import Mosquitto, free_port

MARGIN = 40
"""Pixels of the frame around the inspected region."""
SEED = 5
PLACES = 36
"""Pictures in a folder; fewer parts come several times."""
PATIENCE_MS = 60_000
START_S, ASK_S = 110.0, 300.0  # on a machine that does other things besides


def frame_of(part: Rgb) -> Rgb:
    """A part as the camera sees it: with something around the inspected region."""
    return np.ascontiguousarray(np.pad(part, ((MARGIN, MARGIN), (2 * MARGIN, MARGIN), (0, 0)), constant_values=90))


@dataclass
class Belt:
    """The folder that a line's camera reads again and again."""

    folder: Path
    part: str
    size: int = 240
    _next: int = 0

    @property
    def roi(self) -> dict[str, int]:
        """The inspected region of its frames."""
        return {"x": 2 * MARGIN, "y": MARGIN, "width": self.size, "height": self.size}

    def picture(self, defective: bool = False) -> Rgb:
        """The next part, uint8 [size, size, 3]."""
        self._next += 1
        return render(self.part, SEED, self._next, 1.0 if defective else 0.0, size=self.size).image

    def show(self, *pictures: Rgb) -> None:
        """Has the camera see these parts from now on, one after the other, again and again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for place in range(PLACES):
            draft = self.folder / ".draft"
            draft.write_bytes(encode_png(frame_of(pictures[place % len(pictures)])))
            draft.rename(self.folder / f"{place:03d}.png")  # its names stay: the camera may be about to read one


@dataclass
class Hall:
    """What there is while the context is open."""

    settings: Settings
    belts: dict[str, Belt]
    address: str = ""
    _service: ExitStack = field(default_factory=ExitStack)
    _console: ExitStack = field(default_factory=ExitStack)

    def ask(self, command: str, *blobs: bytes, **arguments: Any) -> dict[str, Any]:
        """What the service answers."""
        runtime = self.settings.service.runtime_dir
        assert runtime is not None
        return ask(runtime / "console.sock", command, arguments, blobs, timeout_s=ASK_S)[0]

    def teach(self, line: str, shots: int = 4) -> None:
        """Enrols good parts."""
        blobs = [encode_png(self.belts[line].picture()) for _ in range(shots)]
        self.ask("enroll", *blobs, line=line, yes=list(FLAGS))

    def start_service(self) -> None:
        """Starts the service; returns when its lines judge parts."""
        service, stop = Service(self.settings), threading.Event()
        thread = threading.Thread(target=service.run, args=(stop,))
        thread.start()

        def end() -> None:
            stop.set()
            thread.join(60)

        self._service.callback(end)
        until(lambda: service.dispatcher is not None or not thread.is_alive(), "service")
        until(self._judges, "part of each line")

    def stop_service(self) -> None:
        """Ends it."""
        self._service.close()

    def start_console(self) -> None:
        """Starts the console; returns when it serves."""
        server, opened = make_server(self.settings), listening(self.settings.hmi)
        thread = threading.Thread(target=server.run, args=([opened],))
        thread.start()

        def end() -> None:
            server.should_exit = True
            thread.join(60)
            opened.close()

        self._console.callback(end)
        until(lambda: server.started or not thread.is_alive(), "console")

    def stop_console(self) -> None:
        """Ends it."""
        self._console.close()

    def _judges(self) -> bool:
        try:
            lines = self.ask("status")["lines"]
        except RuntimeError:
            return False
        return all(line["seq"] for line in lines.values())


@contextmanager
def hall(folder: Path, mosquitto: Mosquitto, parts: dict[str, str], rate: float = 2.0, **tables: Any) -> Iterator[Hall]:
    """Service and console, both in this process; `parts` has the class of the parts of each line, `rate` how many come
    per second, `tables` further settings.
    """
    belts = {line: Belt(folder / line, part) for line, part in parts.items()}
    for belt in belts.values():
        belt.show(*(belt.picture() for _ in range(12)))
    port = free_port()
    settings = Settings(
        **{
            "service": {"state_dir": folder / "state", "runtime_dir": folder, "zone": "Europe/Berlin"},
            "model": {"name": "bundled", "device": "cpu", "dtype": "fp32"},
            "mqtt": {"host": mosquitto.host, "port": mosquitto.port},
            "archive": {"dir": folder / "archive", "min_free_gb": 0, "ok_every": 1},
            "hmi": {"port": port},
            "lines": {
                line: {
                    "pack": belt.part,
                    "roi": belt.roi,
                    "camera": {"source": str(belt.folder), "loop": True, "rate": rate},
                }
                for line, belt in belts.items()
            },
        }
        | tables
    )
    found = Hall(settings, belts, f"http://127.0.0.1:{port}")
    try:
        found.start_service()
        found.start_console()
        yield found
    finally:
        found.stop_console()
        found.stop_service()


@contextmanager
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        expect.set_options(timeout=PATIENCE_MS)
        try:
            yield chromium
        finally:
            chromium.close()


def watched(page: Page) -> list[str]:
    """What goes wrong in a page from now on: errors of scripts, and what its policy has refused."""
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda message: (
            wrong.append(message.text)
            if message.type == "error" and "WebSocket" not in message.text and "ERR_CONNECTION" not in message.text
            else None
        ),
    )
    return wrong


def until(reached: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
    """Waits for something to come true."""
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, f"no {what} within {timeout_s:g} s"
        time.sleep(0.05)


def rgb_of(png: bytes) -> Rgb:
    """A screenshot, uint8 [H, W, 3]."""
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


__all__ = ["MARGIN", "Belt", "Hall", "browser", "hall", "rgb_of", "until", "watched"]
