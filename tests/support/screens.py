"""What the commands print at 80 and 120 columns, about simulated parts: the screens of the documentation.

`python -m tests.support.screens edge/cli/README.md` brings them up to date. Each command is run once, and what it
prints is laid out for both widths.
"""

from __future__ import annotations

import io
import logging
import os
import pwd
import re
import shlex
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from PIL import Image
from rich.text import Text
from typer.testing import CliRunner

from core.simline import render
from core.weights.location import COMPILED
from core.weights.store import Store, make_record, sha256_of
from edge.cli.app import app
from edge.cli.table import Table
from edge.cli.terminal import Terminal
from edge.control.client import ask
from edge.service import Service
from edge.settings_file import load_settings
from tests.support.gige import GigECamera
from tests.support.mosquitto import Mosquitto
from tests.support.service import toml

WIDTHS = (80, 120)
BEGIN, END = "<!-- screens -->\n", "\n<!-- /screens -->"

AT_REST = (
    "status",
    "config check",
    "config check --config wrong.toml",
    "model list",
    "model verify",
    "model remove ViT-B-16-plus-240 laion400m_e32",
    "packs list",
    "packs lint bottle screw",
    "packs new oil_seal --class 'oil seal' --defect 'cut: a cut across the lip; a notch in the lip'",
    "packs new shaft_seal --class 'oil seal' --defect 'gap: a gap between lip and ring'",
    "packs show ./oil_seal.toml",
    "packs diff ./oil_seal.toml ./shaft_seal.toml",
    "packs compile bottle --model untrained",
    "simulate --out lab --classes tile --train 4 --count 3 --defective 1",
    "score parts --pack bottle --model untrained --dtype fp32 --threshold 0.4",
    "history",
    "users add report --script",
    "users list",
    "users remove report",
)
"""Commands that need no service; where one would be of use, none runs."""
RUNNING = (
    "status",
    "learn --good good --parts 8 --rate 0.2",
    "enroll parts",
    "enroll parts --hold",
    "shots candidates",
    "shots take",
    "shots drop --all",
    "shots list",
    "shots remove 2",
    "shots restore 2",
    "shots reembed",
    "shots export kept",
    "shots import kept",
    "calibrate --rate 0.2",
    "review set --false-alarm-rate 0.25 --review-rate 0.25 --yes",
    "review list",
    "review off",
    "threshold 0.9",
    "trigger A-17",
    "trigger carrier-0000000000000000000000000000000000000042",
    "pause",
    "trigger A-18",
    "resume",
    "history",
    "history --export verdicts.csv",
    "feedback add 1 --missed --note 'a scratch on the rim'",
    "feedback list",
    "feedback rates",
    "feedback threshold --rate 0.5",
    "feedback export labelled",
    "recipe new screws --pack screw --number 7",
    "recipe copy default spare",
    "recipe list",
    "shadow start spare",
    "shadow promote --swap",
    "shadow promote",
    "shadow start screws",
    "shadow stop",
    "recipe show",
    "recipe edit screws --threshold 0.8",
    "recipe diff default screws",
    "recipe prepare screws",
    "recipe set screws",
    "recipe reset",
    "recipe rename spare second",
    "recipe retire second",
    "recipe export screws screws",
    "recipe import screws --name third",
    "line forget press-0",
    "audit --count 6",
    "backup copy",
)
"""Commands that ask a running service, in this order."""
WITH_PARTS = ("snapshot part.jpg", "suggest --parts 3 --count 2")
"""Commands that wait for parts, which come meanwhile."""
STOPPED = ("restore copy --check", "restore copy")
"""Commands for a service that has stopped."""
OF_THIS_MACHINE = (
    "cameras",
    f"cameras {GigECamera.source} --trigger software --picture region.png --roi 64,32,384,384 --tiles 2x2",
    "doctor",
    "bench --model untrained --rounds 1",
    "evaluate lab --model untrained --scales 3 --tower none --cache features",
)
"""Commands whose output is of one machine: it is not compared with that of another."""
NOT_SHOWN = {
    "run": "prints the service's log",
    "demo": "shows a table that changes as parts come",
    "hmi": "prints the console's log",
    "version": "prints the version",
    "schema": "prints JSON",
    "config show": "prints JSON",
    "config schema": "prints JSON",
    "config example": "prints TOML",
    "config acl": "prints a file for mosquitto",
    "shots show": "prints JSON",
    "review show": "prints JSON",
    "review good": "prints one line",
    "review bad": "prints one line",
    "feedback show": "prints JSON",
    "shadow report": "tells of parts that both recipes have judged; the README shows one",
    "packs render": "prints prompts, one a line",
    "packs generate": "asks a language model",
    "model pull": "needs a network",
    "model import": "needs the weights of a model",
    "filo train": "takes hours",
    "filo import": "needs a released checkpoint",
}
"""Commands without a screen, and why."""

_CONFIG = "edge.toml"
_LONGEST = 48  # lines of a screen; of a longer one the beginning and the end are shown
_FIRST, _LAST = 32, 8
_FIXED = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]{3,4}"), "2026-01-31 06:00:00 CET"),
    (re.compile(r"\b\d+ ms\b"), "38 ms"),
    (re.compile(r"\b\d+\.\d MB\b"), "0.2 MB"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "0123456789abcdef0123456789abcdef"),
    (re.compile(r"\b\d{8}T\d+Z\b"), "20260131T050000000000Z"),
    (re.compile(r"\balfa_[A-Za-z0-9_-]{43}"), "alfa_0123456789abcdefghijABCDEFGHIJ-_0123456789abc"),
)
"""What differs from run to run in its width."""
_FOLDER = re.compile(r"alfa-edge-[a-z0-9_]{8}(?=[/ .,;:│]|$)")
_VOLATILE = re.compile(r"\d{4}-\d\d-\d\d|(?<![\d.])\d+\.\d{2,}(?!\.)|[0-9a-f]{12,}")
"""What differs from machine to machine, and keeps its width."""


@dataclass
class Screen:
    """A command, and what it prints at each width."""

    command: str
    code: int
    text: dict[int, str] = field(default_factory=dict)


def all_screens() -> list[Screen]:
    """Runs all commands, on a terminal of no width, in a folder that goes again; takes some 15 s of a processor."""
    screens: list[Screen] = []
    with ExitStack() as stack:
        stack.enter_context(_zone("CET-1"))
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alfa-edge-", dir="/tmp")))
        stack.callback(os.chdir, Path.cwd())
        os.chdir(folder)
        broker = stack.enter_context(Mosquitto())
        variables = {"ALFA_EDGE_CONFIG": _CONFIG, "ALFA_EDGE_MODELS": str(folder / "models")}
        stack.enter_context(patch.dict(os.environ, variables))
        _prepare(folder, broker)
        screens += map(screen_of, AT_REST)
        with _service():
            screens += map(screen_of, RUNNING)
            for command in WITH_PARTS:
                with _parts():
                    screens.append(screen_of(command))
        with GigECamera():
            screens += map(screen_of, (*STOPPED, *OF_THIS_MACHINE))
    return screens


def screen_of(command: str) -> Screen:
    """Runs a command in this process, and lays out what it prints."""
    printed: list[tuple[Any, dict[str, Any]]] = []
    add_row = Table.add_row

    def record(_terminal: Terminal, *objects: Any, **options: Any) -> None:
        printed.append((fixed(objects[0]) if objects and isinstance(objects[0], str) else objects, options))

    def add_fixed(table: Table, *cells: str | Text) -> None:
        add_row(table, *(Text(fixed(cell.plain)) if isinstance(cell, Text) else fixed(cell) for cell in cells))

    with patch.object(Terminal, "print", record), patch.object(Table, "add_row", add_fixed):
        result = CliRunner().invoke(app, shlex.split(command))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    screen = Screen(command, result.exit_code)
    for width in WIDTHS:
        sink = io.StringIO()
        terminal = Terminal(file=sink, width=width, force_terminal=True, color_system=None)
        for objects, options in printed:
            terminal.print(*((objects,) if isinstance(objects, str) else objects), **options)
        screen.text[width] = "\n".join(line.rstrip() for line in sink.getvalue().splitlines())
    return screen


def fixed(text: str) -> str:
    """`text` without what differs from run to run in its width."""
    user = pwd.getpwuid(os.getuid()).pw_name
    text = re.sub(rf"\b{re.escape(user)}\b", "operator", text)
    for pattern, words in _FIXED:
        text = pattern.sub(words, text)
    return text


def masked(command: str, section: str) -> str:
    """A section of the document without what may differ: digits as `#`, or nothing of commands of this machine."""
    if command in OF_THIS_MACHINE:
        return ""
    if command in (*WITH_PARTS, *STOPPED):  # how many parts came depends on the time
        return re.sub(r"\d+", "#", re.sub(r"[ ━─]+", " ", _FOLDER.sub("", section)))
    section = _FOLDER.sub("alfa-edge-########", section)
    section = _VOLATILE.sub(lambda found: re.sub(r"[0-9a-f]", "#", found[0]), section)
    return re.sub(r"\.#{9,}", ".#########", section)  # a number in full may end in a 0, which is not written


def section_of(screen: Screen) -> str:
    """The screen in Markdown."""
    same = len(set(screen.text.values())) == 1
    code = f", exit code {screen.code}" if screen.code else ""
    parts = []
    for width in WIDTHS[:1] if same else WIDTHS:
        parts.append(f"{'At 80 and 120 columns' if same else f'At {width} columns'}{code}:\n")
        parts.append(f"```text\n$ alfa-edge {screen.command}\n{_shortened(screen.text[width])}\n```\n")
    return "\n".join(parts)


def _shortened(text: str) -> str:
    lines = text.splitlines()
    if len(lines) <= _LONGEST:
        return text
    return "\n".join([*lines[:_FIRST], f"... {len(lines) - _FIRST - _LAST} more lines ...", *lines[-_LAST:]])


def headings(screens: list[Screen]) -> list[str]:
    """The headings of the sections: the command, and how often it stood before."""
    counts: Counter[str] = Counter()
    found = []
    for screen in screens:
        counts[screen.command] += 1
        again = {1: "", 2: " (with a service)"}[counts[screen.command]]
        found.append(f"`alfa-edge {screen.command}`{again}")
    return found


def sections(document: str) -> dict[str, str]:
    """What stands between the marks of a document, by heading."""
    inside = document.partition(BEGIN)[2].partition(END)[0]
    parts = re.split(r"^### (.+)\n\n", inside, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def without_a_screen() -> str:
    """The table of commands that are not shown."""
    rows = [f"| `alfa-edge {name}` | It {why}. |" for name, why in NOT_SHOWN.items()]
    return "\n".join(["| command | why |", "| --- | --- |", *rows])


def with_screens(document: str, screens: list[Screen]) -> str:
    """The document with its screens brought up to date; a section stays where it differs only in what may differ."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the screens: {BEGIN.strip()} ... {END.strip()}")
    known, parts = sections(document), []
    for heading, screen in zip(headings(screens), screens, strict=True):
        old, new = known.get(heading, ""), section_of(screen)
        kept = old and masked(screen.command, old.strip()) == masked(screen.command, new.strip())
        parts.append(f"### {heading}\n\n{old.strip() if kept else new.strip()}\n")
    parts.append(f"### Commands without a screen\n\n{without_a_screen()}")
    return before + begin + "\n".join(parts) + end + after


@contextmanager
def _zone(name: str) -> Iterator[None]:
    with patch.dict(os.environ, {"TZ": name}):
        time.tzset()
        yield
    time.tzset()


def _prepare(folder: Path, broker: Mosquitto) -> None:
    tables: dict[str, dict[str, Any]] = {
        "service": {"node": "box-1", "runtime_dir": str(folder), "state_dir": str(folder / "state")},
        "model": {"name": "untrained", "device": "cpu", "dtype": "fp32"},
        "method": {"scales": [3], "stride": 3},
        "mqtt": {"host": broker.host, "port": broker.port},
        "hmi": {"users_file": str(folder / "users.toml")},
        "lines.press-1": {"pack": "bottle", "mode": "trigger", "deadline_ms": 60000, "frame_within_ms": 60000},
        "lines.press-1.camera": {"source": "sim:bottle?seed=1&defects=0"},
    }
    (folder / _CONFIG).write_text(toml(tables))
    tables["lines.press-1.camera"]["source"] = "sim:bottel"
    (folder / "wrong.toml").write_text(toml(tables))
    _keep_weights(folder)
    for name, first, count in (("good", 100, 8), ("parts", 200, 2)):
        (folder / name).mkdir()
        for index in range(count):
            picture = render("bottle", 1, first + index, 1.0 if name == "parts" and index == 1 else 0.0)
            Image.fromarray(picture.image).save(folder / name / f"{index}.png")


def _keep_weights(folder: Path) -> None:
    """Something in the place of weights, with its record, and a compiled pack beside it."""
    store = Store(folder / "models")
    (store.root / COMPILED).mkdir(parents=True)
    (store.root / COMPILED / "bottle.safetensors").touch()
    with store.writing("ViT-B-16-plus-240", "laion400m_e32") as work:
        file = work / "laion400m_e32.pt"
        file.write_bytes(bytes(1 << 20))
        source, stamp = "https://example.com/laion400m_e32.pt", "2026-01-31T05:00:00.000Z"
        made = make_record("ViT-B-16-plus-240", "laion400m_e32", file, sha256_of(file), source, "url", stamp, {})
        store.place(file, made)


@contextmanager
def _service() -> Iterator[None]:
    service, stop = Service(load_settings(Path(_CONFIG))), threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))
    thread.start()
    try:
        end = time.monotonic() + 60
        while service.dispatcher is None or not Path("console.sock").is_socket() or not _runs():
            if time.monotonic() > end or not thread.is_alive():
                raise RuntimeError("the service does not start")
            time.sleep(0.02)
        yield
    finally:
        stop.set()
        thread.join(30)


def _runs() -> bool:
    """Whether the line's camera has shown something."""
    status = ask(Path("console.sock"), "status", {}, timeout_s=30)[0]
    return bool(status["lines"]["press-1"]["state"] == "running")


@contextmanager
def _parts() -> Iterator[None]:
    """Triggers, one after the other, for a command that waits for parts."""
    over = threading.Event()

    def trigger() -> None:
        while not over.wait(0.1):
            ask(Path("console.sock"), "trigger", {"line": "press-1", "part_id": "B-1"}, timeout_s=90)

    thread = threading.Thread(target=trigger)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def main() -> None:
    """Brings the screens in the document that is named up to date."""
    path = Path(sys.argv[1]).absolute()
    path.write_text(with_screens(path.read_text("utf-8"), all_screens()), "utf-8")


if __name__ == "__main__":
    main()
