"""The lines of an ACL file that a box prints."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edge.settings import MqttSettings, Settings
from edge.settings_file import ConfigError
from edge.tools.broker_rights import acl
from edge.topics import TOPICS


def settings(user: str | None, *lines: str) -> Settings:
    camera = {"source": "sim:bottle"}
    return Settings(mqtt={"username": user}, lines={line: {"pack": "bottle", "camera": camera} for line in lines})


def test_a_box_has_the_topics_of_its_lines_and_no_others() -> None:
    first, *rows = acl(settings("hall-1", "press-1", "press-2")).splitlines()
    assert first == "user hall-1"
    assert {row.split(" ")[2] for row in rows} == {
        topic.of(line) for topic in TOPICS for line in ("press-1", "press-2")
    }
    assert "topic read line/press-2/trigger" in rows
    assert "topic readwrite line/press-2/trigger/sync" in rows
    assert "topic readwrite line/press-1/stats" in rows
    assert "topic write line/press-1/anomaly" in rows


@pytest.mark.parametrize("user", [None, " hall"])
def test_a_box_without_a_user_that_the_file_can_hold_is_refused(user: str | None) -> None:
    with pytest.raises(ConfigError, match="each box needs a user of its own at the broker"):
        acl(settings(user, "press-1"))


@pytest.mark.parametrize("user", ["hall\ntopic readwrite #", "hall\x1b[2J"])
def test_a_user_who_would_be_a_line_of_the_file_is_no_setting(user: str) -> None:
    with pytest.raises(ValidationError, match="write it in printable characters"):
        MqttSettings(username=user)
