"""Trial of the line's guarantees: hours of reconnects, and whether memory, threads or open files grow."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.account import Account, codes, latencies
from tests.support.plant import Plant

EVERY_S = 10.0  # between two samples, and two reconnects of a camera
BROKER_EVERY = 6  # so many samples between two restarts of the broker
WARM_UP = 0.25  # share of the samples that count as warming up


@dataclass(frozen=True)
class Sample:
    """What the service holds at a moment; `cameras_mb` is of all its camera processes together."""

    hours: float
    rss_mb: float
    cameras_mb: float
    threads: int
    files: int


@dataclass(frozen=True)
class Slope:
    """A line through values over hours, by least squares; `error` is its standard error."""

    per_hour: float
    error: float

    @classmethod
    def of(cls, hours: Sequence[float], values: Sequence[float]) -> Slope:
        fit = statistics.linear_regression(hours, values)
        rest = sum((y - fit.slope * x - fit.intercept) ** 2 for x, y in zip(hours, values, strict=True))
        spread = sum((x - statistics.fmean(hours)) ** 2 for x in hours)
        return cls(fit.slope, (rest / max(1, len(hours) - 2) / spread) ** 0.5)

    def __str__(self) -> str:
        return f"{self.per_hour:+.2f} +- {self.error:.2f} per hour"


def soak(plant: Plant, minutes: float, rate: float = 5.0) -> dict[str, Slope]:
    """A steady load while cameras and broker come and go; the slopes of what the service holds. Says what there is when
    it is cut short.
    """
    samples: list[Sample] = []
    begun = time.monotonic()
    try:
        with plant.plc.shift(plant.lines, rate) as shift:
            for number in range(1, round(minutes * 60 / EVERY_S) + 1):
                film = plant.films[plant.lines[number % len(plant.lines)]]
                film.stop()
                film.start()
                if number % BROKER_EVERY == 0:
                    plant.broker.restart()
                time.sleep(max(0.0, begun + number * EVERY_S - time.monotonic()))
                samples.append(_sample(plant, (time.monotonic() - begun) / 3600))
                if number % 30 == 0:
                    report(samples)
        plant.settle(shift, 120)
        answers = Account(plant.monitor.verdicts()).answers(shift.parts.values())
        print(f"\nsoak of {minutes:g} min: {latencies(answers)}: {codes(answers)}")
    finally:
        slopes = report(samples)
    return slopes


def report(samples: Sequence[Sample]) -> dict[str, Slope]:
    """Prints the slopes after the warming up, and returns them."""
    warm = samples[round(WARM_UP * len(samples)) :]
    if len(warm) < 3:
        return {}
    hours = [one.hours for one in warm]
    slopes = {name: Slope.of(hours, [getattr(one, name) for one in warm]) for name in NAMES}
    print(f"\nafter {samples[-1].hours * 60:.0f} min, of the last {60 * (hours[-1] - hours[0]):.0f}:")
    for name, slope in slopes.items():
        values = [getattr(one, name) for one in warm]
        print(f"  {name}: {slope}; {min(values):.1f} to {max(values):.1f}, at the end {values[-1]:.1f}", flush=True)
    return slopes


NAMES = ("rss_mb", "cameras_mb", "threads", "files")


def _sample(plant: Plant, hours: float) -> Sample:
    process = Path(f"/proc/{plant.pid}")
    status = _status(process)
    cameras = 0.0
    for child in plant.children():
        with contextlib.suppress(OSError, KeyError):  # it ends just now
            cameras += int(_status(Path(f"/proc/{child}"))["VmRSS"]) / 1024
    return Sample(
        hours, int(status["VmRSS"]) / 1024, cameras, int(status["Threads"]), len(list((process / "fd").iterdir()))
    )


def _status(process: Path) -> dict[str, str]:
    rows = (row.split() for row in (process / "status").read_text().splitlines())
    return {row[0].rstrip(":"): row[1] for row in rows if len(row) > 1}
