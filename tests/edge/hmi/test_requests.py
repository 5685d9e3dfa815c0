"""A slice of the hostile requests of `make fuzz`, to a console whose service only notes what it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.hmi.person import ROLES
from edge.hmi.roles import COMMAND_ROLES
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
        service.refuses, failures = True, []
        for index in range(COUNT):
            request = draw(chance_of("hmi", 20, index), tokens, ["one", "line-1"], browser.host)
            answer = exchange(browser.port, request.data, patience_s(request, HANG_S, HANG_S))
            if (why := wrong(request, answer)) is not None:
                failures.append(f"case {index}: {why}\n{request.data[:500]!r}\n{(answer or b'')[:500]!r}")
        assert not failures, "\n".join(failures)
        assert browser.get("/login").status == 200
    assert service.asked, "some of them were right"
    for request in service.asked:
        role = request.who.removeprefix("script ")
        assert ROLES.index(role) >= ROLES.index(COMMAND_ROLES[request.command])  # type: ignore[arg-type]
    assert "Traceback" not in caplog.text
    assert not any(token in caplog.text for token in tokens.values())
