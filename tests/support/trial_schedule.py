"""Trial of the line's guarantees: a random schedule of faults under load, several at a time."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass

from tests.support import trial_camera
from tests.support.fault_schedule import ScheduledFault, ScheduledTrigger, draw_schedule, draw_triggers
from tests.support.faults import Faults
from tests.support.people import Part
from tests.support.plant import START_S, Plant
from tests.support.reused_account import ReusedAccount, Trigger, unanswered

RATES = (8.0, 3.0, 1.0, 0.5)  # of the lines, parts per second
QUIET_S = 3.0  # for the answers to what is open, before the broker forgets its sessions
SETTLE_S = 60.0
SUBSCRIBED_S = 0.5  # from a line's first word on a connection to its subscriptions
HOUR_S = 3600.0
DISK_FAULTS = ("disk full", "disk failed")  # while which the service cannot start
REFUSED = 2  # the exit code of a start that cannot use its state
SLOW_S, VERY_SLOW_S = 0.4, 4.0  # a transaction


@dataclass(frozen=True)
class Outcome:
    """What came of a schedule; `breaches` are promises that were broken."""

    seed: int
    seconds: float
    faults: int
    triggers: int
    excused: int
    verdicts: int
    surplus: int
    codes: dict[str, int]
    breaches: list[str]

    def to_dict(self) -> dict[str, object]:
        """As JSON has it."""
        return asdict(self)


class Senders:
    """Triggers on each line at the moments of its schedule; they can be held back for a while."""

    def __init__(self, plant: Plant, schedule: Mapping[str, Sequence[ScheduledTrigger]]) -> None:
        self.sent: list[Trigger] = []
        """In order; any thread may read it."""
        self._plant = plant
        self._schedule = schedule
        self._go = threading.Lock()  # held while a trigger is sent, so that none is half sent while they are held back
        self._threads: list[threading.Thread] = []

    def start(self, begun: float) -> None:
        """`begun` is the begin of the schedule, seconds of the monotonic clock."""
        self._threads = [
            threading.Thread(target=self._send, args=(line, begun), daemon=True) for line in self._schedule
        ]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def held(self) -> Iterator[None]:
        """No trigger is sent while the context is open; they are sent afterwards."""
        with self._go:
            yield

    def join(self) -> None:
        """Waits until all are sent."""
        for thread in self._threads:
            thread.join(SETTLE_S)

    def unanswered(self) -> list[Trigger]:
        """Those that are not excused and have no answer."""
        triggers: dict[str, list[Trigger]] = defaultdict(list)
        answers: dict[str, dict[str, float]] = defaultdict(dict)
        for answer in self._plant.monitor.verdicts():
            answers[answer.message["part_id"]].setdefault(answer.message["id"], answer.at)
        for trigger in tuple(self.sent):
            triggers[trigger.part.part_id].append(trigger)
        return [trigger for part, of in triggers.items() for trigger in unanswered(of, answers[part].values())]

    def _send(self, line: str, begun: float) -> None:
        for trigger in self._schedule[line]:
            time.sleep(max(0.0, begun + trigger.at - time.monotonic()))
            more = {} if trigger.deadline_ms is None else {"deadline_ms": trigger.deadline_ms}
            with self._go:
                self.sent.append(Trigger(Part(line, trigger.part_id, time.monotonic())))
                self._plant.plc.trigger(line, trigger.part_id, **more)


class FaultSchedule:
    """Carries the faults out, one after the other in this thread."""

    def __init__(self, plant: Plant, senders: Senders) -> None:
        self.breaches: list[str] = []
        self.sessions_lost = 0
        self._lasting: dict[ScheduledFault, ExitStack] = {}  # by what was done, and not by the schedule
        self._disk_well_at = 0.0
        self._begun = 0.0
        self._plant = plant
        self._senders = senders

    def run(self, faults: Sequence[ScheduledFault], seconds: float, begun: float) -> None:
        """Until all are over; `begun` and `seconds` are the begin and the length of the schedule."""
        moments = [(fault.begin, 0, fault) for fault in faults] + [(fault.end, 1, fault) for fault in faults]
        self._begun = begun
        try:
            for at, is_end, fault in sorted(moments, key=lambda moment: moment[:2]):
                self._wait(begun + at)
                if is_end:
                    self._end(fault)
                else:
                    self._lasting[fault] = stack = ExitStack()
                    stack.enter_context(self._fault(fault))
            self._wait(begun + seconds)
        finally:
            for fault in tuple(self._lasting):
                self._end(fault)

    def _end(self, fault: ScheduledFault) -> None:
        """Ends a fault, if it lasts."""
        if fault in self._lasting:
            self._lasting.pop(fault).close()
            if fault.kind in DISK_FAULTS:
                self._disk_well_at = time.monotonic()

    def _wait(self, until: float) -> None:
        while True:
            self._supervise()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.1))

    def _supervise(self) -> None:
        """Starts the service anew when it has ended by itself, as a supervisor does. It may only refuse a start, with
        exit code 2, while the disk takes nothing.
        """
        process = self._plant.service.process
        if process is not None and process.poll() is not None:
            if process.returncode != REFUSED or not self._disk_struck():
                self.breaches.append(f"the service has ended by itself, with exit code {process.returncode}")
            self._plant.start(wait=False)

    def _supervised(self, holds: Callable[[], bool]) -> Callable[[], bool]:
        """`holds`, of a service that is looked after while that is awaited, and whose disk is well again in time."""

        def looked_after() -> bool:
            for fault in tuple(self._lasting):
                if fault.kind.startswith("disk") and time.monotonic() >= self._begun + fault.end:
                    self._end(fault)
            self._supervise()
            return holds()

        return looked_after

    def _disk_struck(self) -> bool:
        """Whether there was a fault of the disk since the service was started last."""
        lasts = any(fault.kind in DISK_FAULTS for fault in self._lasting)
        return lasts or self._disk_well_at >= self._plant.started

    @contextmanager
    def _fault(self, fault: ScheduledFault) -> Iterator[None]:
        if fault.line is not None:
            with CAMERA_FAULTS[fault.kind](self._plant, fault.line):
                yield
        elif fault.kind == "session lost":
            with self._sessions_forgotten():
                yield
        else:
            with FAULTS[fault.kind](self._plant):
                yield

    @contextmanager
    def _sessions_forgotten(self) -> Iterator[None]:
        """The broker is stopped, and has forgotten all when it starts. What it took and had not passed on is lost, and
        so is what it takes for a subscriber that it does not know yet: triggers are held back before, until the
        lines have subscribed again. One that has no answer by then need not get one.
        """
        plant, senders = self._plant, self._senders
        assert plant.proxy is not None
        self.sessions_lost += 1
        with senders.held():
            _wait_for(lambda: not senders.unanswered(), QUIET_S)
            for trigger in senders.unanswered():
                trigger.excused = True
            with plant.proxy.refused():
                plant.broker.stop()
                plant.broker.forget()
                plant.monitor.subscribed.clear()
                yield
                plant.broker.start()
                assert plant.monitor.subscribed.wait(START_S)
                started = time.monotonic()
            if not _wait_for(
                self._supervised(lambda: all(_is_there(plant, line, started) for line in plant.lines)), START_S
            ):
                self.breaches.append("a line does not come back to a broker that has forgotten it")
            time.sleep(SUBSCRIBED_S)


def _wait_for(holds: Callable[[], bool], timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _is_there(plant: Plant, line: str, since: float) -> bool:
    """Whether the line has said how it is."""
    said = plant.monitor.state(line)
    return said is not None and said.at > since and said.message["state"] != "offline"


def run_schedule(plant: Plant, seed: int, seconds: float) -> Outcome:
    """Faults and triggers of a seed. Each trigger has its answer, no number is used twice, none is missing, and the
    database is whole: the outcome says what of it does not hold.
    """
    faults = draw_schedule(seed, seconds, plant.lines)
    triggers = {line: draw_triggers(seed, seconds, line, rate) for line, rate in zip(plant.lines, RATES, strict=False)}
    print(f"\nseed {seed}, {seconds:g} s: {sum(map(len, triggers.values()))} triggers, {len(faults)} faults:")
    for fault in faults:
        print(f"  {fault}")
    senders = Senders(plant, triggers)
    schedule = FaultSchedule(plant, senders)
    begun = time.monotonic()
    senders.start(begun)
    schedule.run(faults, seconds, begun)
    senders.join()
    breaches = schedule.breaches
    breaches += _settle(plant, senders)
    heard = plant.monitor.verdicts()
    if plant.stop() != 0:
        breaches.append("the service did not end well")
    account = ReusedAccount(heard, plant.history(), senders.sent, begun)
    breaches += account.breaches
    try:
        unheard = set(plant.on_disk().values()) - {one.message["id"] for one in heard}
    except AssertionError as error:
        breaches.append(f"verdicts.db is damaged: {error}")
    else:
        if unheard and not schedule.sessions_lost:
            breaches.append(f"{len(unheard)} verdicts on disk never came")
    excused = sum(trigger.excused for trigger in senders.sent)
    verdicts = sum(account.codes.values())
    codes = dict(account.codes.most_common())
    return Outcome(seed, seconds, len(faults), len(senders.sent), excused, verdicts, account.surplus, codes, breaches)


def _settle(plant: Plant, senders: Senders) -> Iterator[str]:
    """Waits until the service is well and has answered all; says what does not come."""
    plant.plc.acknowledged()
    waits: dict[str, Callable[[], bool]] = {
        "a line does not run": lambda: all(map(plant.runs, plant.lines)),
        "triggers stay without an answer": lambda: not senders.unanswered(),
        "verdicts stay in the outbox": lambda: plant.metric("alfa_edge_outbox_verdicts") == 0,
    }
    for problem, well in waits.items():
        try:
            plant.service.until(well, problem, SETTLE_S)
        except AssertionError:
            yield f"{problem} after {SETTLE_S:g} s"
            if plant.service.process is not None and plant.service.process.poll() is not None:
                plant.start()


@contextmanager
def _killed(plant: Plant) -> Iterator[None]:
    plant.kill()
    plant.start(wait=False)
    yield


@contextmanager
def _killed_early(plant: Plant) -> Iterator[None]:
    """Killed, and killed again while it starts."""
    plant.kill()
    plant.start(wait=False)
    yield
    plant.kill()
    plant.start(wait=False)


@contextmanager
def _broker_stopped(plant: Plant) -> Iterator[None]:
    plant.broker.stop()
    yield
    plant.broker.start()


@contextmanager
def _broker_hangs(plant: Plant) -> Iterator[None]:
    plant.broker.pause()
    yield
    plant.broker.resume()


@contextmanager
def _packets_swallowed(plant: Plant) -> Iterator[None]:
    assert plant.proxy is not None
    plant.proxy.swallow()
    yield


@contextmanager
def _connections_cut(plant: Plant) -> Iterator[None]:
    assert plant.proxy is not None
    plant.proxy.cut()
    yield


def _struck(what: Callable[[Faults], AbstractContextManager[None]]) -> Callable[[Plant], AbstractContextManager[None]]:
    """A fault of the service's own disk or clock."""

    def strike(plant: Plant) -> AbstractContextManager[None]:
        assert plant.faults is not None
        return what(plant.faults)

    return strike


FAULTS: Mapping[str, Callable[[Plant], AbstractContextManager[None]]] = {
    "kill": _killed,
    "kill while it starts": _killed_early,
    "broker stopped": _broker_stopped,
    "broker hangs": _broker_hangs,
    "packets swallowed": _packets_swallowed,
    "connections cut": _connections_cut,
    "disk slow": _struck(lambda faults: faults.slow_disk(SLOW_S)),
    "disk very slow": _struck(lambda faults: faults.slow_disk(VERY_SLOW_S)),
    "disk full": _struck(Faults.full_disk),
    "disk failed": _struck(Faults.failed_disk),
    "clock an hour ahead": _struck(lambda faults: faults.clock(HOUR_S)),
    "clock an hour back": _struck(lambda faults: faults.clock(-HOUR_S)),
}
CAMERA_FAULTS: Mapping[str, Callable[[Plant, str], AbstractContextManager[None]]] = {
    "camera killed": trial_camera.server_killed,
    "camera stopped": trial_camera.server_stopped,
    "picture frozen": trial_camera.frozen,
}
