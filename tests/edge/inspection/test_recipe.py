"""Another pack under a running line."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.packs.pack import load_pack
from edge.control.protocol import Request
from edge.service import Service
from edge.settings import Settings
from tests.support.mosquitto import Mosquitto, subscribe
from tests.support.quick import TABLE


@pytest.fixture
def running(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[tuple[Service, Callable[[], list[dict[str, Any]]]]]:
    """A line that judges bottles, and its verdicts so far."""
    settings = Settings(
        service={"state_dir": tmp_path / "state"},
        model={"name": "untrained", "weights": None, "device": "cpu", "dtype": "fp32", "store": tmp_path / "models"},
        method=TABLE,
        mqtt={"host": mosquitto.host, "port": mosquitto.port},
        lines={"one": {"pack": "bottle", "camera": {"source": "sim:bottle?seed=1&rate=20"}}},
    )
    service, stop = Service(settings), threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))
    with subscribe(mosquitto.port, "line/one/anomaly") as messages:
        thread.start()

        def verdicts() -> list[dict[str, Any]]:
            return [json.loads(one.payload) for one in messages.of("line/one/anomaly")]

        try:
            more(verdicts, 2)
            yield service, verdicts
        finally:
            stop.set()
            thread.join(30)


def more(verdicts: Callable[[], list[dict[str, Any]]], count: int) -> list[dict[str, Any]]:
    """Waits for so many more verdicts; all of them."""
    wanted, end = len(verdicts()) + count, time.monotonic() + 60
    while len(verdicts()) < wanted:
        assert time.monotonic() < end, "no more verdicts"
        time.sleep(0.02)
    return verdicts()


Running = tuple[Service, Callable[[], list[dict[str, Any]]]]


def set_pack(service: Service, pack: str) -> str | None:
    """Has the line judge by another pack; why it does not."""
    assert service.dispatcher is not None
    request = Request(id="1", command="recipe_set", arguments={"line": "one", "pack": pack}, who="eva")
    refusal = service.dispatcher.answer(request, ())[0].refusal
    return None if refusal is None else refusal.message


def test_it_takes_effect_between_two_frames(running: Running) -> None:
    service, verdicts = running
    set_pack(service, "tile")
    found = more(verdicts, 4)
    packs = [one["recipe"]["pack"] for one in found]
    assert packs == sorted(packs)  # bottles, then tiles, and never back
    assert set(packs) == {"bottle", "tile"}
    assert [one["seq"] for one in found] == list(range(1, len(found) + 1))
    for one in found:
        pack = load_pack(one["recipe"]["pack"])
        assert one["recipe"]["pack_sha256"] == pack.sha256
        assert {reason["text"] for reason in one["explanation"]} <= set(pack.descriptors)


def test_a_pack_that_is_not_right_leaves_the_old_one(running: Running, tmp_path: Path) -> None:
    service, verdicts = running
    broken = tmp_path / "broken.toml"
    broken.write_text("schema = 1\n")
    assert re.search(r"broken\.toml", set_pack(service, str(broken)) or "")
    found = more(verdicts, 3)
    assert {one["recipe"]["pack"] for one in found} == {"bottle"}
    assert {one["verdict"] for one in found} <= {"normal", "anomaly"}
