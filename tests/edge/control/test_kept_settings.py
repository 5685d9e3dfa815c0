"""What a command has set outlives the service, also one that was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from edge.cli.app import app
from edge.control.client import ask
from edge.storage.history import History
from tests.support.mosquitto import Mosquitto, Subscription, eventually, subscribe
from tests.support.service import Service, toml

PATIENCE_S = 90.0


class House:
    """A configuration, its service, and what it has said on the broker."""

    def __init__(self, folder: Path, broker: Mosquitto, messages: Subscription) -> None:
        self.messages = messages
        self.config = folder / "edge.toml"
        self.socket = folder / "console.sock"
        self.tables: dict[str, dict[str, Any]] = {
            "service": {"state_dir": str(folder / "state"), "runtime_dir": str(folder)},
            "model": {"name": "untrained", "device": "cpu", "dtype": "fp32", "store": str(folder / "models")},
            "method": {"scales": [3], "stride": 3},
            "mqtt": {"host": broker.host, "port": broker.port},
            "lines.one": {"pack": "bottle"},
            "lines.one.camera": {"source": "sim:bottle?rate=10"},
        }

    @contextmanager
    def service(self) -> Iterator[Service]:
        """The service, once it answers."""
        self.config.write_text(toml(self.tables))
        self.socket.unlink(missing_ok=True)
        with Service(self.config) as service:
            service.until(self.socket.is_socket, "console", PATIENCE_S)
            yield service

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        return ask(self.socket, command, arguments, timeout_s=PATIENCE_S)[0]

    def line(self) -> dict[str, Any]:
        return dict(self.ask("status")["lines"]["one"])

    def verdicts(self) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.messages.of("line/one/anomaly")]


def test_a_killed_service_comes_back_paused_and_with_the_pack_that_was_set(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with subscribe(mosquitto.port, "line/#") as messages:
        house = House(tmp_path, mosquitto, messages)
        with house.service() as service:
            eventually(lambda: bool(house.verdicts()), PATIENCE_S)
            house.ask("recipe_set", line="one", pack="tile")
            house.ask("threshold", line="one", threshold=0.75)
            house.ask("pause", line="one")
            assert service.process is not None
            service.process.kill()
            service.process.wait()
        last = History(tmp_path / "state").last_seq("one")

        def later() -> list[dict[str, Any]]:
            """What the second run has issued; it also sends what the first one could not."""
            return [verdict for verdict in house.verdicts() if verdict["seq"] > last]

        with house.service() as service:
            line = house.line()
            assert (line["state"], line["recipe"]["pack"], line["threshold"]) == ("paused", "tile", 0.75)
            assert line["reason"].startswith("by ")
            assert house.ask("trigger", line="one", part_id="p")["verdict"]["error"]["code"] == "paused"
            assert [verdict for verdict in later() if verdict["verdict"] != "error"] == []
            house.ask("resume", line="one")
            eventually(lambda: any(verdict["verdict"] != "error" for verdict in later()), PATIENCE_S)
            assert {verdict["recipe"]["pack"] for verdict in later()} == {"tile"}
            assert service.stop() == 0

        house.tables["lines.one"]["pack"] = "screw"  # a person has decided anew
        with house.service() as service:
            line = house.line()
            assert (line["state"] == "paused", line["recipe"]["pack"]) == (False, "screw")
            pack = tmp_path / "own.toml"
            pack.write_text((Path(__file__).parents[3] / "prompt_packs" / "tile.toml").read_text())
            house.ask("recipe_set", line="one", pack=str(pack))
            assert service.stop() == 0

        pack.unlink()
        house.config.write_text(toml(house.tables))
        with Service(house.config) as service:
            assert service.process is not None
            assert service.process.wait(PATIENCE_S) == 2
        log = service.log.read_text()
        assert "recipe default of line one judges by the pack" in log
        assert "alfa-edge recipe reset --line one" in log
        reset = CliRunner().invoke(app, ["recipe", "reset", "--config", str(house.config), "--line", "one"])
        assert reset.exit_code == 0, reset.output
        assert "line one: recipe default (1), pack screw" in reset.output
