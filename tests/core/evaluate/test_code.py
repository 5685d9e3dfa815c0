from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import core
from core.evaluate.code import code_version

_ASK = "import core.evaluate.code as code; print(code.code_version())"


def asked(root: Path) -> str:
    done = subprocess.run([sys.executable, "-c", _ASK], cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True)
    return done.stdout.decode().strip()


def test_another_way_to_make_features_is_another_version(tmp_path: Path) -> None:
    """A cache is keyed by it: features that other code has made are encoded anew."""
    shutil.copytree(Path(str(core.__file__)).parent, tmp_path / "core", ignore=shutil.ignore_patterns("*.safetensors"))
    assert asked(tmp_path) == code_version()
    resize = tmp_path / "core" / "preprocess.py"
    resize.write_text(resize.read_text().replace('mode="bicubic"', 'mode="bilinear"'))
    assert asked(tmp_path) not in ("", code_version())
