"""Scripts of others are the very files of their packages, and each has its licence beside it."""

import hashlib
from pathlib import Path

import pytest

from core.toml import parse_toml

ROOT = Path(__file__).parents[3]
FOLDERS = [ROOT / "edge/hmi/static/vendor", ROOT / "tests/support/vendor"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parts[-2])
def test_the_files_are_those_of_the_list(folder: Path) -> None:
    _, found = parse_toml((folder / "vendor.toml").read_bytes())
    listed = {name: sha256 for package in found["package"] for name, sha256 in package["sha256"].items()}
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    del files["vendor.toml"]
    assert files == listed
    for package in found["package"]:
        assert set(package) == {"name", "version", "licence", "sha256"}
        assert any(name.endswith(".LICENSE") for name in package["sha256"])


def test_a_page_takes_nothing_from_elsewhere() -> None:
    for path in [*(ROOT / "edge/hmi/templates").iterdir(), *(ROOT / "edge/hmi/static").glob("*.*")]:
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text.replace("${scheme}://${location.host}", ""), path
        if path.suffix == ".html":
            assert " style=" not in text, path
            assert "<script>" not in text, path
            assert " onclick" not in text, path
