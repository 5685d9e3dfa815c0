"""The console's link to the service, while there is no answer yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.hmi.service_link import ServiceLink, Status
from edge.ops.lock import hold_console
from tests.support.hmi import until


def test_a_service_that_still_starts_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Status | None] = []
    with hold_console(tmp_path):  # a service is there, and does not listen yet
        link = ServiceLink(tmp_path)
        link.listen(told.append)
        link.start()
        try:
            until(lambda: len(told) >= 3, "third look")
        finally:
            link.stop()
    assert set(told) == {None}
    assert [one.getMessage() for one in caplog.records if "does not say how it is" in one.getMessage()] == [
        f"the service does not say how it is: no service listens at {tmp_path}/console.sock; if it still starts or "
        "stops, ask again in a while"
    ]
