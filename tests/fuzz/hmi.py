"""The console in the browser of a real service: hostile requests by nobody, scripts of each role and rubbish."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from edge.hmi.person import ROLES
from edge.hmi.users import UsersFile
from tests.fuzz.canaries import leaked
from tests.fuzz.plant import RATE, AttackedPlant, memory_mb, tracebacks
from tests.fuzz.requests import draw, exchange, patience_s, wrong
from tests.fuzz.tally import HANG_S, Record, Tally, chance_of
from tests.support.mosquitto import free_port
from tests.support.plant import ROOT

_SENDERS = 6
_LOOK_EVERY = 250
_PATIENCE_S = 30.0  # of what asks the service, which may wait for parts
_MEMORY_MB = 150.0  # that the console may grow by
_START_S = 60.0


def run(seed: int, count: int) -> Tally:
    """Each request has an answer that fits who sends it; nothing is done by whoever may not; the console goes on."""
    tally, begun, lock = Tally(), time.monotonic(), threading.Lock()
    with TemporaryDirectory(prefix="hmi-") as folder:
        port, file = free_port(), Path(folder) / "users.toml"
        tokens = {role: UsersFile(file).add(f"script-{role}", role, None) or "" for role in ROLES}
        secrets = (*tokens.values(), file.read_text())
        with AttackedPlant(hmi={"port": port, "users_file": str(file)}) as attacked:
            plant = attacked.plant
            with _console(plant.service._config, Path(folder) / "hmi.log", port) as process:
                before, host = memory_mb(process.pid), f"127.0.0.1:{port}"
                numbers = iter(range(count))

                def work() -> None:
                    while (index := _next(numbers, lock)) is not None:
                        request = draw(chance_of("hmi", seed, index), tokens, plant.lines, host)
                        sent = time.monotonic()
                        answer = exchange(port, request.data, patience_s(request, HANG_S, _PATIENCE_S))
                        ms = (time.monotonic() - sent) * 1000
                        record = _record(index, request.data, ms, answer, wrong(request, answer))
                        with lock:
                            tally.add(record)
                            tally.leaked += leaked(answer or b"")
                            status = (answer or b"")[9:12].decode("ascii", "replace") or "none"
                            tally.notes[status] = tally.notes.get(status, 0) + 1
                        if index % _LOOK_EVERY == 0:
                            assert process.poll() is None, "the console has ended by itself"

                with plant.plc.shift(plant.lines, RATE) as shift, ThreadPoolExecutor(_SENDERS) as pool:
                    for job in [pool.submit(work) for _ in range(_SENDERS)]:
                        job.result()
                for line in plant.lines:
                    plant.ask("resume", line=line)
                after = memory_mb(process.pid)
                tally.notes["memory of the console"] = f"{before:.0f} to {after:.0f} MB"
                if after - before > _MEMORY_MB:
                    tally.add(Record(-1, "memory", said=f"the console has grown from {before:.0f} to {after:.0f} MB"))
                who = {entry["claimed"] for entry in plant.ask("audit", count=1000)["entries"]}
                if strangers := who - {None, "script-operate", "script-engineer", "eva"}:
                    tally.add(Record(-2, "crash", said=f"the audit names {strangers}"))
            log = (Path(folder) / "hmi.log").read_text("utf-8", "replace")
            said = Tally()  # first: of failures only some are kept
            for number, trace in enumerate([*_faults(log), *tracebacks(attacked.log)]):
                said.add(Record(-3 - number, "crash", said=trace))
            said.merge(tally)
            tally = said
            tally.leaked += leaked(log) + sum(len(secret) for secret in secrets if secret in log)
            attacked.account(shift, tally)
            tally.notes["end on SIGTERM"] = f"{attacked.stop():.1f} s"
            tally.leaked += attacked.secrets()
    tally.seconds = time.monotonic() - begun
    return tally


def _faults(log: str) -> list[str]:
    """What the console has failed at: what was asked, and the end of the traceback, which begins with its framework."""
    found = re.findall(r"^([A-Z]+ .*)\n((?:    .*\n)+)", log, re.MULTILINE)
    return [f"{what}\n{trace[-1500:]}" for what, trace in found]


def _next(numbers: Iterator[int], lock: threading.Lock) -> int | None:
    with lock:
        return next(numbers, None)


def _record(index: int, data: bytes, ms: float, answer: bytes | None, why: str | None) -> Record:
    if why is not None:
        said = f"{why}\n{data[:800]!r}\n{(answer or b'')[:1500]!r}"
        return Record(index, "hang" if answer is None else "crash", ms, said)
    return Record(index, "fine" if answer and answer[9:10] in (b"1", b"2", b"3") else "refused", ms)


@contextmanager
def _console(config: Path, log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The console of a configuration, in a process of its own, once it answers."""
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "edge.cli", "hmi", "--config", str(config)]
        process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=sink, stderr=sink)
        try:
            end = time.monotonic() + _START_S
            while not _answers(port):
                assert time.monotonic() < end, log.read_text()
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            yield process
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        return bool(exchange(port, b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", HANG_S))
    except OSError:
        return False
