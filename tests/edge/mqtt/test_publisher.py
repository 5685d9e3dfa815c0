"""What a line says to a real broker that is well, and how it takes leave."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge.clock import utc_now
from tests.support.mosquitto import Mosquitto, eventually, free_port, subscribe
from tests.support.publisher import (
    ANOMALY,
    LINE,
    STATS,
    STATUS,
    Publishers,
    connected,
    ends_with,
    health,
    ids,
    retained_status,
    states,
    stats,
    topics,
    verdict,
)

CHILD = """
import sys, time
from pathlib import Path
from edge.messages import LineHealth
from edge.mqtt.delivery import Delivery
from edge.mqtt.publisher import Publisher
from edge.ops.alarms import Alarms
from edge.storage.outbox import Outbox
from edge.settings import HistorySettings, MqttSettings

settings = MqttSettings(host="127.0.0.1", port=int(sys.argv[1]), keepalive_s=2)
outbox = Outbox(Path(sys.argv[2]), HistorySettings())
outbox.start()
publisher = Publisher(settings, "press-1", "box", "1.2.3", outbox, Delivery(), Alarms())
publisher.set_status(LineHealth(state="running"))
publisher.start()
time.sleep(60)
"""


def test_birth(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    before = utc_now()
    publisher = publisher_of(mosquitto.port)
    publisher.set_status(health("running", "free run"))  # said before there is a connection, remembered
    publisher.start()
    connected(publisher)
    with subscribe(mosquitto.port, STATUS) as listener:
        listener.until(ends_with("running"))
    status = retained_status(mosquitto.port)
    assert (status["line"], status["node"], status["version"]) == (LINE, "box", "1.2.3")
    assert (status["schema"], status["reason"]) == (1, "free run")
    assert before.isoformat() <= status["since"].replace("Z", "999") <= utc_now().isoformat()
    assert publisher.state.reason is None


def test_since_is_when_the_state_was_entered(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    with subscribe(mosquitto.port, STATUS) as listener:
        publisher.set_status(health("fault", "camera: no frame"))
        publisher.set_status(health("fault", "camera: no device"))
        publisher.set_status(health("fault", "camera: no device"))  # nothing new: not sent
        time.sleep(0.01)
        publisher.set_status(health("running"))
        messages = listener.until(ends_with("running"))
    told = [json.loads(message.payload) for message in messages][-3:]
    assert len({status["since"] for status in told if status["state"] == "fault"}) == 1
    assert told[-1]["since"] > told[0]["since"]
    assert "reason" not in told[-1]


def test_verdict_heatmap_and_stats(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    with subscribe(mosquitto.port, "line/#") as listener:
        (first,) = publisher_of.issue(publisher)
        assert publisher.publish_heatmap(b"\x89PNG", first)
        assert publisher.publish_stats(stats())
        messages = {m.topic: m for m in listener.until(lambda m: {STATS, ANOMALY} <= topics(m))}
    assert (messages[ANOMALY].payload, messages[ANOMALY].qos) == (first.to_json(), 1)
    assert (messages[f"{ANOMALY}/heatmap"].payload, messages[f"{ANOMALY}/heatmap"].qos) == (b"\x89PNG", 0)
    assert messages[STATS].qos == 0
    with subscribe(mosquitto.port, "line/#") as late:
        late.wait(2)
        time.sleep(0.1)
        assert topics(late.messages) == {STATUS, STATS}  # the rest is not retained
    eventually(lambda: publisher.acknowledged == 1)
    state = publisher.state
    assert (publisher.published, state.unacknowledged, publisher_of.waiting) == (1, 0, [])
    assert state.last_puback_age_s is not None
    assert 0 <= state.last_puback_age_s < 5


def test_last_will_of_a_killed_process(mosquitto: Mosquitto, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(mosquitto.port), str(tmp_path)])
    try:
        with subscribe(mosquitto.port, STATUS) as listener:
            listener.until(ends_with("running"))
            child.kill()
            listener.until(ends_with("offline"))
        status = retained_status(mosquitto.port)
        assert (status["state"], status["node"], status["version"]) == ("offline", "box", "1.2.3")
    finally:
        child.kill()
        child.wait()


def test_last_will_of_a_hung_process_and_birth_when_it_goes_on(mosquitto: Mosquitto, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(mosquitto.port), str(tmp_path)])
    try:
        with subscribe(mosquitto.port, STATUS) as listener:
            listener.until(ends_with("running"))
            child.send_signal(signal.SIGSTOP)
            listener.until(ends_with("offline"))
            child.send_signal(signal.SIGCONT)
            listener.until(ends_with("running"))
    finally:
        child.kill()
        child.wait()


def test_clean_stop_says_stopped(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    with subscribe(mosquitto.port, "line/#") as listener:
        publisher_of.issue(publisher, 10)
        assert publisher.stop("service stopped") == 0
        publisher.set_status(health("running"))  # too late to matter
        listener.until(ends_with("stopped"))
        time.sleep(0.2)
        assert "offline" not in states(listener.messages)
        assert len(ids(listener)) == 10
    status = retained_status(mosquitto.port)
    assert (status["state"], status["reason"]) == ("stopped", "service stopped")
    assert publisher.state.reason == "stopped"
    assert not [thread for thread in threading.enumerate() if LINE in thread.name]
    late = publisher_of.issue(publisher)
    assert publisher_of.waiting == [one.id for one in late]  # for the next run


def test_a_verdict_of_another_line_is_a_mistake(publisher_of: Publishers) -> None:
    with pytest.raises(ValueError, match="a verdict of line other"):
        publisher_of(free_port()).publish_verdict(verdict(1).model_copy(update={"line": "other"}))


def test_missing_mosquitto_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.mosquitto.shutil.which", lambda name, path: None)
    with (
        pytest.raises(RuntimeError, match=r"mosquitto is not installed; run: sudo sh deploy/system-packages\.sh"),
        Mosquitto(),
    ):
        pytest.fail("it started")
