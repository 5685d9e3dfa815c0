"""Enrolment that is killed at any moment, and what must be on disk after each kill."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import zmq

from core.bank.memory_bank import BANK_TABLES, Bank
from core.bank.shot_checks import FLAGS
from core.database.database import open_database
from core.encoding import encoding_of
from core.image import encode_png
from edge.control.offline import offline_dispatcher
from edge.control.protocol import Reply, Request
from edge.inspection.methods import Methods
from edge.settings_file import load_settings
from edge.storage.settings_database import FILE, STATE_TABLES
from tests.support.mosquitto import Mosquitto, eventually
from tests.support.pictures import number_of, numbered
from tests.support.service import Service, toml

LINE = {"line": "one"}
OTHER = "of another model"
STATUS = Request(id="status", command="status", who="test")
BAD_INPUT = 2
PATIENCE_S = 100.0


def write_config(folder: Path, broker: Mosquitto) -> Path:
    """A service with one line that waits for triggers, so that all it does is to enrol."""
    tables: dict[str, dict[str, Any]] = {
        "service": {"state_dir": str(folder / "state"), "runtime_dir": str(folder)},
        "model": {"name": "untrained", "device": "cpu", "dtype": "fp32", "store": str(folder / "models")},
        "method": {"scales": [3], "stride": 3},  # a quarter of the time; it is the disk that is on trial
        "mqtt": {"host": broker.host, "port": broker.port},
        "lines.one": {"pack": "bottle", "mode": "trigger"},
        "lines.one.camera": {"source": "sim:bottle?rate=1"},
        "lines.one.shots": {"limit": 100_000},  # no thinning, which would take longer than all the rest
    }
    config = folder / "edge.toml"
    config.write_text(toml(tables))
    return config


def enrolment(number: int) -> tuple[Request, bytes]:
    """Asks for the picture of a number to be enrolled."""
    arguments = {**LINE, "names": [str(number)], "yes": FLAGS}
    return Request(id=str(number), command="enroll", arguments=arguments, who="test"), encode_png(numbered(number))


def enrol(config: Path, first: int, say: Connection) -> None:
    """A process that enrols on the state itself, as the command line does, and says what was acknowledged to it."""
    with offline_dispatcher(load_settings(config)) as dispatcher:
        for number in itertools.count(first):
            asked, picture = enrolment(number)
            begun = time.monotonic()
            reply, _ = dispatcher.answer(asked, [picture])
            say.send((number, reply.result, time.monotonic() - begun))


def reembed(config: Path, _first: int, say: Connection) -> None:
    """A process that makes features anew on the state itself, as the command line does, and says of which shots."""
    with offline_dispatcher(load_settings(config), bare=True) as dispatcher:
        reply, _ = dispatcher.answer(Request(id="reembed", command="shots_reembed", arguments=LINE, who="test"), ())
        assert reply.result is not None
        say.send(reply.result["shots"])
        threading.Event().wait()


def refusal(config: Path) -> str:
    """What a service says that does not start."""
    with Service(config) as service:
        assert service.process is not None
        assert service.process.wait(PATIENCE_S) == BAD_INPUT, service.log.read_text()
    return service.log.read_text()


@dataclass
class Ordeal:
    """One state, the processes that are killed while they change it, and what they had acknowledged.

    Attributes:
        config: Of the service.
        chance: Chooses the moments.
        shots: The number of the picture of each acknowledged shot.
        revision: The last one acknowledged.
        kills: Of processes that were enrolling or re-embedding.
        unsaid: Shots on disk that nobody was told of.
        enrol_s: How long each acknowledged enrolment took.
        start_s: How long each start of a service took, until it answered.
    """

    config: Path
    chance: random.Random
    shots: dict[int, int] = field(default_factory=dict)
    revision: int = 0
    kills: int = 0
    unsaid: int = 0
    enrol_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = load_settings(self.config)
        self._path = self.config.parent / "state" / FILE
        self._encoding = encoding_of(Methods(settings.model).get(settings.method))
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([__name__])  # so that each process starts at once
        self._next = 1  # the number of the next picture
        self._altered = False
        self._lacking = 0  # shots that may be without features

    def kill_service(self, acknowledged: int) -> None:
        """Enrols on a service until so many shots are acknowledged, and kills it soon after."""
        killer: threading.Timer | None = None
        goal = max(acknowledged, len(self.shots) + 1)
        with self._service() as (service, ask):
            assert service.process is not None
            while self._enrol(ask):
                if killer is None and len(self.shots) >= goal:
                    killer = threading.Timer(self._moment(), service.process.kill)
                    killer.start()
        assert killer is not None, service.log.read_text()
        self._killed()

    def kill_enrolment(self, acknowledged: int) -> None:
        """As `kill_service`, but enrols without a service."""
        goal = max(acknowledged, len(self.shots) + 1)
        with self._process(enrol) as (process, hear):
            while len(self.shots) < goal:
                self._note(*hear())
            time.sleep(self._moment())
            process.kill()
            process.join()
            with suppress(EOFError):  # what it had said before
                while True:
                    self._note(*hear())
        self._next += 1  # that which was in work may be there, or not
        self._killed()

    def alter(self) -> None:
        """Makes all features those of another model."""
        with closing(sqlite3.connect(self._path)) as database, database:
            database.execute("UPDATE features SET fingerprint = ?", [OTHER])
        self._altered, self._lacking = True, len(self.shots) + self.unsaid

    def kill_reembedding(self, done: int) -> None:
        """Makes features anew until so many shots have them again, and kills the process soon after."""
        with self._process(reembed) as (process, _):
            eventually(lambda: self._embedded() >= done, PATIENCE_S)
            time.sleep(self._moment())
            self._lacking = len(self.shots) + self.unsaid - self._embedded()
            process.kill()
            process.join()
        self._killed()

    def reembed(self) -> tuple[int, ...]:
        """Makes the features of all that lack them anew; which shots they are."""
        with self._process(reembed) as (_, hear):
            made = hear()
        self._lacking = 0
        self.check()
        return made

    def serve(self) -> dict[str, int]:
        """The line's bank as a service has it, which is then stopped."""
        with self._service() as (service, ask):
            found = ask(STATUS)
            assert found is not None
            assert service.stop() == 0
        return dict(found["lines"]["one"]["bank"])

    def check(self) -> list[int]:
        """What is on disk is whole, and at least what was acknowledged; the shots that lack features."""
        with open_database(self._path, [BANK_TABLES, STATE_TABLES]) as database:  # which reads all of the file
            assert list(database.tables.query("PRAGMA foreign_key_check")) == []
            bank = Bank(database)
            found = [shot.id for shot in bank.shots("one")]
            assert found == [*range(1, len(found) + 1)]
            pictures = {shot: number_of(bank.image(shot)) for shot in found}
            assert {shot: pictures.get(shot) for shot in self.shots} == self.shots, "an acknowledged shot is lost"
            self.unsaid = len(found) - len(self.shots)
            assert self.unsaid <= self.kills  # of each, at most the one that was in work
            assert self.revision <= bank.revision("one") == len(found)
            noted = "SELECT json_extract(arguments, '$.names[0]') AS name FROM audit WHERE outcome = 'done'"
            names = {row["name"] for row in database.tables.query(noted)}
            assert {str(number) for number in self.shots.values()} <= names
            lacking = [shot.id for shot in bank.missing("one", self._encoding)]
            assert len(lacking) <= self._lacking
            if self._altered:
                self._compare(bank, lacking)
        return lacking

    def _embedded(self) -> int:
        """Shots that have features, read beside the process that makes them."""
        query = "SELECT count(DISTINCT shot) FROM features WHERE fingerprint = ?"
        with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as database:
            return int(database.execute(query, [self._encoding.fingerprint]).fetchone()[0])

    def _compare(self, bank: Bank, lacking: Sequence[int]) -> None:
        """The features of the other model are all there still, and those that were made anew are equal to them."""
        others = bank.memory("one", replace(self._encoding, fingerprint=OTHER))
        if lacking:
            return
        for (shot, _, one), (other, _, two) in zip(bank.memory("one", self._encoding), others, strict=True):
            assert shot == other
            for new, old in zip((*one.windows, one.patches), (*two.windows, two.patches), strict=True):
                assert torch.allclose(new.float(), old.float(), atol=1e-2)

    def _killed(self) -> None:
        self.kills += 1
        self.check()

    def _moment(self) -> float:
        """Seconds, at most about as many as an enrolment takes."""
        return self.chance.uniform(0.0, statistics.median(self.enrol_s[-10:]))

    def _enrol(self, ask: Callable[..., dict[str, Any] | None]) -> bool:
        """Whether the next picture's enrolment was acknowledged."""
        number, begun = self._next, time.monotonic()
        self._next += 1
        asked, picture = enrolment(number)
        result = ask(asked, picture)
        if result is not None:
            self._note(number, result, time.monotonic() - begun)
        return result is not None

    def _note(self, number: int, result: dict[str, Any], took: float) -> None:
        [one] = result["pictures"]
        assert one["shot"] not in self.shots
        assert result["bank"]["revision"] > self.revision
        self.shots[one["shot"]], self.revision = number, result["bank"]["revision"]
        self.enrol_s.append(took)
        self._next = number + 1

    @contextmanager
    def _process(
        self, work: Callable[[Path, int, Connection], None]
    ) -> Iterator[tuple[BaseProcess, Callable[[], tuple[Any, ...]]]]:
        """A process that works, and what it says next; EOFError when it has ended."""
        receiver, sender = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=work, args=(self.config, self._next, sender), daemon=True)
        process.start()
        sender.close()

        def hear() -> tuple[Any, ...]:
            assert receiver.poll(PATIENCE_S), f"nothing is heard of {work.__name__}"
            return tuple(receiver.recv())

        try:
            yield process, hear
        finally:
            process.kill()
            process.join()
            receiver.close()

    @contextmanager
    def _service(self) -> Iterator[tuple[Service, Callable[..., dict[str, Any] | None]]]:
        """A service that answers, and how to ask it: the result is None when it ended before it said so."""
        begun = time.monotonic()
        with Service(self.config) as service, zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            process = service.process
            assert process is not None
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(f"ipc://{self.config.parent}/console.sock")  # tried again until it listens

            def ask(asked: Request, *blobs: bytes) -> dict[str, Any] | None:
                socket.send_multipart(asked.to_parts(blobs))
                end = time.monotonic() + PATIENCE_S
                while not socket.poll(20):
                    if process.poll() is not None:
                        return None
                    assert time.monotonic() < end, f"no answer to {asked.command}:\n{service.log.read_text()[-4000:]}"
                reply = Reply.model_validate_json(socket.recv_multipart()[0])
                assert reply.result is not None, reply.refusal
                return reply.result

            assert ask(STATUS) is not None, service.log.read_text()
            self.start_s.append(time.monotonic() - begun)
            yield service, ask


def endure(folder: Path, seed: int, enrolments: int, services: int, bare: int, reembeddings: int) -> Ordeal:
    """Enrolments killed at random moments, so often on a service and so often without one; then the features of all
    that are made anew, killed so often; and a service that starts with all of it at the end.
    """
    with Mosquitto() as broker:
        chance = random.Random(seed)
        one = Ordeal(write_config(folder, broker), chance)
        ways = [one.kill_service] * services + [one.kill_enrolment] * bare
        chance.shuffle(ways)
        stops = sorted(chance.sample(range(1, enrolments), len(ways) - 1))
        for kill, stop in zip(ways, [*stops, enrolments], strict=True):
            kill(stop)
        one.alter()
        lacking = one.check()
        for stop in sorted(chance.sample(range(1, enrolments - 3), reembeddings)):
            one.kill_reembedding(stop)
            lacking = one.check()
        assert one.reembed() == tuple(lacking)
        count = len(one.shots) + one.unsaid
        assert one.serve() == {"shots": count, "revision": count}
        return one
