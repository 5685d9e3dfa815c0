"""Trials of the line's guarantees: cameras that die, hang, stand still or change, one line each; the first is well."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

from tests.support.account import Account, codes, latencies
from tests.support.plant import OTHER_SIZE, Plant


@contextmanager
def process_killed(plant: Plant, line: str) -> Iterator[None]:
    """The process that reads the camera is killed; there is nothing to wait for."""
    os.kill(_process(plant, line), signal.SIGKILL)
    yield


@contextmanager
def process_stopped(plant: Plant, line: str) -> Iterator[None]:
    """It hangs for a while, as on a bad bus."""
    process = _process(plant, line)
    os.kill(process, signal.SIGSTOP)
    yield
    try:
        os.kill(process, signal.SIGCONT)
    except ProcessLookupError:
        return  # the service has replaced it


@contextmanager
def server_killed(plant: Plant, line: str) -> Iterator[None]:
    """The camera loses its power."""
    plant.films[line].stop()
    yield
    plant.films[line].start()


@contextmanager
def server_stopped(plant: Plant, line: str) -> Iterator[None]:
    """The camera sends nothing, connections and all."""
    plant.films[line].stall()
    yield
    plant.films[line].resume()


@contextmanager
def frozen(plant: Plant, line: str) -> Iterator[None]:
    """The camera sends the same picture over and over."""
    plant.films[line].freeze()
    yield
    plant.films[line].go()


@contextmanager
def resized(plant: Plant, line: str) -> Iterator[None]:
    """The camera sends pictures of another size than the line is to have."""
    plant.films[line].resize(OTHER_SIZE)
    yield
    plant.films[line].resize()


CAUSES: Mapping[str, Callable[[Plant, str], AbstractContextManager[None]]] = {
    "camera process killed": process_killed,
    "camera process stopped": process_stopped,
    "camera killed": server_killed,
    "camera stopped": server_stopped,
    "picture frozen": frozen,
    "size changed": resized,
}


def faults(
    plant: Plant,
    causes: list[str],
    seconds: float,
    rate: float = 10.0,
    *,
    back_s: float = 3.0,
    wire_s: float = 0.2,
    judged: float = 1.0,
) -> None:
    """Each cause strikes a line of its own for a while, all at once: its parts are answered within their deadline all
    the same, it is back soon after, and the first line notices nothing.

    Args:
        back_s: Seconds from a cause's end to the next judged part, at most.
        wire_s: What a trigger and its answer may take on their way.
        judged: Share of the first line's parts that are judged, at least.
    """
    well, *struck = plant.lines
    sick = dict(zip(struck, causes, strict=False))
    with plant.plc.shift(plant.lines, rate) as before:
        time.sleep(seconds)
    plant.settle(before)
    with plant.plc.shift(plant.lines, rate) as shift:
        time.sleep(0.3)
        began = time.monotonic()
        with ExitStack() as stack:
            for line, cause in sick.items():
                stack.enter_context(CAUSES[cause](plant, line))
            time.sleep(seconds)
        ended = time.monotonic()
        over = {line: began if cause == "camera process killed" else ended for line, cause in sick.items()}
        plant.service.until(lambda: all(_judged(plant, *one) is not None for one in over.items()), "judged part", 30)
    plant.settle(shift)
    account = Account(plant.monitor.verdicts())
    answers = account.answers(shift.parts.values())
    print(f"\ncameras struck for {seconds:g} s under {len(plant.lines)} x {rate:g}/s")
    slowest = 0.0
    for line, cause in sick.items():
        of = [one for one in answers if one.part.line == line and one.part.sent > began]
        back = _judged(plant, line, over[line])
        assert back is not None
        slowest = max(slowest, back)
        print(f"  {cause}: back {back:.1f} s after; {latencies(of)}: {codes(of)}")
        assert latencies(of).max <= plant.deadline_ms + wire_s * 1000, "an answer came after its deadline"
        assert {one.code for one in of} & ERRORS[cause], f"{cause}: {codes(of)}"
    reference = [account.answers(one.of(well)) for one in (before, shift)]
    for when, of in zip(("before", "meanwhile"), reference, strict=True):
        print(f"  the line that is well {when}: {latencies(of)}: {codes(of)}")
    normal = sum(one.code == "normal" for one in reference[1])
    assert normal >= judged * len(reference[1]), "the line that is well was struck, too"
    assert slowest <= back_s


ERRORS: Mapping[str, set[str]] = {
    "camera process killed": {"camera_no_frame", "deadline"},
    "camera process stopped": {"camera_no_frame", "deadline", "queue_full"},
    "camera killed": {"camera_no_frame", "deadline"},
    "camera stopped": {"camera_no_frame", "deadline", "queue_full"},
    "picture frozen": {"camera_frozen"},
    "size changed": {"camera_size"},
}
"""What a struck line answers, at least one of them."""


def _process(plant: Plant, line: str) -> int:
    process = plant.camera_pid(line)
    assert process is not None, f"no process reads the camera of {line}"
    return process


def _judged(plant: Plant, line: str, since: float) -> float | None:
    """Seconds from `since` to the line's first part that was judged by a picture taken after it, if there is one."""
    for one in plant.monitor.verdicts():
        judged = one.line == line and one.at > since and one.message["verdict"] != "error"
        if judged and one.moment("captured_at") >= since:
            return one.at - since
    return None
