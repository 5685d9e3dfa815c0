"""Runs the campaign, prints its figures, and ends with 1 when anything is not as it should be."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fuzz import console, hmi, mqtt, states, together
from tests.fuzz.pool import run_target
from tests.fuzz.tally import FAILURES, Progress, Record, Tally, chance_of, count_of_environment, seeds, total
from tests.fuzz.targets import IN_PROCESS, make_target
from tests.fuzz.worker import attempt

SERVICE: Mapping[str, Callable[[int, int], Tally]] = {
    "mqtt": mqtt.run,
    "console": console.run,
    "hmi": hmi.run,
    "together": together.run,
    "states": states.run,
}
_SHARE = {"broker": 0.1}
"""Of the inputs: each of these is a connection, and takes a hundred times as long."""
_FOLDER = Path("out/fuzz")


def main() -> int:
    """As the package says."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that brokers, cameras and services end with it
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Hostile inputs to all that is read.")
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"{', '.join((*IN_PROCESS, *SERVICE))}; default: all"
    )
    parser.add_argument("--case", type=int, help="this input of one target in this process, or this state")
    parser.add_argument("--fresh", action="store_true", help="begin anew, not where a campaign was cut short")
    asked = parser.parse_args()
    targets = asked.targets or [*IN_PROCESS, *SERVICE]
    if unknown := set(targets) - set(IN_PROCESS) - set(SERVICE):
        parser.error(f"no target {', '.join(sorted(unknown))}")
    if asked.case is not None:
        return _again(targets[0], asked.case)
    progress = Progress(_FOLDER / "progress.json", count_of_environment())
    if asked.fresh:
        progress.forget()
        progress = Progress(_FOLDER / "progress.json", count_of_environment())
    tallies = {target: _run(target, progress) for target in targets}
    _report(tallies)
    if set(tallies) >= set(IN_PROCESS) | set(SERVICE):
        progress.forget()  # it is whole
    return int(any(tally.failed for tally in tallies.values()))


def _run(target: str, progress: Progress) -> Tally:
    kept, count = seeds()[0], count_of_environment()
    print(f"{time.strftime('%H:%M:%S')} {target}", flush=True)
    if target in IN_PROCESS:
        tally = run_target(target, kept[target], max(1, round(count * _SHARE.get(target, 1.0))), progress)
    elif done := progress.done(target):
        tally = total(done)
    else:
        try:
            tally = SERVICE[target](kept.get(target, 0), count)
        except Exception:  # of the plant, or of what is asked of it
            tally = Tally()
            tally.add(Record(-1, "crash", said=traceback.format_exc()[-6000:]))
        else:
            progress.keep(target, "all", tally)
    print(f"  {tally}", flush=True)
    return tally


def _report(tallies: Mapping[str, Tally]) -> None:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    lines = []
    for target, tally in tallies.items():
        lines.append(f"{target}: {tally}")
        for failure in tally.failures:
            lines.append(
                f"\n--- {target} {failure['index']}: {failure['verdict']}, {failure['ms']:.0f} ms\n{failure['said']}"
            )
    (_FOLDER / "report.txt").write_text("\n".join(lines) + "\n", "utf-8")
    failed = sum(tally.counts.get(verdict, 0) for tally in tallies.values() for verdict in FAILURES)
    inputs = sum(tally.cases for tally in tallies.values())
    leaked = sum(tally.leaked for tally in tallies.values())
    print(f"{inputs} inputs, {failed} failures, {leaked} bytes of secrets; {_FOLDER / 'report.txt'} has them")


def _again(target: str, index: int) -> int:
    """One input once more; of the states, one state."""
    if target == "states":
        name = list(states.STATES)[index]
        tally = states.run(0, 1, {name: states.STATES[name]})
        print(tally, *(failure["said"] for failure in tally.failures), sep="\n")
        return int(tally.failed)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        record = attempt(make_target(target, Path(folder)), index, chance_of(target, seeds()[0][target], index))
    print(f"{record.verdict}, {record.ms:.0f} ms\n{record.said}")
    return int(record.verdict in FAILURES)


if __name__ == "__main__":
    sys.exit(main())
