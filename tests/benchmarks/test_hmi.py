"""What the console in the browser costs the lines: four lines at five parts a second, and twenty pages that look on.

Parts with and without pages take turns, so that a machine that grows slower meanwhile makes neither look better. The
pages' process is on the same machine, and gives way to the others. With `HMI_MINUTES` and `HMI_FIGURES` (a file) it
runs longer, and goes on where it was ended.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.mosquitto import Mosquitto, Subscription, eventually, subscribe
from tests.support.plant import PacedService
from tests.support.service import Service, toml
from tests.support.shadowed import percentile
from tests.support.viewers import LookingOn

LINES = ("press-1", "press-2", "press-3", "press-4")
RATE = 5.0
PASS_MS = 15.0
PAGES, SILENT = 20, 1
TURNS = int(os.environ.get("HMI_TURNS", "4"))  # of each kind
PARTS = int(os.environ.get("HMI_PARTS", "75"))  # of each line and turn
MINUTES = float(os.environ.get("HMI_MINUTES", "2"))
P50_RATIO, P99_RATIO = 1.1, 1.2
FIRST_PAGE_S = 1.0
GROWTH_MIB = 16.0  # of the console, from the first third of its time to the last
LOOK_S, LOOKS = 5.0, 12  # between two looks at its memory, and how many of them are noted at once
PATIENCE_S = 180.0
ROOT = Path(__file__).parents[2]


class Console:
    """`alfa-edge hmi`, as its unit starts it, for as long as the context is open."""

    def __init__(self, config: Path, port: int) -> None:
        self._config, self.port = config, port
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Console:
        with self._config.with_name("hmi.log").open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge.cli", "hmi", "--config", str(self._config)],
                cwd=ROOT,
                stdout=sink,
                stderr=sink,
                preexec_fn=lambda: os.nice(5),
            )
        eventually(self.answers, 60)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(20)

    def answers(self) -> bool:
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", self.port)) == 0

    def page_s(self, path: str = "/") -> float:
        """How long a page takes."""
        began = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            assert answer.status == 200
            assert b"</html>" in answer.read()
        return time.monotonic() - began

    def mib(self) -> float:
        """What it has in memory."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / (1 << 20)


class Floor:
    """The lines, and what they say."""

    def __init__(self, folder: Path, broker: Mosquitto, heard: Subscription, port: int) -> None:
        self.config, self._heard, self._socket = folder / "edge.toml", heard, folder / "console.sock"
        tables: dict[str, dict[str, Any]] = {
            "service": {"state_dir": str(folder / "state"), "runtime_dir": str(folder)},
            "model": {"name": "untrained", "device": "cpu", "dtype": "fp32", "store": str(folder / "models")},
            "method": {"scales": [3], "stride": 3},
            "mqtt": {"host": broker.host, "port": broker.port},
            "archive": {"dir": str(folder / "archive"), "min_free_gb": 0},
            "hmi": {"port": port},
        }
        for seed, line in enumerate(LINES, 1):
            tables[f"lines.{line}"] = {"pack": "bottle", "mode": "free"}
            tables[f"lines.{line}.camera"] = {"source": f"sim:bottle?seed={seed}&rate={RATE:g}&defects=0"}
        self.config.write_text(toml(tables))

    @contextmanager
    def service(self) -> Iterator[Service]:
        """The service, once it answers."""
        self._socket.unlink(missing_ok=True)
        with PacedService(self.config, PASS_MS, {"OMP_NUM_THREADS": "1"}) as service:
            service.until(self._socket.is_socket, "console", PATIENCE_S)
            yield service
            assert service.stop() == 0

    def verdicts(self, line: str) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self._heard.of(f"line/{line}/anomaly")]

    def count(self) -> dict[str, int]:
        return {line: len(self._heard.of(f"line/{line}/anomaly")) for line in LINES}

    def judge(self, parts: int) -> list[dict[str, Any]]:
        """The next so many verdicts of each line."""
        before = self.count()
        eventually(lambda: all(count >= before[line] + parts for line, count in self.count().items()), PATIENCE_S)
        return [verdict for line in LINES for verdict in self.verdicts(line)[before[line] : before[line] + parts]]

    def check(self) -> None:
        """No number is missing."""
        for line in LINES:
            seqs = sorted({verdict["seq"] for verdict in self.verdicts(line)})
            assert seqs == [*range(seqs[0], seqs[-1] + 1)]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def times_of(verdicts: list[dict[str, Any]]) -> list[float]:
    return [verdict["timing_ms"]["total"] for verdict in verdicts if verdict["verdict"] != "error"]


class Figures:
    """What was measured, in a file that a later run goes on with."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []

    def add(self, kind: str, **values: Any) -> None:
        self._rows.append({"kind": kind, **values})
        with self._path.open("a") as file:
            file.write(json.dumps(self._rows[-1]) + "\n")

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [row for row in self._rows if row["kind"] == kind]


def measure(floor: Floor, figures: Figures, port: int) -> None:
    """The turns with and without pages that are not measured yet."""
    while (done := len(figures.of("turn"))) < 2 * TURNS:
        looked_at = done % 2 == 1
        if not looked_at:
            floor.judge(5)
            figures.add("turn", pages=0, times=times_of(floor.judge(PARTS)))
            continue
        with ExitStack() as stack:
            console = stack.enter_context(Console(floor.config, port))
            first_s = console.page_s()
            pages = stack.enter_context(LookingOn(port, PAGES, LINES, SILENT))
            pages.until("open", PAGES)
            floor.judge(5)
            figures.add("page", first=first_s, later=[console.page_s() for _ in range(5)])
            before = pages.seen()
            began = time.monotonic()
            times = times_of(floor.judge(PARTS))
            seen, lasted_s = pages.seen(), time.monotonic() - began
            rate = (seen["picture"] - before.get("picture", 0)) / lasted_s / (PAGES - SILENT) / len(LINES)
            figures.add("turn", pages=PAGES, times=times, pictures_a_second=rate)


def kill(floor: Floor, figures: Figures, port: int) -> None:
    """The console is killed under its pages: the lines go on, and the pages come back to the next one by themselves."""
    with LookingOn(port, PAGES, LINES, SILENT) as pages:
        with Console(floor.config, port) as console:
            pages.until("open", PAGES)
            pages.more("picture", PAGES)
            assert console.process is not None
            console.process.kill()
            figures.add("killed", times=times_of(floor.judge(PARTS // 3)))
        with Console(floor.config, port):
            back_s = pages.until("open", PAGES)
            pages.more("picture", PAGES)
            figures.add("back", seconds=back_s)


def restart(floor: Floor, figures: Figures, port: int) -> None:
    """The service ends and begins anew under open pages, which say so, and go on; then the console is watched."""
    with Console(floor.config, port) as console, LookingOn(port, PAGES, LINES, SILENT) as pages:
        with floor.service():
            pages.until("open", PAGES)
            pages.more("picture", PAGES)
            lost = pages.seen().get("lost", 0)
        lost_s = pages.until("lost", lost + PAGES - SILENT)
        with floor.service():
            back_s = pages.more("picture", PAGES * len(LINES))
            figures.add("restarted", lost_s=lost_s, back_s=back_s)
            assert pages.seen()["open"] == PAGES, "no page had to be opened again"
            watch(console, figures)
            assert pages.seen()["open"] == PAGES


def watch(console: Console, figures: Figures) -> None:
    """The memory of the console, every five seconds, for as long as is asked for and was not watched before."""
    known = sum(len(row["mib"]) for row in figures.of("memory")) * LOOK_S
    end = time.monotonic() + MINUTES * 60 - known
    assert console.process is not None
    while time.monotonic() < end:
        mib = list[float]()
        while len(mib) < LOOKS and time.monotonic() < end:
            time.sleep(LOOK_S)
            mib.append(console.mib())
        figures.add("memory", console=console.process.pid, mib=mib)  # a run that is ended keeps what it saw


def report(figures: Figures) -> None:
    """Prints what was measured, and holds it to what was promised."""
    with_pages = [row for row in figures.of("turn") if row["pages"]]
    times = {
        "without": [time for row in figures.of("turn") if not row["pages"] for time in row["times"]],
        "with": [time for row in with_pages for time in row["times"]],
        "as the console was killed": [time for row in figures.of("killed") for time in row["times"]],
    }
    for name, found in times.items():
        p50, p99 = statistics.median(found), percentile(found, 0.99)
        print(f"{name}: {len(found)} parts, p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {max(found):.1f} ms")
    ratios = [
        statistics.median(times["with"]) / statistics.median(times["without"]),
        percentile(times["with"], 0.99) / percentile(times["without"], 0.99),
    ]
    rates = [round(row["pictures_a_second"], 2) for row in with_pages]
    print(f"ratios p50 {ratios[0]:.3f}, p99 {ratios[1]:.3f}; each page saw of each line {rates} pictures a second")
    firsts_s = [row["first"] for row in figures.of("page")]
    later_s = [seconds for row in figures.of("page") for seconds in row["later"]]
    print(f"first pages {max(firsts_s):.2f} s at most, later ones {statistics.median(later_s):.3f} s (median)")
    print(f"after the kill {figures.of('back')}, after the restart {figures.of('restarted')}")
    grown, consoles = [], dict[int, list[float]]()
    for row in figures.of("memory"):
        consoles.setdefault(row["console"], []).extend(row["mib"])
    for mib in consoles.values():
        third = max(1, len(mib) // 3)
        first, last = statistics.median(mib[:third]), statistics.median(mib[-third:])
        grown.append(last - first)
        print(f"console: {len(mib) * LOOK_S / 60:.1f} minutes, {first:.1f} MiB, then {last:.1f} MiB")
    assert ratios[0] < P50_RATIO
    assert ratios[1] < P99_RATIO
    assert max(firsts_s) < FIRST_PAGE_S
    assert max(grown) < GROWTH_MIB


@pytest.mark.timeout(7200)
def test_pages_cost_the_lines_nothing_and_outlive_console_and_service(tmp_path: Path) -> None:
    figures = Figures(Path(os.environ.get("HMI_FIGURES", tmp_path / "figures.jsonl")))
    port = free_port()
    with Mosquitto() as mosquitto, subscribe(mosquitto.port, "line/+/anomaly") as heard:
        floor = Floor(tmp_path, mosquitto, heard, port)
        with floor.service():
            floor.judge(10)
            measure(floor, figures, port)
            kill(floor, figures, port)
        restart(floor, figures, port)
        floor.check()
    report(figures)
