"""`tests`: the tests of captured graphs, and every test that is marked for CUDA."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.benchmarks.gpu.results import Results
from tests.benchmarks.gpu.scale import Scale

_TESTS = Path(__file__).parents[2]
_GRAPHS = _TESTS / "core" / "test_graph.py"
_FOLDERS = ("core", "edge", "system")  # the benchmarks that need CUDA are steps of their own


class _Reporter:
    """Says of each test what became of it."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        name = report.nodeid.rpartition("::")[2]
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = str(getattr(crash, "message", report.longrepr)).strip().splitlines() or [""]
            self._results.failed(f"{name}: {why[0][:300]}")
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._results.left_out(name, reason.removeprefix("Skipped: "))
        else:
            self._results.add("passed", test=name, seconds=report.duration)


def marked() -> list[Path]:
    """Files with a test that is marked for CUDA."""
    files = [file for folder in _FOLDERS for file in sorted((_TESTS / folder).rglob("test_*.py"))]
    return [file for file in files if "pytest.mark.cuda" in file.read_text("utf-8") and file != _GRAPHS]


def run(results: Results, scale: Scale) -> None:
    """Runs them in this process."""
    options = ["-q", "--no-header", "-p", "no:cacheprovider", "--rootdir", str(_TESTS.parent)]
    runs = [[str(_GRAPHS)]]
    if files := marked():
        runs.append(["-m", "cuda", *map(str, files)])
    for chosen in runs:
        with redirect_stdout(sys.stderr):  # what pytest says beside the results
            code = pytest.main([*options, *chosen], plugins=[_Reporter(results)])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            results.failed(f"pytest ends with {code!s}")
