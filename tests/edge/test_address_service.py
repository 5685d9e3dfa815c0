"""A service whose cameras' addresses hold secrets: what it says anywhere holds none of them."""

from __future__ import annotations

import io
import json
import logging
import threading
from pathlib import Path

import pytest

from edge.control.client import ask
from edge.ops.logs import setup_logs
from edge.service import Service
from edge.settings import Settings
from edge.tools.dry_run import dry_run
from tests.edge.test_address import FINE, seen
from tests.support.mosquitto import Mosquitto, eventually, subscribe

FORMS = ("encoded 2F", "XMEye", "a token in the path", "gst, properties")
PATIENCE_S = 60.0


def settings_of(mosquitto: Mosquitto, folder: Path) -> Settings:
    return Settings(
        service={"state_dir": folder / "state", "runtime_dir": folder},
        model={"name": "untrained", "weights": None, "device": "cpu", "dtype": "fp32"},
        method={"scales": [3], "stride": 3},
        mqtt={"host": mosquitto.host, "port": mosquitto.port},
        lines={
            f"line-{number}": {
                "pack": "bottle",
                "mode": "trigger",
                "deadline_ms": 20_000,
                "camera": {"source": FINE[form], "open_timeout_s": 0.3, "retry_s": 0.2},
            }
            for number, form in enumerate(FORMS)
        },
    )


def test_what_a_service_says_of_its_cameras_holds_nothing_secret(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, log, stop = settings_of(mosquitto, tmp_path), io.StringIO(), threading.Event()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    setup_logs(logging.DEBUG, "text", log)
    try:
        service = Service(settings)
        thread = threading.Thread(target=service.run, args=(stop,))
        with subscribe(mosquitto.port, "line/#") as messages:
            thread.start()
            socket = tmp_path / "console.sock"
            for line in settings.lines:
                eventually(lambda line=line: bool(messages.of(f"line/{line}/status")), PATIENCE_S)
            eventually(socket.exists, PATIENCE_S)
            for line in settings.lines:
                ask(socket, "trigger", {"line": line, "part_id": "A"}, timeout_s=PATIENCE_S)
                eventually(lambda line=line: bool(messages.of(f"line/{line}/anomaly")), PATIENCE_S)
            asked = [ask(socket, command, {}, timeout_s=PATIENCE_S)[0] for command in ("status", "audit")]
            stop.set()
            thread.join(PATIENCE_S)
            said = [message.payload.decode(errors="replace") for message in messages.messages]
        doctor = [str(check) for check in dry_run(settings)]
    finally:
        logging.basicConfig(level=level, handlers=handlers, force=True)
    verdicts = [json.loads(text) for text in said if '"verdict"' in text and '"seq"' in text]
    assert {verdict["error"]["code"] for verdict in verdicts if "error" in verdict} == {"camera_no_frame"}
    assert any("127.0.0.1:9" in text for text in said), "the fault names the camera"
    for text in (*said, *map(json.dumps, asked), *doctor, *log.getvalue().splitlines()):
        assert seen(text) == [], text
