"""What runs, how it is, and who changed what, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge import __version__
from edge.control.dispatcher import Dispatcher
from edge.control.protocol import ConsoleRequest
from edge.ops.device import memory_bytes, temperature_celsius
from edge.settings import ArchiveSettings
from edge.storage.archive import Archive
from tests.support.at_rest import asked
from tests.support.past import with_past


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatcher]:
    with with_past(tmp_path_factory.mktemp("past")) as dispatcher:
        yield dispatcher


def done(dispatcher: Dispatcher, command: str, **arguments: Any) -> dict[str, Any]:
    reply = asked(dispatcher, command, **arguments)
    assert reply.refusal is None, reply.refusal
    assert json.loads(reply.model_dump_json())["result"]
    return reply.result or {}


def test_what_runs_is_named_with_its_licence(dispatcher: Dispatcher) -> None:
    found = done(dispatcher, "about")
    assert (found["version"], found["node"]) == (__version__, dispatcher.service.node)
    assert set(found["lines"]) == {"one", "two"}
    assert found["lines"]["one"]["model"]["name"].startswith("untrained")
    packages = {package["name"].lower(): package for package in found["packages"]}
    assert {"torch", "pydantic", "numpy"} <= set(packages)
    assert "mit" in packages["pydantic"]["licence"].lower()
    assert all(len(package["licence"]) < 200 and "\n" not in package["licence"] for package in packages.values())
    unknown = [name for name, package in packages.items() if not package["licence"]]
    assert len(unknown) < len(packages) / 10, unknown


def test_the_health_has_lines_alarms_disks_archive_and_device(dispatcher: Dispatcher) -> None:
    dispatcher.alarms.raise_("descriptors", "a test")
    found = done(dispatcher, "health")
    dispatcher.alarms.clear("descriptors")
    one = found["lines"]["one"]
    assert (one["state"], bool(one["remedy"])) == ("stopped", True)
    assert "outbox_verdicts" in one["figures"]
    [alarm] = found["alarms"]
    assert (alarm["code"], alarm["line"], alarm["severity"], alarm["message"]) == (
        "descriptors",
        None,
        "warning",
        "a test",
    )
    assert (alarm["message"], bool(alarm["remedy"])) == ("a test", True)
    assert [disk["role"] for disk in found["disks"]] == ["state", "archive"]
    assert all(0 < disk["free_bytes"] <= disk["total_bytes"] for disk in found["disks"])
    assert found["archive"]["fault"] is None
    assert found["devices"] == {"cpu": {"memory_bytes": None, "temperature_celsius": None}}


def test_a_disk_that_is_gone_is_said_to_be(
    dispatcher: Dispatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "archive", Archive(ArchiveSettings(dir=tmp_path / "gone")))
    state, archive = done(dispatcher, "health")["disks"]
    assert state["fault"] is None
    assert (archive["free_bytes"], archive["fault"]) == (None, f"{tmp_path}/gone: No such file or directory")


def test_nothing_is_asked_of_a_device_that_is_none() -> None:
    assert memory_bytes("cpu") is None
    assert temperature_celsius("cpu") is None


def test_the_audit_is_read_page_by_page_and_names_who_asked_through_a_console(dispatcher: Dispatcher) -> None:
    for number in range(5):
        arguments = {"line": "one", "threshold": number / 10}
        request = ConsoleRequest(id="1", command="threshold", arguments=arguments, who="eva", uid=0)
        assert dispatcher.answer(request, ())[0].refusal is None
    first = done(dispatcher, "audit", count=2)["entries"]
    second = done(dispatcher, "audit", count=2, before_id=first[-1]["id"])["entries"]
    third = done(dispatcher, "audit", count=2, before_id=second[-1]["id"])["entries"]
    entries = first + second + third
    assert [entry["id"] for entry in entries] == [5, 4, 3, 2, 1]
    assert {(entry["who"], entry["claimed"]) for entry in entries} == {("root", "eva")}
    assert asked(dispatcher, "audit", before_id=0).refusal is not None
    assert dispatcher.line("one").recipe.wire.threshold_source.startswith("set by eva (root)")
