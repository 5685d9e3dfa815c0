"""A bank that is damaged: the service says by name what is not there, and what to do. The benchmarks kill it."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli.app import app
from edge.control.offline import offline_dispatcher
from edge.settings_file import load_settings
from tests.support.enrolling import BAD_INPUT, enrolment, refusal, write_config
from tests.support.mosquitto import Mosquitto

pytestmark = pytest.mark.timeout(300)  # eight processes load the model, one after the other


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a service whose line has two shots; the folder `copy` beside it has a backup."""
    folder = tmp_path_factory.mktemp("enrolled")
    with Mosquitto() as broker:
        config = write_config(folder, broker)
        with offline_dispatcher(load_settings(config)) as dispatcher:
            for number in (1, 2):
                asked, picture = enrolment(number)
                assert dispatcher.answer(asked, [picture])[0].refusal is None
        shutil.copytree(folder / "state", folder / "copy")
        yield config


def flip_a_byte(path: Path) -> None:
    """In the features of shot 2."""
    with closing(sqlite3.connect(path)) as database:
        ((blob,),) = database.execute("SELECT data FROM features WHERE shot = 2 AND kind = 'patch'")
    data = bytearray(path.read_bytes())
    data[data.index(blob[:64]) + 30] ^= 0x10
    path.write_bytes(data)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def typed(config: Path, *words: str, code: int = 0) -> str:
    """What a command says."""
    result = CliRunner().invoke(app, [*words, "--config", str(config)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize(
    ("damage", "message", "remedy"),
    [
        (flip_a_byte, "shot 2 of line 'one': features patch of variant 0 are damaged", "alfa-edge shots reembed"),
        (truncate, "state.db", "`alfa-edge restore FOLDER`"),
    ],
)
def test_a_service_with_a_damaged_bank_does_not_start_and_loses_nothing(
    enrolled: Path, damage: Callable[[Path], None], message: str, remedy: str
) -> None:
    state, copy = enrolled.parent / "state", enrolled.parent / "copy"
    shutil.rmtree(state)
    shutil.copytree(copy, state)
    path = state / "state.db"
    damage(path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    for said in (refusal(enrolled), typed(enrolled, "shots", "list", "--line", "one", code=BAD_INPUT)):
        assert message in said
        assert remedy in said
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    if damage is truncate:
        path.write_bytes((copy / "state.db").read_bytes())
    else:
        typed(enrolled, "shots", "reembed", "--line", "one")
    listed = typed(enrolled, "shots", "list", "--line", "one", "--json")
    assert [f'"id": {shot}' in listed for shot in (1, 2)] == [True, True]
