"""Trials of the line's guarantees: a broker that is away, hangs or refuses, and a network that swallows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise

from tests.support.account import Account, latencies
from tests.support.plant import PASSWORDS, Plant

IN_FLIGHT = 20  # mqtt.in_flight
HISTORICAL_S = 2.0  # mqtt.historical_after_s


@contextmanager
def stopped(plant: Plant) -> Iterator[None]:
    """The broker has ended; it comes back with its memory."""
    plant.broker.stop()
    yield
    plant.broker.start()


@contextmanager
def hangs(plant: Plant) -> Iterator[None]:
    """The broker accepts and answers nothing."""
    plant.broker.pause()
    yield
    plant.broker.resume()


@contextmanager
def refuses(plant: Plant) -> Iterator[None]:
    """The broker knows another password."""
    plant.broker.set_password("edge", "changed")
    plant.broker.restart()
    yield
    plant.broker.set_password("edge", PASSWORDS["edge"])
    plant.broker.restart()


@contextmanager
def swallows(plant: Plant) -> Iterator[None]:
    """Packets of the connections that there are vanish, unnoticed by either side; new connections work."""
    assert plant.proxy is not None
    plant.proxy.swallow()
    yield


CAUSES: Mapping[str, Callable[[Plant], AbstractContextManager[None]]] = {
    "stopped": stopped,
    "hangs": hangs,
    "refuses": refuses,
    "swallows": swallows,
}


def outage(plant: Plant, cause: str, seconds: float, rate: float = 5.0) -> None:
    """Parts that are triggered from the console while the broker is away: none is lost, none has two verdicts, what
    comes late comes in order and marked, and what is issued after the outage does not wait for that.
    """
    with plant.operator.shift(plant.lines, rate) as before:
        time.sleep(max(0.7, seconds / 10))
    plant.settle(before)
    with plant.operator.shift(plant.lines, rate) as shift:
        began = time.monotonic()
        with CAUSES[cause](plant):
            time.sleep(seconds)
        ended = began if cause == "swallows" else time.monotonic()  # new connections work at once
        issued = plant.metric("alfa_edge_outbox_verdicts")
        plant.caught_up(60 + seconds)
        caught_up = time.monotonic()
        time.sleep(1.0)
    plant.settle(shift)
    account = Account(plant.monitor.verdicts())
    answers = account.answers(shift.parts.values())
    shown = plant.operator.answers
    assert all(shown[one.part.part_id] == one.heard.message["id"] for one in answers), "another verdict was shown"
    account.check_disk(plant.on_disk())

    heard = [one for one in account.first.values() if one.at > began]
    late = {line: [one for one in heard if one.line == line and one.message["historical"]] for line in plant.lines}
    for line, of in late.items():
        assert all(a.message["seq"] < b.message["seq"] for a, b in pairwise(of)), f"{line}: late ones out of order"
    if cause in ("stopped", "refuses"):  # nothing was sent before the end
        behind = [one for one in answers if one.heard.at > ended > one.heard.moment("issued_at") + HISTORICAL_S]
    else:
        behind = [one for one in answers if one.heard.at > one.heard.moment("issued_at") + HISTORICAL_S + 1.0]
    unmarked = [one for one in behind if not one.heard.message["historical"]]
    print(f"\nbroker {cause} for {seconds:g} s under {len(plant.lines)} x {rate:g}/s from the console")
    print(f"  {sum(map(len, late.values()))} came marked historical, {len(unmarked)} late ones had been on their way,")
    print(f"  {issued:.0f} waited at its end; caught up {caught_up - ended:.1f} s after; {account.repeats} came twice")
    if cause == "hangs":  # what the network had taken already goes on as it was
        assert all(sum(one.part.line == line for one in unmarked) <= IN_FLIGHT for line in plant.lines)
    else:
        assert not unmarked, "a verdict came late and was not marked"
    back = min((one.at for of in late.values() for one in of), default=ended)
    live = [one for one in answers if one.part.sent > back and not one.heard.message["historical"]]
    print(f"  back {back - ended:.1f} s after; before: {latencies(account.answers(before.parts.values()))}")
    meanwhile = [one for one in live if one.part.sent < caught_up]
    if meanwhile:
        print(f"  live ones beside the backlog: {latencies(meanwhile)}")
        assert latencies(meanwhile).p50 < 1000 * HISTORICAL_S, "live verdicts wait for the backlog"
    assert live, "nothing came live after the outage"
