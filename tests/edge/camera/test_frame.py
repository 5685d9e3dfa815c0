from __future__ import annotations

import json
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.camera.frame import Frame, FrameError
from edge.camera.health import FrameFault, Health


def frame(**changes: object) -> Frame:
    values = {
        "image": np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3),
        "number": 7,
        "dropped": 2,
        "captured_at": datetime(2026, 1, 31, 6, 0, 0, 123000, tzinfo=timezone.utc),
        "captured": 12.5,
        "decode_ms": 1.25,
        "simulated": True,
        "name": "part.png",
        "health": Health(FrameFault("camera_black", "no light"), 1.5, 0.25),
    }
    return Frame(**values | changes)


def test_a_frame_survives_the_journey() -> None:
    sent = frame()
    got = Frame.from_parts([bytes(part) for part in sent.to_parts()])
    assert got == sent
    assert np.array_equal(got.image, sent.image)
    assert got.captured_at.tzinfo is timezone.utc
    assert got.health.fault == FrameFault("camera_black", "no light")
    healthy = frame(health=Health(None, 1.5, 0.25))
    assert Frame.from_parts(healthy.to_parts()) == healthy
    got.image[0, 0, 0] = 9  # it is the reader's own


def test_a_view_is_sent_as_what_it_shows() -> None:
    image = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)[::2, ::-1]
    got = Frame.from_parts([bytes(part) for part in frame(image=image).to_parts()])
    assert np.array_equal(got.image, image)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 6), np.uint8),  # grey
        np.zeros((4, 6, 4), np.uint8),  # with alpha
        np.zeros((4, 6, 3), np.float32),
        np.zeros((0, 6, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_is_not_sent(image: np.ndarray) -> None:
    with pytest.raises(FrameError, match="no RGB frame"):
        frame(image=image).to_parts()


def test_a_frame_too_large_for_the_link_is_refused() -> None:
    image = np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (20000, 20000, 3), (0, 0, 1))
    with pytest.raises(FrameError, match="larger than"):
        frame(image=image).to_parts()


def test_a_damaged_message_is_no_frame() -> None:
    header, pixels = (bytes(part) for part in frame().to_parts())
    wide = json.dumps(json.loads(header) | {"width": 7}).encode()
    lacking = json.dumps({key: value for key, value in json.loads(header).items() if key != "number"}).encode()
    sick = json.dumps(json.loads(header) | {"health": {"fault": {"code": "camera_black"}}}).encode()
    extra = json.dumps(json.loads(header) | {"surprise": 1}).encode()
    for parts in (
        [header],
        [header, pixels[:-1]],
        [wide, pixels],
        [b"[]", pixels],
        [b"\xff", pixels],
        [lacking, pixels],
        [sick, pixels],
    ):
        with pytest.raises(FrameError):
            Frame.from_parts(parts)
    with pytest.raises(FrameError):
        Frame.from_parts([extra, pixels])
