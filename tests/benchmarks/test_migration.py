"""A state that an earlier version left, taken over by this one: nothing is lost, and parts are judged as before.

ALFA_EDGE_BENCH_BEFORE names the commit of the earlier version; by default the last one without recipes. The clone must
have it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.image import encode_png
from core.simline import render
from edge.control.client import ask
from tests.support.service import Service, toml

BEFORE = os.environ.get("ALFA_EDGE_BENCH_BEFORE", "4483fb0")
ROOT = Path(__file__).parents[2]
PARTS = 100
ROI = {"x": 8, "y": 16, "width": 120, "height": 96}
PATIENCE_S = 240.0


class ServiceOf(Service):
    """The service of a tree of the repository."""

    def __init__(self, tree: Path, config: Path) -> None:
        super().__init__(config)
        self._tree = tree

    def __enter__(self) -> ServiceOf:
        with self.log.open("ab") as sink:
            command = [sys.executable, "-m", "edge.cli", "run", "--config", str(self._config)]
            environment = {**os.environ, "PYTHONPATH": str(self._tree)}
            self.process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd=self._tree, env=environment)
        return self


class Line:
    """A line whose service is of one version, then of another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "edge.toml"
        self._socket = folder / "console.sock"
        pictures = folder / "parts"
        pictures.mkdir()
        for number in range(PARTS):
            part = encode_png(render("bottle", 1, number, 0.3).image)
            (pictures / f"{number:03}.png").write_bytes(part)
        tables: dict[str, dict[str, Any]] = {
            "service": {"state_dir": str(folder / "state"), "runtime_dir": str(folder)},
            "model": {"name": "bundled", "device": "cpu", "dtype": "fp32", "store": str(folder / "models")},
            "mqtt": {"host": "127.0.0.1", "port": 9},  # nobody: verdicts are read from the history
            "lines.one": {"pack": "tile", "mode": "trigger", "deadline_ms": 60_000, "queue": 1000},
            "lines.one.roi": ROI,
            "lines.one.camera": {"source": str(pictures), "loop": True},
        }
        self._config.write_text(toml(tables))

    @contextmanager
    def service(self, tree: Path) -> Iterator[None]:
        self._socket.unlink(missing_ok=True)
        with ServiceOf(tree, self._config) as service:
            service.until(self._socket.is_socket, "console", PATIENCE_S)
            yield
            service.stop()

    def ask(self, command: str, *blobs: bytes, **arguments: Any) -> dict[str, Any]:
        return ask(self._socket, command, arguments, blobs, timeout_s=PATIENCE_S)[0]

    def of_line(self, command: str, *blobs: bytes, **arguments: Any) -> dict[str, Any]:
        return self.ask(command, *blobs, line="one", **arguments)

    def shots(self) -> list[tuple[int, bool, str]]:
        """Number, whether it counts, and note of each."""
        return [(shot["id"], shot["active"], shot["note"]) for shot in self.of_line("shots_list", all=True)["shots"]]

    def audit(self) -> list[tuple[str, str, str]]:
        """When, who and what, the oldest first."""
        entries = self.ask("audit", count=1000)["entries"]
        return sorted((entry["at"], entry["who"], entry["command"]) for entry in entries)

    def judge(self, name: str) -> list[dict[str, Any]]:
        return [self.of_line("trigger", part_id=f"{name}-{number}")["verdict"] for number in range(PARTS)]


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The tree of the earlier version."""
    tree = tmp_path / "before"
    tree.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", BEFORE], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
    return tree


@pytest.mark.timeout(1200)
def test_a_state_of_before_is_taken_over_whole_and_judges_as_before(before: Path, tmp_path: Path) -> None:
    line = Line(tmp_path)
    x, y, width, height = ROI.values()
    regions = [render("bottle", 1, 5000 + n, 0.0).image[y : y + height, x : x + width] for n in range(5)]
    shots = [encode_png(np.ascontiguousarray(region)) for region in regions]
    with line.service(before):
        line.of_line("recipe_set", pack="bottle")
        line.of_line("enroll", *shots, sure=True, note="of the first shift")
        line.ask("shots_remove", shot=line.shots()[1][0])
        line.of_line("calibrate", rate=0.2, sure=True)
        expected = line.judge("before")
        passed = next(verdict["seq"] for verdict in expected if verdict["verdict"] == "normal")
        line.of_line("feedback", seq=passed, kind="missed", note="a scratch")
        line.of_line("pause")
        shots_before, audit_before = line.shots(), line.audit()
    with line.service(ROOT):
        status = line.ask("status")["lines"]["one"]
        assert (status["state"], status["provisional"], status["seq"]) == ("paused", False, PARTS)
        line.of_line("resume")
        found = line.judge("after")
        assert line.shots() == shots_before
        assert line.audit()[: len(audit_before)] == audit_before
        assert line.of_line("history", count=PARTS * 2)["verdicts"][-1]["part_id"] == "before-0"
    assert [verdict["seq"] for verdict in found] == list(range(PARTS + 1, 2 * PARTS + 1))
    assert {verdict["recipe"]["number"] for verdict in found} == {1}
    for old, new in zip(expected, found, strict=True):
        assert (old["verdict"], old["threshold"], old["bank"]["shots"]) == (
            new["verdict"],
            new["threshold"],
            new["bank"]["shots"],
        )
    largest = max(abs(old["score"] - new["score"]) for old, new in zip(expected, found, strict=True))
    print(f"{PARTS} parts of {BEFORE} judged again: the largest difference of a score is {largest:g}")
    assert largest == 0
