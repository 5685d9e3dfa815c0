from __future__ import annotations

import pytest

from edge.camera.exposure import DeviceClock, FrameNumbers


def missed(*numbers: int | None) -> list[int | None]:
    counted = FrameNumbers()
    return [counted.missed(number) for number in numbers]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([7, 8, 9], [0, 0, 0]),  # all came
        ([7, 8, 11], [0, 0, 2]),  # two did not
        ([65534, 65535, 1, 2], [0, 0, 0, 0]),  # GigE Vision 1 begins again at 1
        ([65534, 65535, 0, 1], [0, 0, 0, 0]),  # and some cameras at 0
        ([65534, 2], [0, 2]),  # 65535 and 1 did not
        ([65535, 65536, 65540], [0, 0, 3]),  # numbers of 64 bits go on
        ([7, None, 9], [0, 0, 0]),  # what told the number of 8 was lost with it
        ([7, None, 11], [0, 0, 2]),  # that may have been any of the three
        ([65535, None, 2], [0, 0, 0]),
        ([None, 5, 6], [0, 0, 0]),
        ([9, 9], [0, None]),  # the same once more
        ([900, 1], [0, None]),  # the camera began anew
    ],
)
def test_what_does_not_come_is_counted_by_the_numbers(numbers: list[int | None], expected: list[int | None]) -> None:
    assert missed(*numbers) == expected


def test_a_frame_that_was_held_up_is_not_taken_for_a_younger_one() -> None:
    clock = DeviceClock()
    assert clock.arrived(5.000, 100.010) == pytest.approx(100.010)
    assert clock.arrived(5.040, 100.042) == pytest.approx(100.042), "faster than the first"
    assert clock.arrived(5.080, 100.300) == pytest.approx(100.082), "it waited for 218 ms"


def test_a_clock_that_drifts_is_followed() -> None:
    clock = DeviceClock()
    for second in range(600):
        host = 100 + second
        found = clock.arrived(host * (1 - 50e-6), host)  # 50 parts in a million are much for a quartz
    assert host - found < 0.005


def test_a_clock_that_is_set_begins_anew() -> None:
    clock = DeviceClock()
    clock.arrived(5.0, 100.0)
    assert clock.arrived(1_700_000_000.0, 100.04) == pytest.approx(100.04), "by PTP, for instance"
    assert clock.arrived(1_700_000_000.04, 100.09) == pytest.approx(100.08)
