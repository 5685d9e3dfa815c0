"""`alfa-edge packs new`: a pack that lint has nothing against, from a name and some defects."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from core.packs.lint import lint
from core.packs.pack import load_pack
from edge.cli.app import app

SEAL = ("oil_seal", "--class", "oil seal")
DEFECTS = ("--defect", "cut lip: a straight cut across the lip; a notch in the lip", "--defect", "dirt: a dark grain")


def new(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["packs", "new", *words, "--out", str(folder)], env={"COLUMNS": "200"})


def test_a_pack_speaks_of_its_class_and_its_defects(tmp_path: Path) -> None:
    said = new(tmp_path, *SEAL, *DEFECTS)
    assert said.exit_code == 0, said.output
    path = tmp_path / "oil_seal.toml"
    assert f"{path}: 96 normal and 96 abnormal prompts, 0 findings" in said.stdout
    pack = load_pack(str(path))
    assert (pack.class_name, pack.plural) == ("oil seal", "oil seals")
    assert pack.abnormal[0] == "An abnormal image of an oil seal with a straight cut across the lip."
    assert dict(pack.defects)["cut_lip"] == ("a straight cut across the lip", "a notch in the lip")
    assert pack.descriptors[2] == "a dark grain"
    assert lint(pack) == []
    assert not any("object" in sentence for sentence in (*pack.normal, *pack.abnormal))


def test_without_defects_it_has_those_of_every_part(tmp_path: Path) -> None:
    assert new(tmp_path, "yarn", "--class", "yarn", "--plural", "yarn").exit_code == 0
    pack = load_pack(str(tmp_path / "yarn.toml"))
    assert pack.defects == load_pack("generic").defects
    assert pack.normal[0].startswith("A normal image of yarn with")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("Oil Seal", "--class", "oil seal"), "small ASCII letters"),
        (("oil_seal",), "name the class of object"),
        (("oil_seal", "--class", "<b>"), "letters, digits, blanks and hyphens"),
        ((*SEAL, "--defect", "crack"), "write the kind and how it looks"),
        ((*SEAL, "--defect", "cut: the same", "--defect", "gap: the same"), "stands twice"),
    ],
)
def test_what_makes_no_pack_is_said_and_nothing_is_written(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    said = new(tmp_path, *words)
    assert said.exit_code == 2
    assert message in said.output
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "oil_seal.toml").write_text("mine")
    said = new(tmp_path, *SEAL)
    assert said.exit_code == 2
    assert "is there already" in said.output
    assert (tmp_path / "oil_seal.toml").read_text() == "mine"


def test_on_a_terminal_it_asks_for_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.cli.new_pack._can_ask", lambda: True)
    answers = "\n\ncut lip: a straight cut across the lip\n\n"
    said = CliRunner().invoke(app, ["packs", "new", "oil_seal", "--out", str(tmp_path)], input=answers)
    assert said.exit_code == 0, said.output
    pack = load_pack(str(tmp_path / "oil_seal.toml"))
    assert (pack.class_name, pack.plural, list(pack.defects)) == ("oil seal", "oil seals", ["cut_lip"])
