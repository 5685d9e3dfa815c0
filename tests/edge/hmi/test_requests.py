"""A slice of the hostile requests of `make fuzz`, to a console whose service only notes what it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.hmi.access import ANYBODY
from tests.fuzz.requests import draw, exchange, patience_s, wrong
from tests.fuzz.tally import chance_of
from tests.support.hmi import add_people, console, settings_of, stub_service

COUNT = 300
HANG_S = 60.0  # on a machine that does other things besides


def test_hostile_requests_are_refused_and_nothing_is_done_by_whoever_may_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(tmp_path)
    tokens = add_people(settings)
    with stub_service(tmp_path) as service, console(settings) as browser:
        failures = []
        for index in range(COUNT):
            request = draw(chance_of("hmi", 20, index), tokens, ["one", "line-1"], browser.host)
            answer = exchange(browser.port, request.data, patience_s(request, HANG_S, HANG_S))
            if (why := wrong(request, answer)) is not None:
                failures.append(f"case {index}: {why}\n{request.data[:500]!r}\n{(answer or b'')[:500]!r}")
        assert not failures, "\n".join(failures)
        assert browser.get("/login").status == 200
    assert service.asked, "some of them were right"
    assert {request.who for request in service.asked} <= {f"script {role}" for role in tokens}
    assert ANYBODY not in {request.who for request in service.asked}
    assert "Traceback" not in caplog.text
    assert not any(token in caplog.text for token in tokens.values())
