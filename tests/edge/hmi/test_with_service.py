"""The console beside a real service: what a script reads and does, who did it, and what is live."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from core.image import decode, encode_jpeg
from core.simline import render
from tests.support.hmi import Browser, add_people, console, until
from tests.support.mosquitto import Mosquitto, free_port
from tests.support.running import Running, service, settings_of

pytestmark = pytest.mark.timeout(240)


@dataclass
class Plant:
    """A service with a line, and its console."""

    running: Running
    browser: Browser
    tokens: dict[str, str]

    def script(self, role: str) -> Browser:
        return Browser(self.browser.port, token=self.tokens[role])

    def read(self, path: str) -> Any:
        answer = self.script("view").get(f"/api/v1{path}")
        assert answer.status == 200, answer.body
        return answer.json

    def live(self, lines: str = "one") -> ClientConnection:
        headers = {"authorization": f"Bearer {self.tokens['view']}"}
        return connect(f"ws://{self.browser.host}/live?lines={lines}", additional_headers=headers)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    with Mosquitto() as mosquitto:
        settings = settings_of(mosquitto, folder)
        (folder / "state").mkdir(exist_ok=True)
        with service(mosquitto, folder, threshold=0.0) as running:  # each part is an anomaly, and so archived
            own = settings.model_copy(
                update={
                    "hmi": settings.hmi.model_copy(update={"port": free_port(), "users_file": folder / "users.toml"})
                }
            )
            tokens = add_people(own, folder / "users.toml")
            with console(own) as browser:
                found = Plant(running, browser, tokens)
                until(lambda: found.script("view").get("/api/v1/lines").status == 200, "service", 60)
                until(lambda: len(found.read("/lines/one/verdicts")["verdicts"]) > 8, "verdicts", 60)
                yield found


def test_lines_and_verdicts_are_read_page_by_page(plant: Plant) -> None:
    assert plant.read("/lines")["lines"]["one"]["state"] in ("ready", "running")
    first = plant.read("/lines/one/verdicts?count=3")
    numbers = [entry["seq"] for entry in first["verdicts"]]
    second = plant.read(f"/lines/one/verdicts?count=3&before_seq={first['before_seq']}")
    assert numbers == sorted(numbers, reverse=True)
    assert [entry["seq"] for entry in second["verdicts"]] == [numbers[-1] - 1 - place for place in range(3)]
    kinds = plant.read("/lines/one/verdicts?kinds=normal&kinds=anomaly&min_score=0&max_score=1&count=5")["verdicts"]
    assert {entry["verdict"] for entry in kinds} <= {"normal", "anomaly"}
    assert plant.read("/lines/one/counts")["counts"]
    assert plant.read("/lines/one/trend?since=2026-01-01T00:00:00Z&buckets=2")["buckets"]
    assert plant.read("/recipes")
    assert plant.read("/about")["version"]
    assert plant.read("/health")


def test_a_verdict_has_its_picture_and_its_map(plant: Plant) -> None:
    seq = plant.read("/lines/one/verdicts?kinds=anomaly&count=1")["verdicts"][0]["seq"]
    path = f"/lines/one/verdicts/{seq}"
    assert plant.read(path)["verdict"]["seq"] == seq
    until(lambda: plant.script("view").get(f"/api/v1{path}/picture").status == 200, "picture")
    picture = plant.script("view").get(f"/api/v1{path}/picture")
    assert picture.headers["content-type"] == "image/jpeg"
    assert decode(picture.body, "picture").ndim == 3
    small = plant.script("view").get(f"/api/v1/lines/one/thumbnails/{seq}?size=64")
    assert max(decode(small.body, "thumbnail").shape) == 64
    heatmap = plant.script("view").get(f"/api/v1{path}/map")
    assert (heatmap.status, heatmap.headers["content-type"]) == (200, "image/png")


def test_what_does_not_exist_or_is_asked_for_wrongly_is_said(plant: Plant) -> None:
    for path, status, code in (
        ("/lines/none/verdicts", 409, "refused"),
        ("/lines/one/verdicts/999999999", 409, "refused"),
        ("/lines/one/verdicts?count=0", 422, "bad_arguments"),
        ("/lines/one/verdicts?count=1&count=2", 422, "bad_arguments"),
        ("/lines/one/verdicts?nonsense=1", 422, "bad_arguments"),
        ("/lines/one/verdicts/x", 422, "bad_arguments"),
        ("/shots/99999/picture", 409, "refused"),
        ("/nothing", 404, "not_found"),
    ):
        answer = plant.script("view").get(f"/api/v1{path}")
        assert (answer.status, answer.code) == (status, code), f"{path}: {answer.body!r}"


@pytest.mark.parametrize("body", [b"", b"[1]", b"null", b"{", b"[" * 5000, b'{"line": "\xff"}', b'{"line": "\\ud800"}'])
def test_what_is_no_argument_is_refused(plant: Plant, body: bytes) -> None:
    answer = plant.script("operate").post("/api/v1/commands/pause", body)
    assert answer.status in (400, 422), answer.body
    assert plant.read("/lines")["lines"]["one"]["state"] != "paused"


def test_what_is_done_is_in_the_audit_under_the_name_of_who_did_it(plant: Plant) -> None:
    person = Browser(plant.browser.port)
    person.log_in("otto")
    assert person.post("/api/v1/commands/pause", {"line": "one"}).json["state"] == "paused"
    assert plant.script("operate").post("/api/v1/commands/resume", {"line": "one"}).status == 200
    resumed, paused = plant.read("/audit?count=2")["entries"]
    assert (paused["command"], paused["claimed"]) == ("pause", "otto")
    assert (resumed["command"], resumed["claimed"]) == ("resume", "script operate")
    assert paused["who"] == resumed["who"] != "otto"  # the account that the console runs under


def test_whoever_has_paused_a_line_sees_it_paused(plant: Plant) -> None:
    operator = plant.script("operate")
    for _ in range(3):
        operator.post("/api/v1/commands/pause", {"line": "one"})
        assert b"PAUSED</span>" in operator.get("/lines/one").body
        operator.post("/api/v1/commands/resume", {"line": "one"})
        assert b"PAUSED</span>" not in operator.get("/lines/one").body


def test_pages_are_drawn_where_the_newest_part_has_no_score(plant: Plant) -> None:
    plant.running.ask("pause", line="one")
    try:
        verdict = plant.running.ask("trigger", line="one", part_id="A-17")["verdict"]
        assert verdict["verdict"] == "error"
        for path in (
            "/",
            "/lines/one",
            "/lines/one/strip",
            "/history",
            f"/history/one/{verdict['seq']}",
            "/history.csv",
        ):
            assert plant.script("view").get(path).status == 200, path
    finally:
        plant.running.ask("resume", line="one")


def test_pictures_are_enrolled_and_shots_are_shown(plant: Plant) -> None:
    jpeg = encode_jpeg(render("bottle", 1, 900, 0.0).image)
    body, kind = form({"arguments": json.dumps({"line": "one", "hold": True}).encode()}, {"good.jpg": jpeg})
    answer = plant.script("operate").send("POST", "/api/v1/commands/enroll", body, content_type=kind)
    assert answer.status == 200, answer.body
    held = answer.json["pictures"][0]
    assert held["name"] == "good.jpg"
    small = plant.script("view").get(f"/api/v1/candidates/{held['candidate']}/thumbnail")
    assert decode(small.body, "thumbnail").ndim == 3
    taken = {"line": "one", "candidates": [held["candidate"]], "yes": [flag["code"] for flag in held["flags"]]}
    assert plant.script("operate").post("/api/v1/commands/shots_take", taken).status == 200
    shots = plant.read("/lines/one/shots")["shots"]
    assert [shot["source"] for shot in shots] == ["good.jpg"]
    picture = plant.script("view").get(f"/api/v1/shots/{shots[0]['id']}/picture")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/png")


def form(fields: dict[str, bytes], files: dict[str, bytes]) -> tuple[bytes, str]:
    """A multipart form, as curl sends it."""
    border = b"----border"
    parts = [b'Content-Disposition: form-data; name="%s"\r\n\r\n%s' % (k.encode(), v) for k, v in fields.items()]
    parts += [
        b'Content-Disposition: form-data; name="pictures"; filename="%s"\r\nContent-Type: image/jpeg\r\n\r\n%s'
        % (name.encode(), data)
        for name, data in files.items()
    ]
    body = b"".join(b"--%s\r\n%s\r\n" % (border, part) for part in parts) + b"--%s--\r\n" % border
    return body, f"multipart/form-data; boundary={border.decode()}"


def test_a_page_sees_state_verdicts_and_pictures_as_they_come(plant: Plant) -> None:
    kinds, pictures = set(), []
    with plant.live() as live:
        end = time.monotonic() + 60
        while time.monotonic() < end and not (kinds >= {"status", "verdict"} and pictures):
            frame = live.recv(30)
            if isinstance(frame, str):
                kinds.add(json.loads(frame)["kind"])
            else:
                pictures.append(frame)
    assert kinds >= {"status", "verdict"}
    length = struct.unpack(">I", pictures[0][:4])[0]
    head, rest = json.loads(pictures[0][4 : 4 + length]), pictures[0][4 + length :]
    size = struct.unpack(">I", rest[:4])[0]
    jpeg, png = decode(rest[4 : 4 + size], "picture"), rest[4 + size :]
    assert head["line"] == "one"
    assert jpeg.shape[:2] == (head["height"], head["width"])
    assert png.startswith(b"\x89PNG")


def test_who_comes_later_sees_the_newest_picture_of_a_line_that_stands_still(plant: Plant) -> None:
    with plant.live() as first:
        until(lambda: isinstance(first.recv(30), bytes), "picture")
        plant.running.ask("pause", line="one")
        try:
            with plant.live() as second:
                until(lambda: isinstance(second.recv(30), bytes), "picture")
        finally:
            plant.running.ask("resume", line="one")


def test_a_page_of_other_lines_sees_none_of_this_one(plant: Plant) -> None:
    with plant.live("other") as live:
        frames = [live.recv(30) for _ in range(3)]
    assert {json.loads(frame)["kind"] for frame in frames if isinstance(frame, str)} == {"status"}
    assert all(isinstance(frame, str) for frame in frames)


def test_the_documents_page_shows_each_path(plant: Plant) -> None:
    paths = plant.read("/openapi.json")["paths"]
    page = plant.script("view").get("/api/v1/docs").body.decode()
    assert [path for path in paths if path not in page] == []
