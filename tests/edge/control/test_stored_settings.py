"""What a command has set outlives the service, also one that was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core.packs.pack import PackError
from edge.cli.app import app
from edge.control.client import ask
from edge.control.stored_settings import StoredSettings, load_packs, stored_settings
from edge.settings import LineSettings
from edge.storage.history import History
from edge.storage.settings_database import SettingsDatabase
from tests.support.mosquitto import Mosquitto, Subscription, eventually, subscribe
from tests.support.service import Service, toml

PATIENCE_S = 90.0


def lines(pack: str) -> dict[str, LineSettings]:
    return {"one": LineSettings.model_validate({"pack": pack, "camera": {"source": "sim:bottle"}})}


@contextmanager
def opened(folder: Path) -> Iterator[SettingsDatabase]:
    database = SettingsDatabase(folder)
    database.start()
    try:
        yield database
    finally:
        database.stop()


def test_pause_and_pack_are_kept_each_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        assert stored_settings(database, lines("bottle")) == {"one": StoredSettings(None, None)}
        database.run(lambda tables: tables.set_pack("one", "tile", "bottle"))
        database.run(lambda tables: tables.set_paused("one", "eva"))
    with opened(tmp_path) as database:
        assert stored_settings(database, lines("bottle")) == {"one": StoredSettings("tile", "eva")}
        database.run(lambda tables: tables.set_paused("one", None))
        assert stored_settings(database, lines("bottle")) == {"one": StoredSettings("tile", None)}
        database.run(lambda tables: tables.set_pack("one", None, "bottle"))
        assert stored_settings(database, lines("bottle")) == {"one": StoredSettings(None, None)}


def test_a_configuration_that_was_changed_since_is_the_newer_decision_and_stays_so(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        database.run(lambda tables: tables.set_pack("one", "tile", "bottle"))
        assert stored_settings(database, lines("screw"))["one"].pack is None
        assert stored_settings(database, lines("bottle"))["one"].pack is None, "it does not come back"


def test_a_pack_that_was_set_and_is_gone_is_asked_for_and_not_replaced(tmp_path: Path) -> None:
    gone = {"one": StoredSettings(str(tmp_path / "gone.toml"), None)}
    with pytest.raises(PackError, match=r"line one was set to judge by the pack .*gone\.toml.*No such file") as error:
        load_packs(lines("bottle"), gone)
    assert "`alfa-edge recipe reset --line one`" in str(error.value)
    assert "lines.one.pack" in str(error.value)
    assert load_packs(lines("bottle"), {"one": StoredSettings("tile", None)})["one"].name == "tile"
    assert load_packs(lines("bottle"), {})["one"].name == "bottle"


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
        assert "line one was set to judge by the pack" in log
        assert "alfa-edge recipe reset --line one" in log
        reset = CliRunner().invoke(app, ["recipe", "reset", "--config", str(house.config), "--line", "one"])
        assert reset.exit_code == 0, reset.output
        assert "line one: screw" in reset.output
        with opened(tmp_path / "state") as database:
            assert stored_settings(database, lines("screw")) == {"one": StoredSettings(None, None)}
