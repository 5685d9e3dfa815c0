"""Pictures for screens: small, in order, and none of them missing for another one's fault."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core.bank.shot_checks import FLAGS
from core.image import Rgb, decode, encode_png
from core.simline import render
from edge.control import picture_commands
from edge.control.dispatcher import Dispatcher
from edge.control.protocol import Reply, Request
from tests.support.past import MAP, with_past


def noise(height: int, width: int) -> Rgb:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)


PARTS: tuple[dict[str, Any], ...] = ({"verdict": "anomaly"}, {}, {"verdict": "error"}, {}, {"verdict": "anomaly"})
PICTURES = {1: noise(1200, 1600), 2: noise(50, 40), 3: noise(480, 640), 5: noise(480, 640)}  # the fourth has none


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatcher]:
    with with_past(tmp_path_factory.mktemp("past"), *PARTS, pictures=PICTURES) as dispatcher:
        yield dispatcher


@pytest.fixture
def dispatcher(past: Dispatcher, tmp_path: Path) -> Iterator[Dispatcher]:
    """With an archive that the test may spoil."""
    root = past.archive.root
    assert root is not None
    shutil.copytree(root, tmp_path / "whole")
    yield past
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "whole", root)


def ask(dispatcher: Dispatcher, command: str, **arguments: Any) -> tuple[dict[str, Any], list[bytes]]:
    reply, blobs = dispatcher.answer(Request(id="1", command=command, arguments=arguments, who="eva"), ())
    assert reply.refusal is None, reply.refusal
    return reply.result or {}, [*blobs]


def refused(dispatcher: Dispatcher, command: str, **arguments: Any) -> str:
    reply: Reply = dispatcher.answer(Request(id="1", command=command, arguments=arguments, who="eva"), ())[0]
    assert reply.refusal is not None, reply.result
    return reply.refusal.message


def sizes(blobs: list[bytes]) -> list[tuple[int, ...]]:
    return [decode(blob).shape[:2] for blob in blobs]


def file_of(dispatcher: Dispatcher, seq: int, suffix: str = ".picture.jpg") -> Path:
    root = dispatcher.archive.root
    assert root is not None
    [file] = root.rglob(f"{seq:08d}-*{suffix}")
    return file


def test_a_part_is_shown_with_all_that_is_known_of_it(past: Dispatcher) -> None:
    found, blobs = ask(past, "verdict", line="one", seq=1)
    assert (found["verdict"]["seq"], found["verdict"]["verdict"], found["historical"]) == (1, "anomaly", False)
    assert (found["feedback"], found["blobs"], found["missing"]) == (None, ["picture", "map"], None)
    assert found["pixel_threshold"] == past.line("one").recipes.active.ready.pixel_threshold
    assert sizes(blobs[:1]) == [(960, 1280)]
    grey = cv2.imdecode(np.frombuffer(blobs[1], np.uint8), cv2.IMREAD_UNCHANGED)
    assert grey is not None
    assert np.abs(grey / 255 - MAP).max() <= 0.5 / 255 + 1e-6
    found, blobs = ask(past, "verdict", line="one", seq=3)
    assert (found["verdict"]["error"]["code"], found["blobs"], sizes(blobs)) == ("deadline", ["picture"], [(480, 640)])
    found, blobs = ask(past, "verdict", line="one", seq=4)
    assert (found["blobs"], blobs) == ([], [])
    assert "archive.ok_every" in found["missing"]


def test_of_a_part_of_which_something_was_said_the_evidence_is_shown(dispatcher: Dispatcher) -> None:
    file_of(dispatcher, 5).unlink()
    png = encode_png(noise(30, 40))
    dispatcher.database.run(
        lambda tables: tables.feed_back("one", 5, "confirmed", who="eva", note="a dent", shot=None, picture=png)
    )
    found, blobs = ask(dispatcher, "verdict", line="one", seq=5)
    assert (found["feedback"]["kind"], found["feedback"]["note"]) == ("confirmed", "a dent")
    assert (found["blobs"], sizes(blobs[:1])) == (["picture", "map"], [(30, 40)])


def test_thumbnails_come_in_the_order_in_which_they_were_asked_for(past: Dispatcher) -> None:
    found, blobs = ask(past, "thumbnails", line="one", seqs=[3, 1, 4, 2, 99, 3], size=64)
    assert found["seqs"] == [3, 1, 2]
    assert sizes(blobs) == [(48, 64), (48, 64), (50, 40)]
    assert [each["number"] for each in found["missing"]] == [4, 99]
    assert "no such verdict" in found["missing"][1]["why"]


def spoil_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def spoil_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/etc/passwd")


def spoil_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: file.unlink(), "gone"),
        (spoil_fifo, "a pipe"),
        (spoil_link, "link"),
        (spoil_folder, "a folder"),
        (lambda file: file.write_bytes(b""), "empty"),
        (lambda file: file.write_bytes(file.read_bytes()[:300]), "verdict 1"),
        (lambda file: file.write_bytes(b"\xff\xd8" + b"x" * 5000), "verdict 1"),
        (lambda file: shutil.rmtree(file.parents[1]), "gone"),
    ],
)
def test_a_picture_that_is_gone_or_something_else_costs_only_itself(
    dispatcher: Dispatcher, spoil: Any, why: str
) -> None:
    spoil(file_of(dispatcher, 1))
    found, blobs = ask(dispatcher, "verdict", line="one", seq=1)
    assert why in found["missing"]
    assert found["blobs"] in ([], ["map"])
    assert len(blobs) == len(found["blobs"])
    shown = ask(dispatcher, "thumbnails", line="one", seqs=[1, 5])[0]
    assert 1 not in shown["seqs"]
    assert why in shown["missing"][0]["why"]


@pytest.mark.parametrize("spoil", [spoil_fifo, spoil_link, lambda file: file.write_bytes(bytes(2 << 20))])
def test_a_map_that_is_none_is_left_out(dispatcher: Dispatcher, spoil: Any) -> None:
    spoil(file_of(dispatcher, 1, ".map.png"))
    assert ask(dispatcher, "verdict", line="one", seq=1)[0]["blobs"] == ["picture"]


def test_what_is_not_made_in_time_is_said(past: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_commands, "_TIME_S", 0.0)
    found, blobs = ask(past, "thumbnails", line="one", seqs=[1, 2])
    assert (found["seqs"], blobs) == ([], [])
    assert all("took too long" in each["why"] for each in found["missing"])


def test_shots_and_candidates_are_shown_small(dispatcher: Dispatcher) -> None:
    good = [(f"{index}.png", render("bottle", 1, 5000 + index, 0.0).image) for index in range(3)]
    slot = dispatcher.ready("one")
    dispatcher.enrolment.enrol(slot, good, who="eva", note="", accepted=set(FLAGS))
    found, blobs = ask(dispatcher, "shot_thumbnails", shots=[3, 7, 1], size=32)
    assert (found["shots"], sizes(blobs)) == ([3, 1], [(32, 32)] * 2)
    assert [each["number"] for each in found["missing"]] == [7]
    holding = Request(id="1", command="enroll", arguments={"line": "one", "hold": True}, who="eva")
    held = dispatcher.answer(holding, [encode_png(noise(90, 60))])[0].result
    assert held is not None
    number = held["pictures"][0]["candidate"]
    found, blobs = ask(dispatcher, "candidate_thumbnails", candidates=[number, 999], size=30)
    assert (found["candidates"], sizes(blobs)) == ([number], [(30, 20)])
    assert "999" in found["missing"][0]["why"]


@pytest.mark.parametrize(
    ("command", "arguments", "why"),
    [
        ("verdict", {"line": "one", "seq": 99}, "verdict 99 of line one"),
        ("verdict", {"line": "three", "seq": 1}, "no line 'three'"),
        ("verdict", {"line": "one", "seq": 0}, "seq"),
        ("verdict", {"line": "one", "seq": 2**70}, "seq"),
        ("thumbnails", {"line": "three", "seqs": [1]}, "no line 'three'"),
        ("thumbnails", {"line": "one", "seqs": []}, "seqs"),
        ("thumbnails", {"line": "one", "seqs": [*range(1, 62)]}, "seqs"),
        ("thumbnails", {"line": "one", "seqs": [1], "size": 10_000}, "size"),
        ("shot_thumbnails", {"shots": [-1]}, "shots"),
        ("shot_thumbnails", {"shots": ["../x"]}, "shots"),
        ("candidate_thumbnails", {"candidates": [1], "size": 0}, "size"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    past: Dispatcher, command: str, arguments: dict[str, Any], why: str
) -> None:
    assert why in refused(past, command, **arguments)
