"""Trials of the line's guarantees: a disk that is full or can only be read, and a clock that jumps."""

from __future__ import annotations

import signal
import time

from tests.support.account import Account, codes, latencies
from tests.support.disk import FailingDisk, SmallDisk
from tests.support.plant import Plant


def full_disk(plant: Plant, disk: SmallDisk, seconds: float, rate: float = 10.0) -> None:
    """The disk of the state is full for a while: parts are answered `error` `state_failed`, with the next numbers; then
    all is as before, and after a restart no part is answered again.
    """
    with plant.plc.shift(plant.lines, rate) as shift:
        time.sleep(1.0)
        disk.fill()
        plant.service.until(lambda: _refused(plant), "part that the disk did not take")
        time.sleep(seconds)
        disk.clear()
        cleared = time.monotonic()
        time.sleep(1.0)
    plant.settle(shift)
    plant.caught_up(30)
    after = [one for one in Account(plant.monitor.verdicts()).answers(shift.parts.values()) if one.part.sent > cleared]
    assert plant.stop() == 0
    plant.start()
    with plant.plc.shift(plant.lines, rate) as again:
        time.sleep(1.0)
    plant.settle(again)
    account = Account(plant.monitor.verdicts())
    answers = account.answers(shift.parts.values())
    print(
        f"\ndisk full for {seconds:g} s under {len(plant.lines)} x {rate:g}/s: {latencies(answers)}: {codes(answers)}"
    )
    print(f"  when it had room again: {codes(after)}; after a restart: {codes(account.answers(again.parts.values()))}")
    assert {one.code for one in after} == {"normal"}
    kept = {one.heard.message["id"] for one in answers if one.code != "state_failed"}
    on_disk = set(plant.on_disk().values())
    assert kept <= on_disk, "a verdict is not on disk that said nothing of it"
    assert on_disk <= set(account.first), "a verdict on disk never came"


def failed_disk(plant: Plant, disk: FailingDisk, seconds: float, rate: float = 10.0) -> None:
    """The disk of the state can only be read from a moment on: parts are answered, the state says why; when it is
    repaired, the service starts on it and judges.
    """
    with plant.plc.shift(plant.lines, rate) as shift:
        time.sleep(1.0)
        disk.fail()
        plant.service.until(lambda: _refused(plant), "part that the disk did not take")
        time.sleep(seconds)
    plant.settle(shift)
    heard = plant.monitor.verdicts()
    answers = Account(heard).answers(shift.parts.values())
    said = plant.monitor.state(plant.lines[0])
    assert said is not None
    print(f"\ndisk read-only under {len(plant.lines)} x {rate:g}/s: {latencies(answers)}: {codes(answers)}")
    print(f"  state: {said.message['state']}: {said.message['reason']}")
    assert said.message["state"] == "fault"
    plant.stop()
    disk.repair()
    plant.start()
    with plant.plc.shift(plant.lines, rate) as again:
        time.sleep(1.0)
    plant.settle(again)
    later = plant.monitor.verdicts()[len(heard) :]
    parts = {one.message["part_id"]: one.message["id"] for one in heard}
    numbers = {(one.line, one.message["seq"]): one.message["id"] for one in heard}
    names = [(one.message["id"], one.message["part_id"], (one.line, one.message["seq"])) for one in later]
    twice = [part for identity, part, _ in names if parts.get(part, identity) != identity]
    reused = [number for identity, _, number in names if numbers.get(number, identity) != identity]
    print(f"  after the repair: {len(twice)} parts answered again, {len(reused)} numbers used again")
    plant.on_disk()  # which is whole


def clock_jumps(plant: Plant, seconds: float, rate: float = 10.0) -> None:
    """The wall clock is set an hour ahead, two back, and right again, under load: nothing is lost, numbers go on, and
    nothing is taken for old.
    """
    with plant.plc.shift(plant.lines, rate) as shift:
        for step in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR2, signal.SIGUSR1):
            time.sleep(seconds)
            plant.signal(step)
        time.sleep(seconds)
    plant.settle(shift)
    plant.caught_up(30)
    account = Account(plant.monitor.verdicts())
    answers = account.answers(shift.parts.values())
    account.check_disk(plant.on_disk())
    print(f"\nclock +1 h, -2 h, +1 h under {len(plant.lines)} x {rate:g}/s: {latencies(answers)}: {codes(answers)}")
    assert "late" not in {one.code for one in answers}
    assert plant.metric("alfa_edge_outbox_dropped_total") == 0


def _refused(plant: Plant) -> bool:
    return all(
        any(
            one.line == line and (one.message.get("error") or {}).get("code") == "state_failed"
            for one in plant.monitor.verdicts()[-100:]
        )
        for line in plant.lines
    )
