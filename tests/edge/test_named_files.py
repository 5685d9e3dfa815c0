"""Every reader of a file that somebody names: what is no file is refused in words, nothing hangs or fills memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.bank.shot_folder import import_shots
from core.evaluate import compare
from core.evaluate.datasets.mask_file import read_mask_file
from core.image import read
from core.packs.pack import load_pack
from edge.cli.app import app
from edge.mqtt import connection
from edge.mqtt.tls import context_of
from edge.settings import MqttSettings
from edge.settings_file import load_settings
from tests.support.certificates import Authority
from tests.support.files import HOSTILE, hostile, in_time


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def shots_of(manifest: Path) -> object:
    return import_shots(None, manifest.parent, "one", None, None, at=None, who="eva")  # type: ignore[arg-type]


def shot_of(picture: Path) -> object:
    known = {"sha256": "a" * 64, "class_name": "x", "added_at": "2026-01-31T06:00:00Z", "who": "eva"}
    entry = known | {"file": picture.name, "source": "", "note": "", "flags": []}
    (picture.parent / "shots.json").write_text(json.dumps({"format": 1, "line": "one", "shots": [entry]}))
    return shots_of(picture)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a pack": ("pack.toml", lambda path: load_pack(str(path))),
    "a picture": ("part.png", read),
    "the configuration": ("edge.toml", load_settings),
    "an evaluation": ("run.json", compare.load),
    "a mask": ("mask.png", read_mask_file),
    "a manifest of shots": ("shots.json", shots_of),
    "a shot": ("1.png", shot_of),
    "an authority": ("ca.crt", lambda path: context_of(MqttSettings(tls=True, ca_file=path))),
    "a password": ("password", lambda path: connection._password(MqttSettings(username="u", password_file=path))),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, reader: str, kind: str) -> None:
    name, read_it = READERS[reader]
    path = hostile(kind, tmp_path / name)
    if kind == "zero" and reader in ("a manifest of shots", "a shot"):
        path = hostile("link to zero", tmp_path / name)
    with pytest.raises(Exception, match=r"regular file|larger than|levels of symbolic links") as caught:
        in_time(lambda: read_it(path))
    assert not isinstance(caught.value, OSError), "it is an error of its own, which names the file"


@pytest.mark.parametrize("key", ["cert_file", "key_file"])
def test_so_are_certificate_and_key(tmp_path: Path, authority: Authority, key: str) -> None:
    own = authority.vouch("client")
    files = {"cert_file": own.certificate, "key_file": own.key} | {key: hostile("pipe", tmp_path / "it")}
    with pytest.raises(Exception, match="is a pipe, not a regular file"):
        in_time(lambda: context_of(MqttSettings(tls=True, ca_file=authority.identity.certificate, **files)))


@pytest.mark.parametrize(
    "command",
    [
        ("config", "check", "-c", "FILE"),
        ("packs", "show", "./FILE"),
        ("packs", "lint", "./FILE"),
        ("score", "FILE", "--pack", "generic"),
        ("enroll", "FILE", "-c", "edge.toml", "--line", "one"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    hostile("pipe", tmp_path / "FILE")
    (tmp_path / "edge.toml").write_text("[lines.one.camera]\nsource = 'sim:bottle'\n")
    result = in_time(lambda: CliRunner().invoke(app, list(command)), 60)
    assert result.exit_code in (1, 2), result.output
    said = " ".join(result.output.split())
    assert re.search(r"FILE: (cannot be read: )?is a pipe, not a regular file", said) or command[0] == "score", said
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("name", ["~nobody-of-this-name/a.toml", "a\0b.toml", "\ud800.toml"])
def test_what_can_be_no_path_of_a_pack_is_said(name: str) -> None:
    with pytest.raises(ValueError, match=r"^pack ") as caught:
        load_pack(name)
    assert type(caught.value).__name__ == "PackError"
