"""`run` and `doctor` do the same up to the first frame, and say the same: broken setups, and one that is well."""

from __future__ import annotations

import functools
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from PIL import Image

from core.bank.shot_checks import FLAGS
from core.image import encode_png, read
from core.simline import render
from edge.control.offline import offline_dispatcher
from edge.inspection import methods
from edge.inspection.line import Line
from edge.messages import State
from edge.ops.lock import hold_state
from edge.service import Service
from edge.settings import HmiSettings, Settings
from edge.tools import broker_check, dry_run
from edge.tools.check import Check
from edge.tools.doctor import _console, configured, machine
from edge.tools.mendable import mendable
from tests.support.at_rest import asked
from tests.support.gige import GigECamera
from tests.support.mosquitto import Mosquitto, eventually, free_port, subscribe

PATIENCE_S = 60.0
ACL = """
user edge
topic readwrite line/#
user mute
topic write line/+/status
topic readwrite line/+/stats
topic read line/+/trigger
topic read line/+/command
topic readwrite line/+/trigger/sync
user listener
topic read line/#
"""
PASSWORDS = dict.fromkeys(("edge", "mute", "listener"), "secret")
Tables = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    with Mosquitto(users=PASSWORDS, acl=ACL) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """The model is loaded once for all tests: that is what takes longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "load_backbone", functools.cache(methods.load_backbone))
        patch.setattr(broker_check, "TAKEOVER_S", 0.1)
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    """Pytest's own is too deep for a socket."""
    with TemporaryDirectory(prefix="doctor-") as made:
        yield Path(made)


def well(folder: Path, broker: Mosquitto) -> Tables:
    """A service with nothing wrong."""
    return {
        "service": {"state_dir": folder / "state", "runtime_dir": folder / "run"},
        "model": {"name": "untrained", "weights": None, "device": "cpu", "dtype": "fp32"},
        "method": {"scales": [3], "stride": 3},
        "mqtt": {"host": broker.host, "port": broker.port, "username": "edge", "password": "secret"},
        "archive": {"dir": folder / "archive", "min_free_gb": 0},
        "line": {
            "pack": "bottle",
            "threshold_source": "a test",
            "camera": {"source": "sim:bottle?seed=1&defects=0&rate=20"},
        },
    }


def settings_of(tables: Tables, **lines: Any) -> Settings:
    """With line `one`, or with `lines`."""
    others = {name: table for name, table in tables.items() if name != "line"}
    return Settings(**others, lines=lines or {"one": tables["line"]})


@contextmanager
def running(settings: Settings) -> Iterator[Service]:
    """A service that has been loaded. What it raises is raised here."""
    service, stop = Service(settings), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(service.run, stop)
        try:
            while not service.loaded.wait(0.02):
                if run.done():
                    run.result()
            yield service
        finally:
            stop.set()
            run.result(PATIENCE_S)


def run(settings: Settings) -> str:
    """Why the service does not start, or its line is in `fault`; empty where a part was judged and delivered."""
    try:
        with running(settings) as service:
            line, publisher = service.lines["one"], service._publishers["one"]
            eventually(
                lambda: line.health().state == "fault" or (judged(line) and publisher.acknowledged > 0), PATIENCE_S
            )
            health = line.health()
            return str(health.reason) if health.state == "fault" else ""
    except mendable() as error:
        return str(error)


def judged(line: Line) -> bool:
    return any(line.stats_so_far()[kind] for kind in ("normal", "anomaly"))


def doctor(settings: Settings) -> list[Check]:
    return list(configured(settings))


def failed(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check.result == "fail"]


def of_file(folder: Path) -> Path:
    """A path that cannot be made."""
    (folder / "file").write_text("no folder")
    return folder / "file" / "below"


def state_below_a_file(folder: Path, tables: Tables) -> None:
    tables["service"]["state_dir"] = of_file(folder)


def sockets_below_a_file(folder: Path, tables: Tables) -> None:
    tables["service"]["runtime_dir"] = of_file(folder)


def sockets_too_deep(folder: Path, tables: Tables) -> None:
    tables["service"]["runtime_dir"] = folder / ("deep" * 30)


def port_taken(_folder: Path, tables: Tables) -> None:
    tables["metrics"] = {"port": tables["mqtt"]["port"]}  # the broker has it


def console_in_the_way(folder: Path, _tables: Tables) -> None:
    (folder / "run" / "console.sock").mkdir(parents=True)


def journal_is_a_folder(folder: Path, _tables: Tables) -> None:
    (folder / "run" / "answers.journal").mkdir(parents=True)


def no_such_pack(_folder: Path, tables: Tables) -> None:
    tables["line"]["pack"] = "botle"


def no_weights(_folder: Path, tables: Tables) -> None:
    tables["model"] = {"name": "ViT-B-16", "weights": "openai", "device": "cpu"}


def no_device(_folder: Path, tables: Tables) -> None:
    tables["model"]["device"] = "cuda:99"


def odd_method(_folder: Path, tables: Tables) -> None:
    tables["method"] = {"scales": [3], "windows": "strided", "stride": 3}


def no_ca_file(folder: Path, tables: Tables) -> None:
    tables["mqtt"] |= {"tls": True, "ca_file": folder / "ca.crt"}


def no_password_file(folder: Path, tables: Tables) -> None:
    del tables["mqtt"]["password"]
    tables["mqtt"]["password_file"] = folder / "password"


def damaged(name: str, folder: Path) -> None:
    with (folder / "state" / name).open("r+b") as file:
        file.seek(5000)
        file.write(bytes(range(256)) * 30)


def verdicts_damaged(folder: Path, _tables: Tables) -> None:
    damaged("verdicts.db", folder)


def verdicts_lost(folder: Path, _tables: Tables) -> None:
    (folder / "state" / "verdicts.db").unlink()


def pipe_for_verdicts(folder: Path, _tables: Tables) -> None:
    (folder / "state" / "verdicts.db").unlink()
    os.mkfifo(folder / "state" / "verdicts.db")


def settings_damaged(folder: Path, _tables: Tables) -> None:
    damaged("state.db", folder)


def newer_settings(folder: Path, _tables: Tables) -> None:
    with closing(sqlite3.connect(folder / "state" / "state.db")) as database, database:
        database.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('state', '0099', '2030-01-01')"
        )


def features_damaged(folder: Path, _tables: Tables) -> None:
    with closing(sqlite3.connect(folder / "state" / "state.db")) as database, database:
        database.execute("UPDATE features SET crc32 = 0")


def shots_of_another_model(folder: Path, _tables: Tables) -> None:
    """Their features would be made anew, but for their pictures."""
    with closing(sqlite3.connect(folder / "state" / "state.db")) as database, database:
        database.execute("UPDATE features SET fingerprint = 'of another model'")
        database.execute("UPDATE shots SET image = x'00'")


def set_pack_gone(folder: Path, _tables: Tables) -> None:
    """As a command of a version without recipes has set it."""
    row = "INSERT INTO line_settings (line, pack, configured_pack) VALUES ('one', '/nowhere/pack.toml', 'bottle')"
    with closing(sqlite3.connect(folder / "state" / "state.db")) as database, database:
        database.execute("DELETE FROM recipe_revisions")
        database.execute("DELETE FROM recipes")
        database.execute("DELETE FROM line_settings")
        database.execute(row)


def no_windows_and_no_shots(folder: Path, tables: Tables) -> None:
    (folder / "state" / "state.db").unlink()
    (folder / "state" / "verdicts.db").unlink()
    tables["method"] = {"windows": "none"}


def no_right_to_publish(_folder: Path, tables: Tables) -> None:
    tables["mqtt"]["username"] = "mute"


Spoil = Callable[[Path, Tables], None]
TOGETHER: dict[str, dict[Spoil, str]] = {
    "the machine": {
        state_below_a_file: "set service.state_dir",
        sockets_below_a_file: "name a directory that the service can write",
        port_taken: "`ss -ltnp` names it",
        no_device: "cuda:99",
        no_ca_file: "ca.crt: no such file",
    },
    "the configuration": {
        sockets_too_deep: "shorten service.runtime_dir",
        no_such_pack: "botle",
        odd_method: "leave stride 3 at 1",
        no_password_file: "password: no such file",
    },
    "files": {
        console_in_the_way: "console.sock",
        verdicts_damaged: "was left as it is",
        newer_settings: "was written by a newer version",
        no_weights: "model pull ViT-B-16 openai",
    },
    "half a state": {
        verdicts_lost: "verdicts.db is lost",
        journal_is_a_folder: "answers.journal: is a folder",
    },
    "a pipe": {pipe_for_verdicts: "a pipe is in its place"},
    "the bank": {settings_damaged: "was left as it is"},
    "features": {features_damaged: "shots reembed"},
    "shots": {shots_of_another_model: "shot 1: its picture is damaged"},
    "a set pack": {set_pack_gone: "alfa-edge recipe reset --line one"},
    "no shots": {no_windows_and_no_shots: "windows = none needs normal shots"},
    "rights": {no_right_to_publish: "the broker refuses line/one/anomaly: Not authorized"},
}
"""What is spoiled together, and the words for each; what hides another one stands apart."""


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory, broker: Mosquitto, quick: None) -> Path:
    """The state of a service that has run, with a shot."""
    folder = tmp_path_factory.mktemp("used")
    settings = settings_of(well(folder, broker))
    with offline_dispatcher(settings) as dispatcher:
        picture = encode_png(render("bottle", 1, 7, 0.0).image, {})
        assert asked(dispatcher, "enroll", picture, line="one", names=["a"], yes=FLAGS).result is not None
    assert run(settings) == ""
    return folder / "state"


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder; SQLite's own for readers say nothing."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def spoiled(folder: Path, broker: Mosquitto, used: Path, *spoils: Spoil) -> Settings:
    """A service in `folder` with the state of one that has run, and with what is wrong."""
    (folder / "state").mkdir(parents=True)
    for file in ("verdicts.db", "state.db"):
        (folder / "state" / file).write_bytes((used / file).read_bytes())
    tables = well(folder, broker)
    for spoil in spoils:
        spoil(folder, tables)
    return settings_of(tables)


def same(one: str, other: str) -> bool:
    """Whether one of them says what the other does; the names of sockets are new each time."""
    one, other = (re.sub(r"-[0-9a-f]{8}\.sock", "", text) for text in (one, other))
    return one in other or other in one


@pytest.mark.parametrize("spoils", TOGETHER.values(), ids=TOGETHER)
def test_what_keeps_the_service_from_running_is_said_by_both(
    spoils: dict[Spoil, str], used: Path, broker: Mosquitto, folder: Path
) -> None:
    together = folder / "all"
    settings = spoiled(together, broker, used, *spoils)
    before = contents(together)
    found = {check.detail for check in failed(doctor(settings))}
    assert contents(together) == before
    assert len(found) == len(spoils), found
    for number, (spoil, words) in enumerate(spoils.items()):
        alone = folder / str(number)
        said = run(spoiled(alone, broker, used, spoil)).replace(str(alone), str(together))
        assert words in said
        assert any(same(detail, said) for detail in found), said


def test_what_keeps_a_line_from_judging_is_said_by_both(broker: Mosquitto, folder: Path) -> None:
    """So is an archive that takes nothing, which costs no verdict."""
    tables = well(folder, broker)
    tables["archive"]["dir"] = of_file(folder)
    lines: dict[str, dict[str, Any]] = {
        "well": {},
        "gone": {"camera": {"source": "/dev/video99"}},
        "other": {"health": {"size": [64, 48]}},
        "outside": {"roi": {"x": 4000, "y": 0, "width": 64, "height": 64}},
    }
    settings = settings_of(tables, **{name: tables["line"] | more for name, more in lines.items()})
    found = {check.name: check.detail for check in failed(doctor(settings))}
    assert set(found) == {"archive", "line gone: camera", "line other: camera", "line outside: camera"}
    assert "the archive takes no pictures" in found["archive"]
    assert "/dev/video99: no such device" in found["line gone: camera"]
    assert "not the 64 x 48 of health.size" in found["line other: camera"]
    assert re.search(r"x=4000 .* is not inside the frame of \d+ x \d+", found["line outside: camera"])

    def states() -> dict[str, State]:
        return {name: line.health().state for name, line in service.lines.items()}

    with running(settings) as service:
        eventually(lambda: states() == dict.fromkeys(lines, "fault") | {"well": "running"}, PATIENCE_S)
        for name in ("gone", "other", "outside"):
            health = service.lines[name].health()
            assert same(found[f"line {name}: camera"], str(health.reason))
            assert (health.level, bool(health.remedy)) == ("fault", True)
        health = service.lines["well"].health()
        assert (health.level, health.components["disk"].reason) == ("warning", found["archive"])


def test_a_broker_that_refuses_the_user_is_said_by_both(broker: Mosquitto, folder: Path) -> None:
    """The line judges all the same, and its verdicts wait on disk; but no light is green."""
    settings = settings_of(well(folder, broker))
    settings = settings.model_copy(update={"mqtt": settings.mqtt.model_copy(update={"username": "nobody"})})
    (found,) = failed(doctor(settings))
    assert "check mqtt.username and mqtt.password" in found.detail
    with running(settings) as service:
        line = service.lines["one"]
        eventually(lambda: line.health().components["broker"].reason == found.detail, PATIENCE_S)
        eventually(lambda: judged(line), PATIENCE_S)
        assert (line.health().state, line.health().level) == ("running", "warning")


def test_what_is_well_is_green_in_both_and_nothing_is_left_or_disturbed(broker: Mosquitto, folder: Path) -> None:
    settings = settings_of(well(folder, broker) | {"metrics": {"port": free_port()}})
    with subscribe(broker.port, "line/#", user="listener", password="secret") as heard:
        found = {check.name: check for check in doctor(settings)}
        live = {message.topic for message in heard.messages if not message.retained}
    assert failed(list(found.values())) == []
    assert live <= {"line/one/trigger/sync"}
    assert list(folder.iterdir()) == [], "not even a folder"
    assert (found["line one: camera"].result, found["line one: topics"].result) == ("ok", "ok")
    assert "the smallest defect that is seen has about 2 pixels along each side" in found["line one: camera"].detail
    assert found["line one: recipe"].detail.startswith("default: alfa, bottle, 0 shots, threshold 0.5")
    with running(settings) as service:
        line = service.lines["one"]
        eventually(lambda: judged(line), PATIENCE_S)
        beside = {check.name: check for check in doctor(settings)}
        assert failed(list(beside.values())) == []
        assert (beside["state"].result, "a service, or a command, is at work" in beside["state"].detail) == (
            "note",
            True,
        )
        assert "may have it" in beside["metrics"].detail
        assert (line.health().state, line.health().level) == ("running", "ok")
        assert service._publishers["one"].connected


def test_a_restored_backup_is_looked_at_and_begins_no_generation(used: Path, broker: Mosquitto, folder: Path) -> None:
    settings = spoiled(folder, broker, used)
    with closing(sqlite3.connect(folder / "state" / "verdicts.db")) as database, database:
        database.execute("INSERT INTO facts VALUES ('copied_at', '2026-01-31T06:00:00.000Z')")
    before = contents(folder)
    assert failed(doctor(settings)) == []
    assert contents(folder) == before


def test_a_camera_whose_pictures_cannot_be_read_is_said(broker: Mosquitto, folder: Path) -> None:
    folder = folder / "pictures"
    folder.mkdir()
    Image.fromarray(render("tile", 1, 1, 0.0, size=480).image).save(folder / "0.png")
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:400])
    tables = well(folder, broker)
    tables["line"]["camera"] = {"source": str(folder)}
    (found,) = failed(doctor(settings_of(tables)))
    assert (found.name, "0.png" in found.detail) == ("line one: camera", True)


def test_the_lock_is_not_left_where_it_was_not(folder: Path) -> None:
    with dry_run._held(folder / "a" / "state"):
        assert (folder / "a" / "state" / "state.lock").exists()
    assert list(folder.iterdir()) == []
    hold_state(folder / "state").close()
    with dry_run._held(folder / "state"):
        pass
    assert (folder / "state" / "state.lock").exists()


def test_an_extra_that_is_not_here_is_named_with_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {check.name: check for check in machine()}
    assert (found["extra photo"].result, found["extra evaluate"].result) == ("ok", "ok")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = {check.name: check for check in machine()}
    assert found["extra photo"].result == "note"
    assert "needed for shots of the bundled model: install the extra photo with `" in found["extra photo"].detail


def test_a_gige_camera_is_opened_its_modes_told_and_its_picture_drawn(
    gige: GigECamera, broker: Mosquitto, folder: Path
) -> None:
    tables = well(folder, broker)
    tables["line"] |= {
        "mode": "trigger",
        "roi": {"x": 64, "y": 64, "width": 320, "height": 320},
        "camera": {"source": gige.source, "trigger": "software", "features": {"ExposureTimeAbs": 9000}},
        "health": {"flat": False},  # the camera gives a test picture
    }
    checks = {check.name: check for check in configured(settings_of(tables), folder / "pictures")}
    modes, camera = checks["line one: camera's modes"], checks["line one: camera"]
    assert modes.result == "ok"
    assert "PixelFormat Mono8 (" in modes.detail
    assert camera.result == "ok", camera.detail
    assert "a frame of 512 x 512" in camera.detail
    assert f"drawn in {folder / 'pictures' / 'one.png'}" in camera.detail
    assert read(folder / "pictures" / "one.png").shape == (512, 512, 3)


def test_a_camera_that_waits_for_its_signal_is_no_failure(gige: GigECamera, broker: Mosquitto, folder: Path) -> None:
    tables = well(folder, broker)
    tables["line"]["camera"] = {"source": gige.source, "trigger": "line", "read_timeout_s": 1.0}
    checks = {check.name: check for check in configured(settings_of(tables))}
    camera = checks["line one: camera"]
    assert (camera.result, camera.detail) == ("note", "it is open; no signal came to its input in 1 s")


def test_the_doctor_says_whether_the_console_in_the_browser_would_start(tmp_path: Path) -> None:
    lines = {"one": {"pack": "bottle", "camera": {"source": "sim:bottle"}}}
    settings = Settings(service={"state_dir": tmp_path}, hmi={"listen": "0.0.0.0"}, lines=lines)
    (check,) = _console(settings)
    assert check.result == "note"  # the service runs without it
    assert "alfa-edge users add" in check.detail
    (check,) = _console(settings.model_copy(update={"hmi": HmiSettings()}))
    assert "http://127.0.0.1:8480/" in check.detail
    assert "no users" in check.detail
