"""A JPEG is read to the bit as OpenCV reads it, and refused where its decoder passed something over."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.image import ImageError, decode
from core.simline import render

BGR = render("bearing", 1, 0, 0.0, size=320).image[..., ::-1]
KINDS = {
    "baseline": (BGR, []),
    "progressive": (BGR, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "with restarts": (BGR, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]),
    "coarse": (BGR, [cv2.IMWRITE_JPEG_QUALITY, 30]),
    "grey": (BGR[..., 1], []),
    "of an odd size": (BGR[:317, :211], []),
}


def jpeg(kind: str) -> bytes:
    picture, options = KINDS[kind]
    return cv2.imencode(".jpg", np.ascontiguousarray(picture), options)[1].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_is_what_opencv_makes_of_it(kind: str) -> None:
    opened = cv2.imdecode(np.frombuffer(jpeg(kind), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode(jpeg(kind)), opened[..., ::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_of_which_a_piece_is_missing_or_another_is_refused(kind: str) -> None:
    whole = jpeg(kind)
    half, third = len(whole) // 2, len(whole) // 3
    random = np.random.default_rng(0).integers(0, 255, third, np.uint8).tobytes()  # no 255: it begins a marker
    for damaged in (
        whole[:half],
        whole[:-40],
        whole[:half] + bytes(third) + whole[half + third :],
        whole[:half] + random + whole[half + third :],
        whole[:half] + whole[half + third :],
    ):
        with pytest.raises(ImageError, match=r"^part\.jpg: (is damaged|no picture)"):
            decode(damaged, "part.jpg")


def test_a_few_bytes_too_many_are_harmless_as_webcams_leave_them() -> None:
    whole = jpeg("with restarts")
    assert np.array_equal(decode(whole[:-2] + bytes(6) + whole[-2:]), decode(whole))
    assert np.array_equal(decode(whole + bytes(500)), decode(whole)), "and what is behind the end"
