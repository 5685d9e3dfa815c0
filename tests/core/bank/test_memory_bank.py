"""What was enrolled is there, as it was, or the bank says which shot is not."""

import hashlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlite_utils
import torch
import torch.nn.functional as F
from sqlite_utils import Migrations

from core.alfa import Alfa
from core.backbone import Backbone
from core.bank.augment import augment
from core.bank.feature_maps import MapKind
from core.bank.memory import Memory, make_index, remember, search
from core.bank.memory_bank import BANK_TABLES, Bank, BankError, DuplicateShotError, FeaturesOfOthersError, Shot
from core.bank.shot_checks import Flag
from core.bank.shot_folder import export_shots, import_shots
from core.database.database import Database, DatabaseError, open_database
from core.encoding import Encoding, encoding_of
from core.image import Rgb, encode_jpeg, encode_png

SMALL = Encoding("a" * 64, 1, (("window:2", (16, 8)), ("window:3", (9, 8)), ("patch", (25, 12))))
NOW = datetime(2026, 1, 31, 6, 0, tzinfo=timezone.utc)


def picture(seed: int, size: int = 32) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (size, size + 8, 3), dtype=np.uint8)


def memory(seed: int, encoding: Encoding = SMALL) -> Memory:
    generator = torch.Generator().manual_seed(seed)
    made = [F.normalize(torch.randn(1, *shape, generator=generator), dim=-1) for _, shape in encoding.shapes]
    maps = tuple(torch.randn(1, *kind.shape, generator=generator) for kind in encoding.maps)
    return Memory(tuple(made[:-1]), made[-1], maps)


def enrol(bank: Bank, seed: int, line: str = "press", encoding: Encoding = SMALL) -> Shot:
    features = {variant: memory(seed + 1000 * variant, encoding) for variant in (0, 4)}
    return bank.add(line, "cap", picture(seed), features, encoding, at=NOW, who="ana", source="camera")


def same(one: Memory, two: Memory) -> bool:
    pairs = zip((*one.windows, one.patches, *one.maps), (*two.windows, two.patches, *two.maps), strict=True)
    return all(torch.equal(a.half(), b.half()) for a, b in pairs)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with open_database(path, [BANK_TABLES]) as one:
        yield one


@pytest.fixture
def bank(database: Database) -> Bank:
    return Bank(database)


def test_a_shot_is_kept_with_its_picture_features_and_provenance(bank: Bank) -> None:
    flags = (Flag("blurred", "sharpness 1 is below 2"),)
    features = {0: memory(1), 5: memory(2)}
    here = NOW.astimezone(timezone(timedelta(hours=2)))
    shot = bank.add(
        "press", "cap", picture(1), features, SMALL, at=here, who="ana", source="file", note="nötig", flags=flags
    )
    png = encode_png(picture(1))
    assert shot == Shot(
        1, "press", "cap", hashlib.sha256(png).hexdigest(), 40, 32, NOW, "ana", "file", "nötig", flags, True, None, None
    )
    assert bank.shots("press") == [shot]
    assert bank.shot(1) == shot
    assert bank.shots("other") == []
    assert np.array_equal(bank.image(1), picture(1))
    assert bank.png(1) == png
    (first, zero, one), (second, five, two) = bank.memory("press", SMALL)
    assert (first, zero, second, five) == (shot, 0, shot, 5)
    assert same(one, features[0])
    assert same(two, features[5])
    assert one.patches.dtype == torch.float16
    assert bank.revision("press") == 1


def test_a_bank_of_eight_variants_is_migrated_with_all_that_it_holds(path: Path) -> None:
    first = BANK_TABLES.pending(sqlite_utils.Database(memory=True))[0]
    before = Migrations("bank")
    before(name=first.name)(first.fn)
    tables = ("shots", "features", "bank_revisions")
    with open_database(path, [before]) as old:
        bank = Bank(old)
        shots = [enrol(bank, seed) for seed in range(3)]
        bank.remove(2, NOW, "bo")
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            bank.embed(1, {0: memory(1), 15: memory(2)}, SMALL)
        kept = {name: list(old.tables.query(f"SELECT * FROM {name} ORDER BY rowid")) for name in tables}
    assert len(kept["features"]) == 3 * 2 * 3
    for _ in range(2):  # and opened again
        with open_database(path, [BANK_TABLES]) as database:
            bank = Bank(database)
            for name in tables:
                assert list(database.tables.query(f"SELECT * FROM {name} ORDER BY rowid")) == kept[name]
            assert list(database.tables.query("PRAGMA foreign_key_check")) == []
            assert [shot.id for shot, _, _ in bank.memory("press", SMALL)] == [1, 1, 3, 3]
    with open_database(path, [BANK_TABLES]) as database:
        bank = Bank(database)
        bank.embed(1, {variant: memory(variant) for variant in range(16)}, SMALL)
        assert [variant for shot, variant, _ in bank.memory("press", SMALL) if shot == shots[0]] == list(range(16))
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"), database.transaction():
            database.tables.execute("UPDATE features SET shot = 9 WHERE shot = 3")
        with database.transaction():
            database.tables.execute("DELETE FROM bank_revisions WHERE shot = 3")
            database.tables.execute("DELETE FROM shots WHERE id = 3")
        assert database.tables.table("features").count_where("shot = 3") == 0


def test_features_of_a_model_come_back_to_score_with(bank: Bank, backbone: Backbone) -> None:
    alfa = Alfa(backbone, patches=True)
    encoding = encoding_of(alfa)
    assert encoding.shapes == (("window:2", (196, 128)), ("window:3", (169, 128)), ("patch", (225, 192)))
    part = picture(3, 240)
    features = {one: remember(alfa.vision(backbone.pixels([augment(part, one)]))) for one in (0, 2)}
    bank.add("press", "cap", part, features, encoding, at=NOW, who="ana", source="camera")
    index = make_index([one for _, _, one in bank.memory("press", encoding)], torch.device("cpu"))
    found = search(alfa.vision(backbone.pixels([part, picture(4, 240)])), index)
    assert float(found.patches[0].max()) < 1e-5
    assert float(found.patches[1].max()) > 1e-3


def test_removal_is_reversible_and_each_change_counts_up(bank: Bank) -> None:
    one, two = enrol(bank, 1), enrol(bank, 2)
    enrol(bank, 3, line="saw")
    assert (bank.revision("press"), bank.revision("saw"), bank.revision("none")) == (2, 1, 0)
    later = NOW + timedelta(minutes=1)
    gone = bank.remove(np.int64(one.id), later, "bo")  # type: ignore[arg-type]  # as comes out of an array
    assert (gone.active, gone.removed_at, gone.removed_by) == (False, later, "bo")
    assert bank.shots("press") == [two]
    assert bank.shots("press", active_only=False) == [gone, two]
    assert [shot.id for shot, _, _ in bank.memory("press", SMALL)] == [two.id, two.id]
    with pytest.raises(BankError, match="shot 1 of line 'press' was removed already, by bo"):
        bank.remove(one.id, later, "bo")
    assert bank.restore(one.id, later, "cy") == one
    with pytest.raises(BankError, match="shot 1 of line 'press' is active"):
        bank.restore(one.id, later, "cy")
    with pytest.raises(BankError, match="there is no shot 9"):
        bank.remove(9, later, "bo")
    assert bank.revision("press") == 4
    rows = bank._tables.query("SELECT revision, who, what, shot FROM bank_revisions WHERE line = 'press'")
    assert [tuple(row.values()) for row in rows] == [
        (1, "ana", "enrol", 1),
        (2, "ana", "enrol", 2),
        (3, "bo", "remove", 1),
        (4, "cy", "restore", 1),
    ]


def test_the_same_picture_is_refused_while_it_is_active_on_the_line(bank: Bank) -> None:
    one = enrol(bank, 1)
    with pytest.raises(
        DuplicateShotError, match="this picture is shot 1 of line 'press' already, added by ana at 2026"
    ):
        enrol(bank, 1)
    assert enrol(bank, 1, line="saw").line == "saw"
    bank.remove(one.id, NOW, "bo")
    again = enrol(bank, 1)
    with pytest.raises(DuplicateShotError) as caught:
        bank.restore(one.id, NOW, "bo")
    assert caught.value.shot == again
    assert bank.revision("press") == 3


def test_what_is_no_shot_changes_nothing(bank: Bank) -> None:
    broken = memory(1)
    broken.patches[0, 3, 4] = torch.nan
    short = Memory(memory(1).windows, memory(1).patches[:, 1:])
    for features, message in (
        ({0: broken}, "patch of variant 0 are not all finite"),
        ({0: short}, r"variant 0 have shapes \[1, 16, 8\], \[1, 9, 8\], \[1, 24, 12\]; the encoding has window:2"),
        ({0: Memory(memory(1).windows[:1], memory(1).patches)}, "variant 0 have shapes"),
        ({1: memory(1)}, "0 must be there"),
        ({0: memory(1), 16: memory(1)}, "0 must be there"),
    ):
        with pytest.raises(BankError, match=message):
            bank.add("press", "cap", picture(1), features, SMALL, at=NOW, who="ana", source="camera")
    wrong: list[Any] = [picture(1)[..., 0], picture(1) / 255, encode_jpeg(picture(1)), b"\x89PNG\r\n\x1a\nno"]
    for image in wrong:
        with pytest.raises(ValueError, match="picture"):
            bank.add("press", "cap", image, {0: memory(1)}, SMALL, at=NOW, who="ana", source="camera")
    with pytest.raises(ValueError, match="no time zone"):
        bank.add(
            "press", "cap", picture(1), {0: memory(1)}, SMALL, at=NOW.replace(tzinfo=None), who="ana", source="camera"
        )
    assert bank.shots("press", active_only=False) == []
    assert bank.revision("press") == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE features SET data = zeroblob(length(data)) WHERE kind = 'window:3'", "window:3 .*are damaged"),
        ("UPDATE features SET data = substr(data, 3) WHERE kind = 'patch'", "patch of variant 0 are damaged"),
        ("DELETE FROM features WHERE kind = 'patch' AND variant = 4", "patch of variant 4 are missing"),
        ("DELETE FROM features WHERE variant = 0", "variant 0 are missing"),
        ("UPDATE features SET shape = '[15, 8]' WHERE kind = 'window:2'", r"window:2 .*\[15, 8\], the method's are"),
        ("UPDATE features SET dtype = 'float32' WHERE kind = 'patch'", "patch of variant 0 are float32"),
        ("UPDATE features SET fingerprint = 'b'", "of shot 2 are of another model"),
        ("UPDATE features SET preprocess = 2", "of shot 2 are of another model or preprocessing than aaaaaaaaaaaa,"),
    ],
)
def test_features_that_are_not_as_they_were_are_refused_and_can_be_made_anew(
    bank: Bank, change: str, message: str
) -> None:
    enrol(bank, 1)
    enrol(bank, 2)
    bank._tables.execute(f"{change} {'AND' if 'WHERE' in change else 'WHERE'} shot = 2")
    with pytest.raises(BankError, match=message) as caught:
        bank.memory("press", SMALL)
    assert "shot 2" in str(caught.value)
    assert "make them anew from the kept picture" in str(caught.value)
    assert [shot.id for shot in bank.missing("press", SMALL)] == [2]
    assert np.array_equal(bank.image(2), picture(2))
    bank.embed(2, {0: memory(2)}, SMALL)
    assert bank.missing("press", SMALL) == []
    assert [(shot.id, variant) for shot, variant, _ in bank.memory("press", SMALL)] == [(1, 0), (1, 4), (2, 0)]


def test_a_flipped_byte_in_the_file_is_found(path: Path) -> None:
    with open_database(path, [BANK_TABLES]) as database:
        enrol(Bank(database), 1)
    data = bytearray(path.read_bytes())
    blob = memory(1).patches.half().numpy().tobytes()
    at = data.index(blob[:64])
    data[at + 30] ^= 0x10
    path.write_bytes(data)
    with open_database(path, [BANK_TABLES]) as database:  # SQLite itself sees nothing wrong
        with pytest.raises(BankError, match="shot 1 of line 'press': features patch of variant 0 are damaged"):
            Bank(database).memory("press", SMALL)
        shown = database.tables.query("SELECT substr(image, 100, 20) AS part FROM shots")
        piece = next(iter(shown))["part"]
    data = bytearray(path.read_bytes())
    data[data.index(piece) + 5] ^= 1
    path.write_bytes(data)
    with open_database(path, [BANK_TABLES]) as database, pytest.raises(BankError, match="its picture is damaged"):
        Bank(database).image(1)


def test_another_model_needs_features_of_its_own_and_leaves_those_of_the_first(bank: Bank) -> None:
    one, two = enrol(bank, 1), enrol(bank, 2)
    other = Encoding("b" * 64, 1, (("window:2", (4, 6)), ("patch", (9, 6))))
    with pytest.raises(BankError, match=r"shot 1, 2 are of another model .* than bbbbbbbbbbbb, version 1; make them"):
        bank.memory("press", other)
    assert bank.missing("press", other) == [one, two]
    bank.embed(one.id, {0: memory(7, other)}, other)
    assert bank.missing("press", other) == [two]
    bank.embed(two.id, {0: memory(8, other)}, other)
    assert [shot for shot, _, found in bank.memory("press", other) if same(found, memory(6 + shot.id, other))] == [
        one,
        two,
    ]
    assert len(bank.memory("press", SMALL)) == 4
    with pytest.raises(BankError, match="have shapes"):
        bank.embed(one.id, {0: memory(7)}, other)
    with pytest.raises(BankError, match="no shot 7"):
        bank.embed(7, {0: memory(7)}, SMALL)
    assert bank.revision("press") == 2


def test_shots_travel_in_a_folder_and_are_verified(bank: Bank, tmp_path: Path) -> None:
    flagged = (Flag("blurred", "a little"),)
    bank.add("press", "cap", picture(1), {0: memory(1)}, SMALL, at=NOW, who="ana", source="camera", flags=flagged)
    removed = enrol(bank, 2)
    bank.remove(removed.id, NOW, "bo")
    enrol(bank, 3)
    folder = tmp_path / "out"
    assert [shot.id for shot in export_shots(bank, "press", folder)] == [1, 3]
    assert sorted(one.name for one in folder.iterdir()) == ["shot-000001.png", "shot-000003.png", "shots.json"]
    with pytest.raises(BankError, match="is not empty"):
        export_shots(bank, "press", folder)

    def embed(image: Rgb) -> dict[int, Memory]:
        return {0: memory(int(image[0, 0, 0]))}

    enrol(bank, 3, line="saw")
    later = NOW + timedelta(days=1)
    (came,) = import_shots(bank, folder, "saw", lambda _: SMALL, embed, at=later, who="bo")
    assert (came.line, came.class_name, came.who, came.added_at, came.flags) == ("saw", "cap", "bo", later, flagged)
    assert came.source == "camera (line press, added by ana at 2026-01-31T06:00:00+00:00)"
    assert np.array_equal(bank.image(came.id), picture(1))
    assert bank.png(came.id) == bank.png(1)
    assert bank.revision("saw") == 2
    assert len(bank.memory("saw", SMALL)) == 3
    assert import_shots(bank, folder, "saw", lambda _: SMALL, embed, at=later, who="bo") == []

    manifest = (folder / "shots.json").read_text()
    (folder / "shots.json").write_text(manifest.replace("shot-000003.png", "../shot-000003.png"))
    with pytest.raises(BankError, match=r"shots\.json is no manifest of shots \(shots\.1\.file"):
        import_shots(bank, folder, "new", lambda _: SMALL, embed, at=later, who="bo")
    (folder / "shots.json").write_text(manifest)
    (folder / "shot-000003.png").write_bytes(encode_png(picture(9)))
    with pytest.raises(BankError, match=r"shot-000003\.png is not the picture that was exported"):
        import_shots(bank, folder, "new", lambda _: SMALL, embed, at=later, who="bo")
    assert json.loads(manifest)["format"] == 1
    assert bank.shots("new") == []
    with pytest.raises(BankError, match="No such file"):
        import_shots(bank, tmp_path / "none", "new", lambda _: SMALL, embed, at=later, who="bo")


def test_a_shot_takes_less_than_a_megabyte_beside_its_picture(bank: Bank, database: Database) -> None:
    paper = Encoding("c" * 64, 1, (("window:2", (196, 640)), ("window:3", (169, 640)), ("patch", (225, 896))))

    def size() -> int:
        count, page = (database.tables.execute(f"PRAGMA {one}").fetchone()[0] for one in ("page_count", "page_size"))
        return int(count * page)

    before, shots = size(), 4
    images = 0
    for seed in range(shots):
        features = {0: memory(seed, paper)}
        shot = bank.add("press", "cap", picture(seed, 240), features, paper, at=NOW, who="ana", source="camera")
        images += len(bank.png(shot.id))
    each = (size() - before - images) / shots
    print(f"{each / 1e6:.3f} MB a shot beside its picture")
    assert each < 1e6
    assert same(bank.memory("press", paper)[0][2], memory(0, paper))


def test_a_backup_while_shots_are_enrolled_is_an_identical_bank(path: Path, tmp_path: Path) -> None:
    targets, done = (tmp_path / "backups" / f"{number}.db" for number in itertools.count()), threading.Event()
    with open_database(path, [BANK_TABLES]) as database:
        enrol(Bank(database), 0)
        seen = []

        def back_up() -> None:
            while not done.is_set():
                target = next(targets)
                database.backup(target)
                with open_database(target, [BANK_TABLES]) as copy:
                    shots = len(Bank(copy).memory("press", SMALL)) // 2
                    seen.append((shots, Bank(copy).revision("press")))

        thread = threading.Thread(target=back_up)
        thread.start()
        for seed in range(1, 40):
            enrol(Bank(database), seed)
        done.set()
        thread.join()
        assert seen
        assert all(shots == revision >= 1 for shots, revision in seen)
        target = next(targets)
        database.backup(target)
        with open_database(target, [BANK_TABLES]) as copy:
            assert list(copy.tables.conn.iterdump()) == list(database.tables.conn.iterdump())


ENROLLING = """
import sys
from pathlib import Path
from core.bank.memory_bank import BANK_TABLES, Bank
from core.database.database import open_database
from tests.core.bank.test_memory_bank import enrol
bank = Bank(open_database(Path(sys.argv[1]), [BANK_TABLES]))
for seed in range(100_000):
    print(enrol(bank, seed).id, flush=True)
"""


def test_what_was_acknowledged_outlives_a_kill(path: Path) -> None:
    program = [sys.executable, "-c", ENROLLING, str(path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(25)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().splitlines() if line]
    assert len(acknowledged) >= 25
    with open_database(path, [BANK_TABLES]) as database:
        bank = Bank(database)
        shots = bank.shots("press")
        assert [shot.id for shot in shots][: len(acknowledged)] == acknowledged
        assert len(shots) <= len(acknowledged) + 1  # one may be on disk that nobody was told of
        assert bank.revision("press") == len(shots)
        assert len(bank.memory("press", SMALL)) == 2 * len(shots)
        assert np.array_equal(bank.image(shots[-1].id), picture(len(shots) - 1))


def test_a_full_disk_leaves_the_bank_as_it_was(bank: Bank, database: Database) -> None:
    enrol(bank, 1)
    pages = database.tables.execute("PRAGMA page_count").fetchone()[0]
    database.tables.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(DatabaseError, match="is full; make room on its disk"):
        enrol(bank, 2)
    assert [shot.id for shot in bank.shots("press", active_only=False)] == [1]
    assert bank.revision("press") == 1
    database.tables.execute(f"PRAGMA max_page_count = {pages + 1000}")
    enrol(bank, 2)
    assert len(bank.memory("press", SMALL)) == 4


def test_a_reader_reads_the_bank_and_changes_nothing(bank: Bank, database: Database) -> None:
    enrol(bank, 1)
    with database.reader() as reader, reader.snapshot():
        one = Bank(reader)
        assert (one.revision("press"), len(one.memory("press", SMALL))) == (1, 2)
        bank.remove(1, NOW, "bo")
        assert (one.revision("press"), len(one.memory("press", SMALL))) == (1, 2)
    with database.reader() as reader, pytest.raises(DatabaseError, match="can only be read"):
        Bank(reader).remove(1, NOW, "bo") if Bank(reader).shot(1).active else Bank(reader).restore(1, NOW, "bo")
    with pytest.raises(sqlite3.IntegrityError):
        database.tables.execute("DELETE FROM shots")  # its history holds on to it


def towered(tower: str) -> Encoding:
    """SMALL with the maps of two models, each with a fingerprint of its own."""
    maps = (MapKind("clip", "b" * 64, (3, 3, 8)), MapKind(f"{tower}:mean", tower[0] * 64, (4, 2, 6)))
    return replace(SMALL, maps=maps)


def test_maps_of_towers_are_kept_beside_the_clips_features_each_by_its_own_identity(
    bank: Bank, database: Database
) -> None:
    encoding = towered("lite0")
    shot = enrol(bank, 1, encoding=encoding)
    ((_, _, first), (_, variant, second)) = bank.memory("press", encoding)
    assert same(first, memory(1, encoding))
    assert (variant, [tuple(one.shape) for one in second.maps]) == (4, [(1, 3, 3, 8), (1, 4, 2, 6)])
    kinds = "SELECT DISTINCT kind, fingerprint FROM features WHERE shot = ? AND kind LIKE 'map:%' ORDER BY kind"
    rows = [(row["kind"], row["fingerprint"][0]) for row in database.tables.query(kinds, [shot.id])]
    assert rows == [("map:clip", "b"), ("map:lite0:mean", "l")]


def test_another_tower_is_refused_by_name_and_made_anew_beside_the_first(bank: Bank) -> None:
    old, new = towered("lite0"), towered("resnet")
    shot = enrol(bank, 1, encoding=old)
    with pytest.raises(FeaturesOfOthersError) as caught:
        bank.memory("press", new)
    for words in ("map:resnet:mean of variant 0 are missing", "map:lite0:mean", "make them anew from the kept picture"):
        assert words in str(caught.value)
    assert bank.missing("press", new) == [shot]
    bank.embed(shot.id, {0: memory(2, new)}, new)
    assert bank.missing("press", new) == []
    ((_, _, found),) = bank.memory("press", new)
    assert same(found, memory(2, new))


def test_a_bank_of_before_there_were_maps_is_refused_by_name(bank: Bank) -> None:
    enrol(bank, 1)
    with pytest.raises(FeaturesOfOthersError, match="map:clip of variant 0 are missing"):
        bank.memory("press", towered("lite0"))


def test_a_shot_that_lacks_a_view_is_missing(bank: Bank) -> None:
    shot = enrol(bank, 1)
    assert bank.missing("press", SMALL, (0, 4)) == []
    assert bank.missing("press", SMALL, (0, 1)) == [shot]


def test_maps_are_made_for_the_shape_of_the_first_active_shot(bank: Bank) -> None:
    assert bank.shape("press") is None
    shot = enrol(bank, 1)
    wide = np.zeros((10, 90, 3), np.uint8)
    bank.add("press", "cap", wide, {0: memory(2)}, SMALL, at=NOW, who="ana", source="camera")
    assert bank.shape("press") == picture(1).shape[:2]
    bank.remove(shot.id, NOW, "bo")
    assert bank.shape("press") == (10, 90)
