"""Enrolment that shows what it takes: held with flags and score, then taken or not, each flag by its name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from core.bank.shot_checks import FLAGS
from core.image import decode, encode_png
from core.simline import render
from edge.cli.app import app
from edge.control.dispatcher import Dispatcher
from edge.control.protocol import Request
from edge.storage import candidates
from tests.support.at_rest import LineOnFilm, asked, at_rest


def picture(index: int) -> bytes:
    return encode_png(render("bottle", 1, 5000 + index, 0.0).image)


DARK = encode_png(render("bottle", 1, 1, 0.0).image // 40)


def done(dispatcher: Dispatcher, command: str, *blobs: bytes, **arguments: Any) -> dict[str, Any]:
    """The result of a command."""
    reply = asked(dispatcher, command, *blobs, **arguments)
    assert reply.result is not None, reply.refusal
    return reply.result


def refused(dispatcher: Dispatcher, command: str, *blobs: bytes, **arguments: Any) -> str:
    reply = asked(dispatcher, command, *blobs, **arguments)
    assert reply.refusal is not None, reply.result
    return reply.refusal.message


def held(dispatcher: Dispatcher) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = done(dispatcher, "shots_candidates", line="one")["candidates"]
    return found


def codes(part: dict[str, Any]) -> list[str]:
    return [flag["code"] for flag in part["flags"]]


def test_what_is_held_is_shown_and_taken_or_dropped(tmp_path: Path) -> None:
    with at_rest(tmp_path) as one:
        found = done(
            one, "enroll", picture(0), picture(1), DARK, line="one", names=["a", "b", "c"], hold=True, note="M"
        )
        assert [part["shot"] for part in found["pictures"]] == [None] * 3
        assert found["bank"]["shots"] == 0
        first, second, dark = (part["candidate"] for part in found["pictures"])
        assert [(part["candidate"], part["name"], part["note"]) for part in held(one)] == [
            (first, "a", "M"),
            (second, "b", "M"),
            (dark, "c", "M"),
        ]
        assert "under_exposed" in codes(held(one)[2])
        request = Request(id="1", command="shots_candidate", arguments={"candidate": second}, who="eva")
        _, pictures = one.answer(request, ())
        assert np.array_equal(decode(pictures[0]), decode(picture(1)))

        assert refused(one, "shots_take", line="two", candidates=[first]) == (
            f"recipe default of line two holds no candidate {first}; it holds none"
        )
        taken = done(one, "shots_take", line="one", candidates=[first])
        assert taken["bank"]["shots"] == 1
        assert done(one, "shots_drop", line="one", candidates=[second]) == {"candidates": [second]}
        assert [part["candidate"] for part in held(one)] == [dark]
        [shot] = done(one, "shots_list", line="one")["shots"]
        assert (shot["source"], shot["note"], codes(shot)) == ("a", "M", [])
    with at_rest(tmp_path) as one:
        assert [part["candidate"] for part in held(one)] == [dark]  # which a restart does not lose
        assert done(one, "shots_drop", line="one")["candidates"] == [dark]
        assert "holds no candidate" in refused(one, "shots_take", line="one")


def test_a_yes_overrides_the_flags_that_it_names_and_no_others(tmp_path: Path) -> None:
    with at_rest(tmp_path) as one:
        done(one, "enroll", picture(0), line="one")
        flags = codes(done(one, "enroll", DARK, line="one")["pictures"][0])
        assert "under_exposed" in flags
        assert len(flags) > 1
        [candidate] = held(one)
        [kept] = done(one, "shots_take", line="one", yes=["under_exposed"])["pictures"]
        assert (kept["shot"], kept["candidate"], codes(kept)) == (None, candidate["candidate"], flags)
        assert "'all' is no flag; there are flat, size, blurred" in refused(one, "shots_take", line="one", yes=["all"])
        [taken] = done(one, "shots_take", line="one", yes=flags)["pictures"]
        assert taken["shot"] == 2
        assert held(one) == []
        [_, shot] = done(one, "shots_list", line="one")["shots"]
        assert codes(shot) == flags  # the bank keeps what it was enrolled in spite of


def test_a_picture_that_shows_nothing_is_enrolled_only_by_name(tmp_path: Path) -> None:
    grey = encode_png(np.full((240, 240, 3), 128, np.uint8))
    with at_rest(tmp_path) as one:
        [first] = done(one, "enroll", grey, line="one")["pictures"]
        assert (first["shot"], codes(first)[0]) == (None, "flat")
        assert first["flags"][0]["message"].startswith("shows nothing: it is even")
        done(one, "enroll", picture(0), line="one")
        assert one.ready("one").ready.shots is not None
        done(one, "shots_take", line="one", yes=list(FLAGS))
        other = encode_png(np.full((240, 240, 3), (0, 130, 0), np.uint8))
        [second] = done(one, "enroll", other, line="one")["pictures"]
        assert "flat" not in codes(second), "a shot is as plain"


def test_pictures_of_sixteen_bits_use_as_many_as_the_camera(tmp_path: Path) -> None:
    dark = (render("bottle", 1, 5000, 0.0).image.astype(np.uint16) << 6) >> 5  # of 9 bits: 12 by their values
    png = bytes(cv2.imencode(".png", dark[..., ::-1])[1])
    for bits, factor in ((None, 8), (9, 1)):
        with at_rest(tmp_path / str(bits), camera={"source": "sim:bottle", "bits": bits}) as one:
            [held_one] = done(one, "enroll", png, line="one", hold=True)["pictures"]
            request = Request(
                id="1", command="shots_candidate", arguments={"candidate": held_one["candidate"]}, who="e"
            )
            shown = decode(one.answer(request, ())[1][0]).astype(int)
            expected = render("bottle", 1, 5000, 0.0).image // factor
            assert np.abs(shown - expected).max() <= 1


def test_flags_are_those_of_the_moment_in_which_it_is_taken(tmp_path: Path) -> None:
    with at_rest(tmp_path) as one:
        image = decode(picture(0)).copy()
        image[0, 0] ^= 1
        done(one, "enroll", picture(0), encode_png(image), line="one", hold=True)
        assert [codes(part) for part in held(one)] == [[], []]  # no shot yet that either resembles
        first, second = done(one, "shots_take", line="one")["pictures"]
        assert first["shot"] == 1
        assert (second["shot"], codes(second)) == (None, ["near_duplicate"])
        assert codes(held(one)[0]) == ["near_duplicate"]


@pytest.mark.parametrize(
    ("line", "image", "words"),
    [
        (
            {"roi": {"x": 8, "y": 8, "width": 100, "height": 80}},
            (240, 240),
            "line inspects 100 x 80; it looks like a whole",
        ),
        ({"health": {"size": (320, 240)}}, (240, 240), "line inspects 320 x 240; it shows another region"),
        (
            {"health": {"size": (480, 480)}},
            (240, 240),
            "line inspects 480 x 480; it is the same region at another size",
        ),
        ({"health": {"size": (240, 240)}}, (240, 240), None),
    ],
)
def test_a_picture_of_another_geometry_is_flagged(
    tmp_path: Path, line: dict[str, Any], image: tuple[int, int], words: str | None
) -> None:
    with at_rest(tmp_path, **line) as one:
        png = encode_png(render("bottle", 1, 5000, 0.0).image[: image[0], : image[1]])
        [found] = done(one, "enroll", png, line="one", hold=True)["pictures"]
        said = [flag["message"] for flag in found["flags"] if flag["code"] == "size"]
        assert (words is None) == (said == [])
        assert words is None or words in said[0]


def test_the_threshold_of_a_line_that_nobody_calibrated_flags_no_part(tmp_path: Path) -> None:
    with at_rest(tmp_path, threshold=0.0) as one:
        done(one, "enroll", picture(0), line="one")
        found = done(one, "enroll", picture(1), line="one")["pictures"][0]
        assert (found["shot"], found["flags"]) == (2, [])
        one.enrolment.set_threshold(one.ready("one"), 0.0, "eva")
        found = done(one, "enroll", picture(2), line="one")["pictures"][0]
        assert codes(found) == ["anomalous"]
        assert done(one, "shots_candidates", line="one")["threshold"] == 0.0
        assert held(one)[0]["score"] is not None


def test_a_line_holds_so_many_and_refuses_more_before_it_waits_for_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "MOST", 2)
    with at_rest(tmp_path) as one:
        LineOnFilm(one, lambda number: render("bottle", 1, 5000 + number, 0.0).image)
        message = refused(one, "enroll", line="one", shots=3)
        assert "3 pictures, and recipe default of line one has room for 2" in message
        found = done(one, "enroll", line="one", shots=2)["pictures"]
        assert [part["name"] for part in found] == ["line one, verdict 1", "line one, verdict 2"]
        assert [part["shot"] for part in found] == [None, None]  # nobody has seen them yet
        [kept] = done(one, "enroll", DARK, line="one")["pictures"]
        assert "2 candidates are held already" in kept["not_held"]
        assert "room for 0" in refused(one, "suggest", line="one", parts=2, count=1)


def test_the_command_line_shows_each_flag_with_the_word_that_overrides_it(tmp_path: Path) -> None:
    config, dark = tmp_path / "edge.toml", tmp_path / "dark.png"
    config.write_text(
        f"[service]\nruntime_dir = '{tmp_path}'\nstate_dir = '{tmp_path}/state'\n"
        "[model]\nname = 'untrained'\ndevice = 'cpu'\ndtype = 'fp32'\n[method]\nscales = [3]\nstride = 3\n"
        "[lines.one]\npack = 'bottle'\n[lines.one.camera]\nsource = 'sim:bottle'\n"
    )
    dark.write_bytes(DARK)
    run = partial(typed, config)
    said = run("enroll", str(dark), code=1)
    assert "dark.png: held as candidate 1" in said
    assert "  under_exposed: mean grey level" in said
    assert "(--yes under_exposed)" in said
    assert "`alfa-edge shots candidates --line one --out DIR` shows what is held" in said
    run("recipe", "new", "B b")
    said = run("enroll", str(dark), "--recipe", "B b", code=1)
    assert "`alfa-edge shots candidates --line one --recipe 'B b' --out DIR` shows what is held" in said
    assert "dropped 2" in run("shots", "drop", "2", "--recipe", "B b")
    listed = run("shots", "candidates", "--out", str(tmp_path / "out"))
    assert "dark.png" in listed
    assert (tmp_path / "out" / "one-candidate-1.png").read_bytes() == DARK
    assert "dark.png: held as candidate 1" in run("shots", "take", "1", "--yes", "blurred", code=1)
    assert "name candidates, or say --all" in run("shots", "drop", code=2)
    assert "dropped 1" in run("shots", "drop", "--all")
    yes = [word for flag in FLAGS for word in ("--yes", flag)]
    assert "dark.png: shot 1" in run("enroll", str(dark), *yes)


def typed(config: Path, *words: str, code: int = 0) -> str:
    """What a command says of line one."""
    result = CliRunner().invoke(app, [*words, "--config", str(config), "--line", "one"])
    assert result.exit_code == code, result.output
    return result.output
