import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from core.image import encode_png
from core.packs.lint import Finding
from core.packs.pack import list_packs, load_pack
from edge.cli.packs import packs_app

BOTTLE = Path(__file__).parents[3] / "prompt_packs" / "bottle.toml"
MENDED = "A normal image of a bottle with a rim that is whole."


def packs(*arguments: object) -> Result:
    return CliRunner().invoke(packs_app, [str(one) for one in arguments])


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The bottle's next version: a sentence, a descriptor, a domain and a defect differ."""
    text = BOTTLE.read_text("utf-8")
    for find, replace in (
        ('version = "0.1.0"', 'version = "0.2.0"'),
        ("A normal image of a bottle with a flawless circular outline.", MENDED),
        ('    "a small chip at the rim",\n', ""),
        ('    "cropped",', '    "backlit",'),
        ("broken_small = [", "chip = ["),
    ):
        assert find in text
        text = text.replace(find, replace)
    path = tmp_path / "newer.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.toml"
    path.write_text(BOTTLE.read_text("utf-8").replace("schema = 1", "schema = 2"), "utf-8")
    return path


def test_list_has_every_pack() -> None:
    table = packs("list").stdout
    assert all(f" {name} " in table for name in list_packs())
    listed = json.loads(packs("list", "--json").stdout)
    assert [one["name"] for one in listed] == list(list_packs())
    bottle = next(one for one in listed if one["name"] == "bottle")
    assert (bottle["class"], bottle["normal"], bottle["abnormal"]) == ("bottle", 96, 96)
    assert "contamination" in bottle["defects"]


def test_show_prints_everything_that_a_pack_says() -> None:
    pack = load_pack("bottle")
    shown = packs("show", BOTTLE).stdout
    said = (*pack.normal, *pack.abnormal, *pack.descriptors, *pack.provenance.queries, *pack.template.normal_states)
    assert all(f"    {one}\n" in shown for one in said)
    assert "defects.broken_large\n    a large jagged gap in the rim\n" in shown
    report = json.loads(packs("show", "bottle", "--json").stdout)
    assert (report["name"], report["class"], report["sha256"]) == ("bottle", "bottle", pack.sha256)
    assert tuple(report["normal"]) == pack.normal


def test_an_unknown_pack_gets_a_hint() -> None:
    for command in (["show", "botle"], ["render", "botle"], ["diff", "botle", "bottle"]):
        result = packs(*command)
        assert result.exit_code == 2
        assert "did you mean bottle?" in result.output


def test_lint_finds_nothing_in_the_bundled_packs() -> None:
    result = packs("lint")
    assert result.exit_code == 0, result.output
    assert f"0 findings in {len(list_packs())} packs" in result.stdout
    assert "zipper" in result.stdout


def test_lint_names_pack_place_and_remedy(newer: Path) -> None:
    newer.write_text(newer.read_text("utf-8").replace(MENDED, "A normal image of a bottle that smells nice."), "utf-8")
    result = packs("lint", "screw", newer)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{newer}: normal: not to be seen: 'A normal image of a bottle that smells nice.'")
    assert lines[1:] == ["1 finding in 2 packs"]


def test_lint_goes_on_behind_a_broken_file(broken: Path) -> None:
    result = packs("lint", broken, "screw", "no-such-pack")
    assert result.exit_code == 2
    assert f"pack {broken}: line 1: schema" in result.output
    assert "'no-such-pack' is not known" in result.output
    assert "0 findings in 1 pack" in result.stdout


def test_lint_with_a_model_holds_the_labels_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def confusion(pack: object, *sides: np.ndarray) -> list[Finding]:
        seen.extend(tuple(side.shape) for side in sides)
        return [Finding("confusion", "normal", "a prompt", "a remedy")]

    monkeypatch.setattr("core.packs.lint.confusion", confusion)
    result = packs("lint", "bottle", "--model", "untrained")
    assert result.exit_code == 1, result.output
    assert seen == [(96, 128), (96, 128)]
    assert "bottle: normal: confusion: 'a prompt': a remedy" in result.stdout


def test_lint_refuses_a_model_without_weights() -> None:
    result = packs("lint", "bottle", "--model", "ViT-B-16-plus-240")
    assert result.exit_code == 2
    assert "needs weights" in result.output


def test_render_prints_the_prompts() -> None:
    prompts = load_pack("bottle").prompts()
    assert tuple(packs("render", "bottle").stdout.splitlines()) == prompts.normal + prompts.abnormal
    some = packs("render", "bottle", "--label", "abnormal", "--template-only").stdout.splitlines()
    assert tuple(some) == prompts.abnormal[:72]
    assert packs("render", "bottle", "--label", "odd").exit_code == 2


def test_diff_says_what_changed(newer: Path) -> None:
    result = packs("diff", "bottle", newer)
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "bottle 0.1.0 -> newer 0.2.0" in text
    assert "normal: 1 added, 1 removed" in text
    assert "  - A normal image of a bottle with a flawless circular outline.\n" in text
    assert f"  + {MENDED}\n" in text
    changes = json.loads(packs("diff", "bottle", newer, "--json").stdout)["changes"]
    assert changes["descriptors"] == {"added": [], "removed": ["a small chip at the rim"]}
    assert changes["template.domains"] == {"added": ["backlit"], "removed": ["cropped"]}
    assert set(changes) == {"normal", "descriptors", "template.domains", "defects.broken_small", "defects.chip"}
    assert "both say the same" in packs("diff", "bottle", BOTTLE).stdout


def test_diff_scores_pictures_with_both(newer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / f"{name}.png").write_bytes(encode_png(draw.integers(0, 255, (64, 64, 3), np.uint8)))
    (folder / "c.png").write_bytes(b"no picture")
    options = ("--images", folder, "--model", "untrained")
    result = packs("diff", "bottle", newer, *options, "--json")
    assert result.exit_code == 1, result.output
    report = json.loads(result.stdout)
    *scored, unread = report["pictures"]
    assert [one["path"] for one in report["pictures"]] == ["parts/a.png", "parts/b.png", "parts/c.png"]
    assert all(one["change"] == one["new"] - one["old"] != 0 for one in scored)
    assert report["mean_change"] == pytest.approx(np.mean([one["change"] for one in scored]))
    assert (unread["change"], report["model"]) == (None, "untrained")
    assert "c.png" in unread["error"]

    monkeypatch.setattr("edge.cli.packs._moves", lambda *_: scored)
    result = packs("diff", "bottle", newer, *options)
    assert result.exit_code == 0, result.output
    assert all(f"{one['old']:.4f} │ {one['new']:.4f} │ {one['change']:+.4f}" in result.stdout for one in scored)
    assert f"mean change {report['mean_change']:+.4f}; model untrained" in result.stdout


def test_diff_wants_pictures_for_a_model() -> None:
    result = packs("diff", "bottle", "bottle", "--model", "untrained")
    assert result.exit_code == 2
    assert "--images" in result.output
