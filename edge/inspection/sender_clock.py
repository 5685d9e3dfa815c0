"""How far the clock of whoever sends triggers is from the clock here, and how old a trigger is by its stamp."""

from __future__ import annotations

import statistics
from collections import deque
from datetime import datetime, timedelta

from edge.clock import iso_ms

LIMIT_S = 0.5
"""Clocks that are further apart are an alarm, seconds."""
SETTLED_S = 0.35
"""The alarm ends below it, so that it does not come and go around the limit."""
KEPT = 5
"""Measurements that are kept."""
AGREEING = 3
"""Of them so many must agree."""
AGREEMENT_S = 0.3
"""They agree when they differ by no more, seconds."""
SPACING_S = 0.5
"""Seconds between two measurements."""


class SenderClock:
    """The clock of one line's sender, measured by the stamps of its fresh triggers. Not for several threads at once.

    A stamp is behind its arrival by the delay of the message and by the skew of the clocks. The skew is the same from
    message to message. The delay is not: of messages that waited together each has waited for another time. So the skew
    is known where measurements agree that lie apart in time; messages that come at once are one measurement. Where they
    do not agree, the skew known before holds.

    While no skew is known the clocks are taken to be right: a trigger that looks old may have waited at its sender.
    """

    def __init__(self, compensate: bool = False) -> None:
        """Args: compensate: Whether stamps are corrected by the skew (`mqtt.compensate_sender_clock`)."""
        self._compensate = compensate
        self._behind: deque[float] = deque(maxlen=KEPT)  # arrival minus stamp, seconds
        self._last: datetime | None = None  # arrival of the last measurement
        self._skew_s: float | None = None
        self._said_s: float | None = None  # the skew that the message names
        self._message: str | None = None

    @property
    def skew_s(self) -> float | None:
        """Seconds that the sender's clock is ahead, negative if it is behind; None: not known yet."""
        return self._skew_s

    @property
    def message(self) -> str | None:
        """Both clocks in words, where they differ by more than `LIMIT_S` and that is not compensated.

        The words change only with the skew, so that an alarm is not raised anew by each trigger.
        """
        return self._message

    def measure(self, at: datetime, received: datetime) -> None:
        """Takes the stamp of a trigger that did not wait at the broker, and when it arrived by the clock here."""
        if self._last is not None and abs((received - self._last).total_seconds()) < SPACING_S:
            return
        self._last = received
        self._behind.append((received - at).total_seconds())
        agreed = _agreed(self._behind)
        if agreed is not None:
            self._skew_s = -agreed
            self._say(received)

    def age_s(self, at: datetime, received: datetime) -> float | None:
        """Seconds between the stamp and the arrival, by one clock; None where the clocks cannot be compared."""
        age = (received - at).total_seconds()
        if self._skew_s is None or abs(self._skew_s) <= LIMIT_S:
            return age
        return age + self._skew_s if self._compensate else None

    def _say(self, received: datetime) -> None:
        skew = self._skew_s or 0.0
        if self._compensate or abs(skew) <= (LIMIT_S if self._message is None else SETTLED_S):
            self._message = self._said_s = None
        elif self._said_s is None or abs(skew - self._said_s) > LIMIT_S:
            self._said_s = skew
            self._message = skew_in_words(received + timedelta(seconds=skew), received)


def skew_in_words(sender: datetime, here: datetime) -> str:
    """Both clocks at one moment, and what to do."""
    skew = (sender - here).total_seconds()
    return (
        f"the sender's clock says {_time(sender)}, the one here {_time(here)}: {abs(skew):.1f} s "
        f"{'ahead' if skew > 0 else 'behind'}, so `at` says nothing of a part's age; "
        "set both by NTP, or mqtt.compensate_sender_clock = true"
    )


def late_in_words(at: datetime, received: datetime) -> str:
    """Why a trigger is late by its stamp: an old part, or clocks that differ and are not measured yet."""
    age = (received - at).total_seconds()
    return (
        f"by its `at` the part was there at {_time(at)}, and the trigger came at {_time(received)} by the clock here: "
        f"{age:.1f} s later; if it did not wait, the clocks differ"
    )


def _time(stamp: datetime) -> str:
    """With the date, since a clock may be days off: `2026-01-31 10:00:03.2`, UTC."""
    return iso_ms(stamp)[:-3].replace("T", " ")


def _agreed(measured: deque[float]) -> float | None:
    """The middle of the latest measurements that agree."""
    ordered = sorted(measured)
    groups = [ordered[start : start + AGREEING] for start in range(len(ordered) - AGREEING + 1)]
    closest = min(groups, key=lambda group: group[-1] - group[0], default=None)
    if closest is None or closest[-1] - closest[0] > AGREEMENT_S:
        return None
    return statistics.median(closest)
