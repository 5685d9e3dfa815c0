"""What a user can mend is known without importing what could say so."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from edge.tools import mendable as listed
from edge.tools.mendable import mendable


@pytest.mark.parametrize("module", listed._ERRORS)
def test_each_error_is_where_the_list_says(module: str) -> None:
    for name in listed._ERRORS[module]:
        error = getattr(importlib.import_module(module), name)
        assert (error.__module__, issubclass(error, Exception)) == (module, True)
        assert error in mendable()


def test_a_refusal_does_not_wait_for_what_it_does_not_need() -> None:
    code = """
        import sys
        from core.database.database import DatabaseError
        from edge.tools.mendable import mendable
        assert DatabaseError in mendable()
        print([name for name in ("torch", "cv2", "open_clip") if name in sys.modules])
    """
    lines = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
