"""Changeover of all lines at once, to packs that are not compiled yet."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from edge.service import Service
from edge.settings import Settings
from tests.support.mosquitto import Mosquitto, client, eventually, subscribe

PACKS = {"one": "tile", "two": "cable", "three": "zipper", "four": "capsule"}
DEADLINE_MS = 5000


def test_four_lines_change_over_at_once_and_judge_meanwhile(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Red on the old code: three of four are answered `'NoneType' object has no attribute 'encode_text'`."""
    camera = {"source": "sim:bottle?seed=1&rate=2"}
    settings = Settings(
        service={"state_dir": tmp_path / "state", "runtime_dir": tmp_path},
        model={"name": "untrained", "weights": None, "device": "cpu", "dtype": "fp32", "store": tmp_path / "models"},
        method={"scales": (3,), "stride": 3},
        mqtt={"host": mosquitto.host, "port": mosquitto.port},
        archive={"dir": tmp_path / "archive", "min_free_gb": 0},
        lines={name: {"pack": "bottle", "camera": camera, "deadline_ms": DEADLINE_MS} for name in PACKS},
    )
    service, stop = Service(settings), threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))

    with subscribe(mosquitto.port, "line/#") as messages, client(mosquitto.port) as plc:

        def verdicts(line: str) -> list[dict[str, Any]]:
            return [json.loads(message.payload) for message in messages.of(f"line/{line}/anomaly")]

        thread.start()
        try:
            eventually(lambda: all(verdicts(line) for line in PACKS), 60)
            before = {line: len(verdicts(line)) for line in PACKS}
            begun = time.monotonic()
            for line, pack in PACKS.items():
                command = {"id": line, "command": "recipe_set", "arguments": {"pack": pack}}
                plc.publish(f"line/{line}/command", json.dumps(command), qos=1)
            eventually(lambda: all(messages.of(f"line/{line}/reply") for line in PACKS), 60)
            took = time.monotonic() - begun
            meanwhile = {line: len(verdicts(line)) - before[line] for line in PACKS}
            last = {line: len(verdicts(line)) for line in PACKS}
            eventually(lambda: all(len(verdicts(line)) > last[line] + 1 for line in PACKS), 30)
        finally:
            stop.set()
            thread.join(30)
        found = {line: verdicts(line) for line in PACKS}
        replies = {line: json.loads(messages.of(f"line/{line}/reply")[-1].payload) for line in PACKS}
    assert [reply.get("refusal") for reply in replies.values()] == [None] * len(PACKS)
    assert {line: reply["result"]["recipe"]["pack"] for line, reply in replies.items()} == PACKS
    for line, of_line in found.items():
        assert of_line[-1]["recipe"]["pack"] == PACKS[line]
        assert [verdict["seq"] for verdict in of_line] == list(range(1, len(of_line) + 1))
        assert {verdict["verdict"] for verdict in of_line} <= {"normal", "anomaly"}
        assert meanwhile[line] >= took / 2, f"{took:.1f} s"  # at 2 a second, and on a busy machine
