"""Whether a line judges at all: a line whose last parts were all errors does not, whatever else looks well."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from edge.messages import Fault, Verdict

FAILING_PARTS = 5
"""So many parts in a row that were answered `error` are a fault; one that is judged ends it."""

_NOT_MEANT_TO = ("paused", "stopping", "restart", "free_run")  # nobody expected the line to judge these
_REMEDIES = {
    "late": "set the clocks of the sender and of this box by NTP, and see that triggers do not wait on their way",
    "deadline": "raise lines.<line>.deadline_ms; `alfa-edge bench` says how long a part takes here",
    "queue_full": "send triggers more slowly, raise lines.<line>.queue and deadline_ms, or use a faster device",
    "camera_no_frame": "check the camera's power, cable and network",
    "camera_late": "raise lines.<line>.frame_within_ms, or use a faster camera",
    "camera_missed": "check the camera's cable and network, and whether this box keeps up with its exposures",
    "camera_size": "set the size of the camera, or lines.<line>.health.size",
    "roi_outside_frame": "set lines.<line>.roi inside the frame, or the size of the camera",
    "recipe_unknown": "name a recipe that `alfa-edge recipe list` shows, or make one with `alfa-edge recipe new`",
    "recipe_not_ready": "make the recipe ready ahead with the command `recipe_prepare`, or mend what the reason names",
    "scorer_failed": "read the log, and check the device; a restart of the service loads the model anew",
    "state_failed": "make room on the disk of service.state_dir, or replace it (dmesg names a faulty one)",
    "internal": "report it with the log",
}
_OF_CAMERA = "check camera, light and focus; `alfa-edge doctor --config FILE` looks through it"
_OTHER = "mend what the reason names"


@dataclass(frozen=True)
class JudgingFault:
    """Why the line does not judge, and what to do."""

    message: str
    remedy: str


class Judging:
    """Looks at the answers of one line, in their order. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards what follows
        self._errors: deque[str] = deque(maxlen=FAILING_PARTS)  # codes of the last answers, as far as all were errors
        self._fault: Fault | None = None  # the one that is told; the same as long as its code comes again

    def note(self, verdict: Verdict, *, kept: bool = False) -> None:
        """Takes an answer. `kept`: its trigger had waited at the broker, so that its age says nothing of the line."""
        error = verdict.error
        with self._lock:
            if error is None:
                self._errors.clear()
                self._fault = None
            elif error.code not in _NOT_MEANT_TO and not (kept and error.code == "late"):
                self._errors.append(error.code)
                if self._fault is None or self._fault.code not in self._errors:
                    self._fault = error

    def begin_again(self) -> None:
        """What may have been the cause is over: the answers until now say nothing of those that come."""
        with self._lock:
            self._errors.clear()
            self._fault = None

    @property
    def fault(self) -> JudgingFault | None:
        """Why it does not judge; None: it does, or too few parts came to say so."""
        with self._lock:
            fault = self._fault
            if fault is None or len(self._errors) < FAILING_PARTS:
                return None
        remedy = _REMEDIES.get(fault.code, _OF_CAMERA if fault.code.startswith("camera_") else _OTHER)
        message = f"the last {FAILING_PARTS} parts were all answered `error`: {fault.code}: {fault.message}"
        return JudgingFault(message, f"{remedy}; then show the line a part")
