"""The files of a state folder, tampered with: opened by what the service and offline commands open them with."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from core.bank.memory import Memory
from core.bank.memory_bank import BankError
from core.database.database import DatabaseError
from core.encoding import Encoding, FeaturesError
from core.image import ImageError
from edge.control.recipe_management import RecipeManagement
from edge.messages import Verdict
from edge.ops.alarms import Alarms
from edge.ops.lock import LockError, hold_state
from edge.settings import CameraSettings, HistorySettings, LineSettings
from edge.storage.history import History, UnknownVerdictError
from edge.storage.installation import check_installation
from edge.storage.journal import FILE as JOURNAL
from edge.storage.line_number import LineNumber
from edge.storage.outbox import Outbox
from edge.storage.settings_database import LineCalibration, SettingsDatabase
from edge.storage.verdict_tables import MessageIdentity
from tests.fuzz import hostile
from tests.fuzz.tally import Outcome
from tests.support.verdicts import verdict

_REFUSALS = (DatabaseError, LockError, BankError, FeaturesError, ImageError, UnknownVerdictError)
_LINES = {"one": LineSettings(camera=CameraSettings(source="sim:bottle"), pack="bottle")}
_ENCODING = Encoding("a" * 64, 1, (("window:2", (4, 8)), ("patch", (4, 8))))
_WHEN = datetime(2026, 1, 31, 6, 0, tzinfo=timezone.utc)
_INSTALLATION = "0" * 32
_WAIT_S = 4.0


class StateFiles:
    """The state opens and works, or is refused in words; nothing waits, and nothing is a traceback."""

    def __init__(self, folder: Path) -> None:
        logging.basicConfig(level=logging.CRITICAL)
        self._whole = folder / "whole"
        self._folder = folder / "state"
        self._number = 0
        _make(self._whole)
        self._kept: dict[str, bytes] = {file.name: file.read_bytes() for file in self._whole.iterdir()}

    def run(self, chance: random.Random) -> Outcome:
        self._number += 1
        folder = self._folder.with_name(f"state-{self._number}")  # one that hangs does not disturb the next
        shutil.copytree(self._whole, folder)
        try:
            for _ in range(chance.choice((1, 1, 1, 2))):
                self._tamper(chance, folder)
            return _use(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """It holds nothing."""

    def _tamper(self, chance: random.Random, folder: Path) -> None:
        ways: tuple[Callable[[random.Random, Path], None], ...] = (
            self._damage,
            self._damage,
            _cut,
            _sql,
            _sql,
            _sql,
            self._journal,
            self._beside,
            _other_kind,
            _mix,
        )
        with suppress(OSError, sqlite3.Error):  # the one before may have left nothing to tamper with
            chance.choice(ways)(chance, folder)

    def _damage(self, chance: random.Random, folder: Path) -> None:
        path = _database(chance, folder)
        if not path.is_file():
            return
        data = bytearray(path.read_bytes())
        if chance.random() < 0.3:  # the header, where each byte means something
            data[:100] = hostile.damaged(chance, bytes(data[:100]))[:100].ljust(100, b"\0")
        elif chance.random() < 0.5:  # a page's own header
            page = chance.randrange(max(1, len(data) // 4096)) * 4096
            data[page : page + 40] = hostile.damaged(chance, bytes(data[page : page + 40]))[:40].ljust(40, b"\0")
        else:
            data = bytearray(hostile.damaged(chance, bytes(data)))
        path.write_bytes(data)

    def _journal(self, chance: random.Random, folder: Path) -> None:
        path, kept = folder / JOURNAL, self._kept[JOURNAL]
        if not path.is_file() and path.exists():
            return
        kind = chance.randrange(6)
        if kind == 0:
            path.write_bytes(hostile.damaged(chance, kept))
        elif kind == 1:
            lines = [json.loads(line) for line in kept.splitlines()]
            path.write_text(
                "\n".join(json.dumps(hostile.replaced(chance, line)) for line in lines) + "\n", "utf-8", "surrogatepass"
            )
        elif kind == 2:
            record = json.loads(kept.splitlines()[0])
            record["verdict"] = json.dumps(hostile.replaced(chance, json.loads(record["verdict"])))
            path.write_text(json.dumps(record) + "\n")
        elif kind == 3:
            path.write_bytes(hostile.nested(chance) + b"\n" + kept)
        elif kind == 4:
            path.write_bytes(kept * chance.choice((2, 50)))
        else:
            path.write_text(json.dumps(hostile.value(chance)) + "\n")

    def _beside(self, chance: random.Random, folder: Path) -> None:
        """A log, an index, a hot journal or a lock beside a database."""
        path = _database(chance, folder)
        kind = chance.randrange(5)
        if kind == 0:
            head = chance.choice((b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", b""))
            path.with_name(f"{path.name}-wal").write_bytes(
                head + b"\x00\x2d\xe2\x18\x00\x00\x10\x00" + chance.randbytes(chance.choice((20, 4120, 9000)))
            )
        elif kind == 1:
            path.with_name(f"{path.name}-shm").write_bytes(chance.randbytes(chance.choice((0, 100, 32768))))
        elif kind == 2:
            head = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + (1).to_bytes(4, "big")
            path.with_name(f"{path.name}-journal").write_bytes(head + chance.randbytes(chance.choice((0, 16, 5000))))
        elif kind == 3:
            (
                folder / chance.choice(("state.lock", f"{path.name}-wal", f"{path.name}-shm", f".{path.name}.x.part"))
            ).mkdir(exist_ok=True)
        else:
            name = folder / chance.choice(("state.lock", f"{path.name}-wal", f"{path.name}-journal", JOURNAL))
            name.unlink(missing_ok=True) if not name.is_dir() else shutil.rmtree(name)
            os.mkfifo(name) if chance.random() < 0.5 else name.symlink_to(
                chance.choice(("/dev/zero", "/dev/full", "/nowhere/x", str(name)))
            )


def _database(chance: random.Random, folder: Path) -> Path:
    return folder / chance.choice(("verdicts.db", "verdicts.db", "state.db"))


def _cut(chance: random.Random, folder: Path) -> None:
    path = _database(chance, folder)
    if path.is_file():
        data = path.read_bytes()
        path.write_bytes(data[: chance.choice((0, 1, 15, 16, 99, 100, 4095, 4096, chance.randrange(len(data) + 1)))])


def _sql(chance: random.Random, folder: Path) -> None:
    """Somebody with SQLite's shell; as far as the tables take it."""
    path = _database(chance, folder)
    beside = (path, *(path.with_name(f"{path.name}-{end}") for end in ("wal", "shm", "journal")))
    if any(file.exists() and not file.is_file() for file in beside):
        return  # a pipe of the way before: SQLite's shell, too, would wait for it for ever
    try:
        with closing(sqlite3.connect(path)) as database:
            objects = database.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
            kind, name = chance.choice(objects)
            table = name if kind == "table" else "facts" if path.name == "verdicts.db" else "audit"
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')] or ["x"]
            column, new = chance.choice(columns), hostile.value(chance)
            new = new if isinstance(new, (str, float, type(None))) else json.dumps(new)
            if chance.random() < 0.4:
                new = chance.choice((2**63 - 1, -(2**63), 0, -1, 1, "x", "9" * 40, b"\xff" * 10))
            statements: tuple[tuple[str, tuple[object, ...]], ...] = (
                (f'UPDATE "{table}" SET "{column}" = ?', (new,)),
                (f'UPDATE "{table}" SET "{column}" = ?', (new,)),
                (f'UPDATE "{table}" SET "{column}" = ?', (new,)),
                (f'DELETE FROM "{table}"', ()),
                (f'DROP {kind} "{name}"', ()),
                (f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO "gone"', ()),
                (f'ALTER TABLE "{table}" RENAME TO "gone"', ()),
                (f'ALTER TABLE "{table}" ADD COLUMN "more" TEXT', ()),
                (f"CREATE TRIGGER t BEFORE INSERT ON \"{table}\" BEGIN SELECT raise(ABORT, 'no'); END", ()),
                (f'CREATE TRIGGER u AFTER INSERT ON "{table}" BEGIN DELETE FROM "{table}"; END', ()),
                (f'CREATE VIEW "v" AS SELECT * FROM "{table}"', ()),
                ("DELETE FROM _sqlite_migrations", ()),
                ("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('bank', '9999', 'x')", ()),
                ("UPDATE _sqlite_migrations SET name = '0001'", ()),
                ("INSERT OR REPLACE INTO facts (name, value) VALUES ('copied_at', ?)", (new,)),
                (f"PRAGMA user_version = {chance.randrange(-9, 2**31)}", ()),
                (f"PRAGMA application_id = {chance.randrange(2**31)}", ()),
                ("PRAGMA journal_mode = DELETE", ()),
                (f"PRAGMA encoding = '{chance.choice(('UTF-8', 'UTF-16'))}'", ()),
                ("PRAGMA writable_schema = ON", ()),
            )
            statement, values = chance.choice(statements)
            database.execute("PRAGMA foreign_keys = OFF")
            database.execute(statement, values)
            if "writable_schema" in statement:
                database.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (str(new), name))
            database.commit()
    except (sqlite3.Error, OverflowError, UnicodeError, ValueError, IndexError):
        return  # SQLite does not take it


def _other_kind(chance: random.Random, folder: Path) -> None:
    """Something else bears the name."""
    path = _database(chance, folder)
    if path.is_dir():
        return
    path.unlink()
    kind = chance.randrange(8)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to(chance.choice(("/dev/zero", "/dev/null", "/dev/full", "/proc/self/mem", str(path))))
    elif kind == 3:
        path.touch()
    elif kind == 4:
        path.write_bytes(chance.randbytes(5000))
    elif kind == 5:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE photos (id)")
            other.commit()
    elif kind == 6:
        path.symlink_to(folder / ("state.db" if path.name == "verdicts.db" else "verdicts.db"))


def _mix(chance: random.Random, folder: Path) -> None:
    """One database without the other, in the other's place, or of another time."""
    first, second = (folder / name for name in ("verdicts.db", "state.db"))
    kind = chance.randrange(4)
    if not (first.is_file() and second.is_file()):
        return
    if kind == 0:
        first.unlink()
    elif kind == 1:
        second.unlink()
    elif kind == 2:
        first.write_bytes(second.read_bytes())
    else:
        first.rename(folder / "x")
        second.rename(first)
        (folder / "x").rename(second)


def _use(folder: Path) -> Outcome:
    """As a start of the service, a part, and what consoles ask; then an end."""
    said: list[str] = []
    refused = False
    with ExitStack() as stack:
        for step in (_open_verdicts, _open_settings, _look_back):
            try:
                if step is _open_verdicts:
                    stack.callback(hold_state(folder).close)
                step(folder, stack)
            except _REFUSALS as error:
                refused = True
                said.append(str(error))
    return Outcome(refused, "\n".join(said))


def _open_verdicts(folder: Path, stack: ExitStack) -> None:
    known = check_installation(folder).numbers
    outbox = Outbox(folder, HistorySettings(), alarms=Alarms(), runtime=folder, known=known)
    stack.callback(outbox.stop)
    outbox.start()
    number = outbox.last_seq("one") + 1
    outbox.issue(verdict("one", number, "A-9")).result(_WAIT_S)
    for waiting in outbox.waiting("one", 20):
        assert isinstance(waiting.payload, bytes)
    outbox.unanswered("one")
    outbox.answered_parts("one")
    outbox.generation("one")
    outbox.depth("one")
    outbox.session("one")
    outbox.look()


def _open_settings(folder: Path, stack: ExitStack) -> None:
    database = SettingsDatabase(folder)
    stack.callback(database.stop)
    database.start()
    management = RecipeManagement(_LINES, database)
    stack.callback(management.stop)
    for shot in database.run(lambda tables: tables.bank.shots("one", active_only=False)):
        database.read(lambda tables, number=shot.id: tables.bank.image(number))
    database.run(lambda tables: tables.bank.memory("one", _ENCODING))
    database.run(lambda tables: tables.bank.revision("one"))
    database.run(lambda tables: tables.calibration("one"))
    database.run(lambda tables: tables.audit(5))
    database.run(lambda tables: tables.note("eva", "pause", {"line": "one"}, "done"))


def _look_back(folder: Path, _stack: ExitStack) -> None:
    history = History(folder)
    history.lines()
    history.last_seq("one")
    for entry in history.verdicts("one", count=20):
        entry.to_dict()
    history.entry("one", 2)


def _make(folder: Path) -> None:
    """A state with some of everything."""
    folder.mkdir()
    outbox = Outbox(folder, HistorySettings(), alarms=Alarms(), runtime=folder)
    outbox.start()
    for number in range(1, 6):
        outbox.issue(verdict("one", number, f"A-{number}")).result()
    for number in range(1, 4):
        message = MessageIdentity("edge-one", "c", number, f"{number:064x}", repeated=False, session="s")
        outbox.accept("one", f"B-{number}", _WHEN, message).future.result()
    outbox.set_session("one", "session-1")
    outbox.join(_INSTALLATION)
    outbox.stop()
    journal: Verdict = verdict("one", 6, "A-6")
    record = {"verdict": journal.to_json().decode(), "trigger": None, "message": None}
    session = {"line": "one", "session": "session-1"}
    (folder / JOURNAL).write_text(f"{json.dumps(record)}\n{json.dumps(session)}\n")
    database = SettingsDatabase(folder)
    database.start()
    picture = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    features = {0: Memory((torch.randn(1, 4, 8),), torch.randn(1, 4, 8), ())}
    database.run(
        lambda tables: tables.bank.add(
            "one", "bottle", picture, features, _ENCODING, at=_WHEN, who="ana", source="camera"
        )
    )
    kept = LineCalibration(0.4, 0.5, 0.05, 3, "3 shots", "f" * 64, "a" * 64, 1, (0.1, 0.2, 0.3))
    database.run(lambda tables: tables.calibrate("one", kept, "ana"))
    RecipeManagement(_LINES, database)
    database.run(lambda tables: tables.note("ana", "calibrate", {"line": "one"}, "done"))
    database.join(_INSTALLATION)
    database.note_number("one", LineNumber(1, 5))
    database.stop()
