"""What somebody does to the files of the state: the service says so, and answers every part."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edge.control.client import ask
from tests.support.enrolling import BAD_INPUT, write_config
from tests.support.mosquitto import Mosquitto, Subscription, subscribe
from tests.support.service import Service
from tests.support.state import STATE, VERDICTS, open_state

pytestmark = pytest.mark.timeout(120)


def state_of(heard: Subscription) -> dict[str, Any]:
    """What the line has said last of its state."""
    said = heard.of("line/one/status")
    return dict(json.loads(said[-1].payload)) if said else {"state": "none"}


def test_a_database_that_is_deleted_is_a_fault_until_it_is_back(tmp_path: Path) -> None:
    with Mosquitto() as broker, subscribe(broker.port, "line/#") as heard:
        config = write_config(tmp_path, broker)
        socket, file = tmp_path / "console.sock", tmp_path / "state" / VERDICTS

        def judged(part: str) -> dict[str, Any]:
            return dict(ask(socket, "trigger", {"line": "one", "part_id": part})[0]["verdict"])

        with Service(config) as service:
            service.until(lambda: state_of(heard)["state"] == "running", "line that runs")
            first = judged("before")
            file.rename(tmp_path / "moved")
            service.until(lambda: state_of(heard)["state"] == "fault", "fault", 5)
            said = state_of(heard)
            assert f"database {file} was deleted or moved away while it was open: put it back" in said["reason"]
            assert "`alfa-edge restore FOLDER`" in said["reason"]
            assert "state_lost" in {alarm["code"] for alarm in said["alarms"]}
            answer = judged("meanwhile")
            assert (answer["error"]["code"], answer["seq"]) == ("state_failed", first["seq"] + 1)
            (tmp_path / "moved").rename(file)
            service.until(lambda: state_of(heard)["state"] == "running", "line that runs", 10)
            assert "error" not in judged("after")
            file.unlink()
            service.until(lambda: state_of(heard)["state"] == "fault", "fault", 5)
            assert service.stop() == 0
            assert file.exists()  # it has written back what it had
        file.unlink()
        with Service(config) as service:
            assert service.process is not None
            assert service.process.wait(20) == BAD_INPUT
        assert f"{VERDICTS} is lost" in service.log.read_text()
        assert f"`alfa-edge restore --without {VERDICTS}`" in service.log.read_text()


@pytest.mark.parametrize("file", [VERDICTS, STATE])
def test_a_pipe_in_the_place_of_a_database_is_refused_at_once(tmp_path: Path, file: str) -> None:
    with Mosquitto() as broker:
        config = write_config(tmp_path, broker)
        with open_state(tmp_path / "state") as state:
            state.issue(1)
        (tmp_path / "state" / file).unlink()
        os.mkfifo(tmp_path / "state" / file)
        with Service(config) as service:
            assert service.process is not None
            assert service.process.wait(20) == BAD_INPUT
    assert f"database {tmp_path / 'state' / file}: a pipe is in its place" in service.log.read_text()
    assert "Traceback" not in service.log.read_text()
