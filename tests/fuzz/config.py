"""Configurations, by `alfa-edge config check` and `config show`: fine, or problems in words and exit code 2."""

from __future__ import annotations

import contextlib
import io
import os
import random
from pathlib import Path
from typing import Any

from typer.main import get_command

from edge.cli.app import app
from edge.tools.tables import example
from tests.fuzz import hostile
from tests.fuzz.canaries import CAMERA, PASSWORD, key_file, plant_environment
from tests.fuzz.tally import Outcome

_REFUSED = 2
_SOURCES = (f"rtsp://user:{CAMERA}@cam.local/1", "/dev/video0", "sim:bottle", "gst:videotestsrc", "parts", "film.mp4")


class Configurations:
    """Secrets stand in the file where people put them, and in the environment; they are in nothing that is printed."""

    def __init__(self, folder: Path) -> None:
        plant_environment()
        self._folder = folder
        self._command: Any = get_command(app)
        self._example = example().encode()
        key = key_file(folder)
        self._tables: dict[str, Any] = {
            "service": {"node": "box-1", "state_dir": str(folder / "state"), "stats_interval_s": 5.0},
            "model": {"name": "bundled", "device": "cpu", "dtype": "fp32", "batch": 4},
            "method": {"scales": [2, 3], "windows": "exact", "few_shot": "evidence"},
            "mqtt": {
                "host": "localhost",
                "port": 1883,
                "username": "edge",
                "password": PASSWORD,
                "tls": True,
                "cert_file": str(key),
                "key_file": str(key),
                "version": "5",
            },
            "archive": {"dir": str(folder / "archive"), "days": 3.0},
            "history": {"days": 9.0},
            "metrics": {"port": 9100},
            "lines": {
                "press-1": {
                    "mode": "trigger",
                    "pack": "bottle",
                    "threshold": 0.5,
                    "camera": {"source": _SOURCES[0], "rate": 2.0},
                    "health": {"size": [640, 480]},
                    "roi": {"x": 1, "y": 1, "width": 64, "height": 64},
                    "shots": {"augment": "none"},
                },
                "press-2": {"camera": {"source": "sim:bottle"}},
            },
        }

        for content in ("", hostile.toml(self._tables)):  # a command brings in what it needs
            (folder / "edge.toml").write_text(content)
            for command in ("check", "show"):
                self._run(command, folder / "edge.toml")

    def run(self, chance: random.Random) -> Outcome:
        path = self._file(chance)
        command = "show" if chance.random() < 0.3 else "check"
        removed = self._variables(chance)
        try:
            return self._run(command, path)
        finally:
            for name in removed:
                os.environ.pop(name, None)

    def _run(self, command: str, path: Path) -> Outcome:
        code: object = None
        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
            try:
                self._command.main(["config", command, "--config", str(path)], prog_name="alfa-edge")
            except SystemExit as end:
                code = end.code
        assert code in (0, _REFUSED), f"exit code {code}: {said.getvalue()[-500:]}"
        assert code == 0 or said.getvalue().strip(), "refused without a word"
        return Outcome(refused=code != 0, said=said.getvalue())

    def close(self) -> None:
        """It holds nothing."""

    def _file(self, chance: random.Random) -> Path:
        path, kind = self._folder / "edge.toml", chance.randrange(10)
        if kind < 5:
            tables: Any = self._tables
            for _ in range(chance.choice((1, 1, 2, 4))):
                tables = hostile.replaced(chance, tables, _setting)
            path.write_bytes(hostile.toml(tables, chance).encode("utf-8", "surrogatepass"))
        elif kind < 7:
            # An address without its `@` names no password that anybody could tell from a host.
            text = hostile.toml(self._tables).replace(CAMERA, "secret")
            path.write_bytes(hostile.damaged(chance, text.encode()))
        elif kind == 7:
            path.write_bytes(hostile.damaged(chance, self._example))
        elif kind == 8:
            path.write_bytes(
                hostile.nested(chance) if chance.random() < 0.5 else (b"a." * chance.choice((90, 9000)) + b"b=1")
            )
        else:
            return self._no_file(chance)
        return path

    def _no_file(self, chance: random.Random) -> Path:
        kind = chance.randrange(6)
        path = self._folder / f"odd-{kind}.toml"
        if not os.path.lexists(path):
            if kind == 0:
                os.mkfifo(path)
            elif kind == 1:
                path.mkdir()
            elif kind == 2:
                path.symlink_to(path)
            elif kind == 3:
                path.symlink_to("/dev/zero")
            elif kind == 4:
                path.write_bytes(b"# " + bytes(1 << 20))
        return path if kind < 5 else self._folder / "x".join(map(str, range(chance.randrange(1, 200))))

    def _variables(self, chance: random.Random) -> list[str]:
        """Variables of the service that are set to something for one run; their names."""
        if chance.random() < 0.85:
            return []
        name = "ALFA_EDGE_" + chance.choice(
            ("MQTT__PASSWORD", "MQTT", "LINES", "MODEL__BATCH", "METHOD__SCALES", "SERVICE", "X__Y")
        )
        value = chance.choice((PASSWORD, f'{{"password": "{PASSWORD}"', "[", "{}", "-1", "null", "1e999"))
        if PASSWORD in value and "MQTT" not in name:  # nobody could tell that it is one
            value = "[]"
        os.environ[name] = value
        return [name]


def _setting(chance: random.Random) -> Any:
    """What may stand for a setting, secrets in the wrong place among it."""
    if chance.random() < 0.75:
        return hostile.value(chance)
    return chance.choice(
        (*_SOURCES, f"http://{CAMERA}@cam/", {"pasword": PASSWORD}, ["/dev/zero"], "cuda:99", "/dev/zero")
    )
