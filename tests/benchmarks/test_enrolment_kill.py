"""Two hundred enrolments, and as many re-embeddings, killed at random moments; tests/system has a short run of it."""

import statistics
import time
from pathlib import Path

import pytest

from tests.support.enrolling import endure


@pytest.mark.timeout(1800)
def test_no_acknowledged_shot_is_lost(tmp_path: Path) -> None:
    begun = time.monotonic()
    found = endure(tmp_path, seed=11, enrolments=200, services=4, bare=4, reembeddings=4)
    took = time.monotonic() - begun
    print(f"\n{found.kills} kills; {len(found.shots)} enrolments acknowledged, none lost; ", end="")
    print(f"{found.unsaid} more on disk that nobody was told of; ", end="")
    print(f"an enrolment {1000 * statistics.median(found.enrol_s):.0f} ms in the median, ", end="")
    print(f"{1000 * max(found.enrol_s):.0f} ms at most; ", end="")
    print(f"a service's start {statistics.median(found.start_s):.2f} s; {took:.0f} s in all")
    assert found.kills == 12
    assert len(found.shots) >= 200
