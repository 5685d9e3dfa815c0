"""`alfa-edge model ...` as people type it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from open_clip.pretrained import _PRETRAINED
from typer.testing import CliRunner

from edge.cli.app import app
from edge.settings import store_dir
from tests.support.weights_server import WeightsServer

SMALL, TAG = "ViT-S-32-alt", "small_e1"
BODY = bytes(range(256)) * 4096
SHA = hashlib.sha256(BODY).hexdigest()
runner = CliRunner(env={"COLUMNS": "200"})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightsServer]:
    """A server with the weights of a tag that open_clip knows."""
    with WeightsServer(BODY) as one:
        url = f"{one.url}/openaipublic/{SHA}/small.pt"
        monkeypatch.setitem(_PRETRAINED, SMALL, {TAG: {"url": url, "mean": (0.1, 0.2, 0.3)}})
        yield one


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of weights that the environment names."""
    path = tmp_path / "models"
    monkeypatch.setenv("ALFA_EDGE_MODELS", str(path))
    return path


def test_weights_come_are_listed_verified_and_removed(server: WeightsServer, models: Path) -> None:
    pulled = runner.invoke(app, ["model", "pull", SMALL, TAG])
    assert pulled.exit_code == 0, pulled.output
    assert f"{models}/{SMALL}/{TAG}.pt, verified against its URL" in pulled.stdout
    again = runner.invoke(app, ["model", "pull", SMALL, TAG])
    assert "already here and verified" in again.stdout
    (listed,) = json.loads(runner.invoke(app, ["model", "list", "--json"]).stdout)
    assert listed.pop("fetched_at").endswith("Z")
    assert listed == {
        "model": SMALL,
        "tag": TAG,
        "file": f"{TAG}.pt",
        "sha256": SHA,
        "size": len(BODY),
        "source": f"{server.url}/openaipublic/{SHA}/small.pt",
        "verified_by": "url",
        "problem": None,
    }
    table = runner.invoke(app, ["model", "list"]).stdout
    assert SHA[:12] in table
    assert "ready" in table
    assert runner.invoke(app, ["model", "verify"]).exit_code == 0
    verified = runner.invoke(app, ["model", "verify", SMALL, TAG])
    assert (verified.exit_code, verified.stdout) == (0, f"{SMALL} {TAG}: as recorded\n")
    assert runner.invoke(app, ["model", "remove", SMALL, TAG]).exit_code == 0
    assert "no weights in" in runner.invoke(app, ["model", "list"]).stdout
    gone = runner.invoke(app, ["model", "remove", SMALL, TAG])
    assert gone.exit_code == 2
    assert "here: nothing" in gone.stderr


def test_verify_ends_with_1_and_names_what_differs_or_is_missing(server: WeightsServer, models: Path) -> None:
    runner.invoke(app, ["model", "pull", SMALL, TAG])
    path = models / SMALL / f"{TAG}.pt"
    path.write_bytes(b"x" + BODY[1:])
    differs = runner.invoke(app, ["model", "verify"])
    assert differs.exit_code == 1
    assert f"{path} has SHA-256" in differs.stdout
    path.unlink()
    missing = runner.invoke(app, ["model", "verify", SMALL])
    assert missing.exit_code == 1
    assert f"{path} is missing" in missing.stdout
    assert "is missing" in json.loads(runner.invoke(app, ["model", "list", "--json"]).stdout)[0]["problem"]
    other = runner.invoke(app, ["model", "verify", SMALL, "small_e2"])
    assert other.exit_code == 2
    assert f"here: {SMALL} {TAG}" in other.stderr


def test_weights_can_be_pulled_to_another_directory_and_are_found_as_configured(
    server: WeightsServer, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "else where"
    assert runner.invoke(app, ["model", "pull", SMALL, TAG, "--store", str(elsewhere)]).exit_code == 0
    assert runner.invoke(app, ["model", "list", "--json"]).stdout == "[]\n"
    config = tmp_path / "edge.toml"
    text = f'[model]\nname = "{SMALL}"\nweights = "{TAG}"\ndevice = "cpu"\n[lines.a.camera]\nsource = "sim:tile"\n'
    config.write_text(text)
    missing = runner.invoke(app, ["config", "check", "-c", str(config)])
    assert missing.exit_code == 2
    assert f"alfa-edge model pull {SMALL} {TAG}" in missing.stderr
    config.write_text(text.replace("[model]", f'[model]\nstore = "{elsewhere}"'))
    assert runner.invoke(app, ["config", "check", "-c", str(config)]).exit_code == 0
    checks = json.loads(runner.invoke(app, ["doctor", "-c", str(config), "--json"]).stdout)
    assert [check["detail"] for check in checks if check["name"] == "weights"] == [
        f"{SMALL} from {elsewhere}/{SMALL}/{TAG}.pt, 1 MiB"
    ]


def test_what_does_not_load_is_not_imported(server: WeightsServer, tmp_path: Path) -> None:
    file = tmp_path / "carried.pt"
    file.write_bytes(BODY)
    options = ["--model", SMALL, "--tag", TAG]
    bad = runner.invoke(app, ["model", "import", str(file), *options])
    assert bad.exit_code == 2
    assert f"weights {file} do not load into {SMALL}" in bad.stderr
    hashed = runner.invoke(app, ["model", "import", str(file), *options, "--sha256", "0" * 64])
    assert hashed.exit_code == 2
    assert f"has SHA-256 {SHA}, not {'0' * 64}" in hashed.stderr
    assert runner.invoke(app, ["model", "list", "--json"]).stdout == "[]\n"


def test_a_hub_out_of_reach_ends_with_2_and_the_two_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_name(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", no_name)
    result = runner.invoke(app, ["model", "pull"])
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert all(line.startswith("alfa-edge: ") for line in lines)
    assert "cannot be reached (Name or service not known)" in lines[0]
    assert "curl -fLo laion400m_e32" in lines[1]
    assert lines[2].endswith("--model ViT-B-16-plus-240 --tag laion400m_e32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pull", "ViT-B-16-plus-241"], "did you mean ViT-B-16-plus-240"),
        (["pull", "ViT-B-16", "openia"], "did you mean openai"),
        (["import", "/nowhere/w.pt", "--model", "ViT-B-16", "--tag", "openai"], "/nowhere/w.pt: no such file"),
        (["pull", "ViT-B-16", "openai", "--store", "/proc/none"], "/proc/none cannot be written to"),
    ],
)
def test_bad_input_ends_with_2_and_a_remedy(arguments: list[str], message: str) -> None:
    result = runner.invoke(app, ["model", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_where_the_weights_are(monkeypatch: pytest.MonkeyPatch, models: Path, tmp_path: Path) -> None:
    assert store_dir() == models
    assert store_dir(tmp_path) == tmp_path
    monkeypatch.delenv("ALFA_EDGE_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert store_dir() == tmp_path / "data" / "alfa-edge" / "models"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store_dir() == tmp_path / ".local" / "share" / "alfa-edge" / "models"
