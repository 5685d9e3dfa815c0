"""`python -m tests.benchmarks.gpu STEP`: runs one step; exits 0, or 1 where something in it failed."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from tests.benchmarks.gpu.results import Results, first_line
from tests.benchmarks.gpu.scale import Scale

STEPS = ("device", "tests", "parity", "speed", "anomalib", "bundled", "service", "memory", "profile")
_MODULES = {"anomalib": "rival", "bundled": "speed", "device": "machine", "profile": "kernels", "tests": "cases"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.gpu", description="One step of gpu.sh.")
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--results", type=Path, help="file of JSON lines to append to")
    chosen = parser.parse_args()
    scale = Scale.here()
    results = Results(chosen.step, chosen.results, dry=scale.dry)
    try:
        step = importlib.import_module(f"tests.benchmarks.gpu.{_MODULES.get(chosen.step, chosen.step)}")
        step.run(results, scale)
    except Exception as error:  # the next steps are worth running whatever became of this one
        results.failed(f"{type(error).__name__}: {first_line(error)}")
        import traceback

        traceback.print_exc()
    return int(results.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
