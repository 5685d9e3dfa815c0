"""What a scrape finds, and that no scraper holds up a line."""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from urllib.error import HTTPError

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge import __version__
from edge.messages import Model, Timing
from edge.ops.alarms import Alarms
from edge.ops.metrics import BUCKETS, METRICS, STAGES, Gauges, Metrics, MetricsServer
from edge.ops.worker import Worker, Workers
from edge.settings import MetricsSettings
from edge.settings_file import ConfigError
from edge.storage.archive import ArchiveStatus
from tests.support.mosquitto import eventually, free_port

TIMING = Timing(capture=12.0, queue=0.1, decode=4.0, score=31.0, total=44.2)
MODEL = Model(name="untrained", fingerprint="f00", device="cpu", dtype="fp32", scales=(2, 3))
ALL = Gauges(
    line_state="running",
    component_health={"camera": 0, "disk": 2},
    queue=2,
    frames_dropped=7,
    camera_reconnects=3,
    camera_frames_damaged=9,
    camera_restarts=1,
    outbox_verdicts=5,
    outbox_oldest_seconds=1.5,
    outbox_dropped=4,
    mqtt_connected=True,
    mqtt_puback_age_seconds=0.25,
    mqtt_rejected={"too_large": 6},
    shadow_parts={"judged": 8, "passed_over": 2},
    bank_shots=8,
    provisional=True,
    drift=False,
)


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


@pytest.fixture
def metrics(alarms: Alarms) -> Metrics:
    return Metrics(alarms)


@pytest.fixture
def served(metrics: Metrics) -> Iterator[int]:
    """The port on which the metrics are served."""
    port = free_port()
    server = metrics.serve(MetricsSettings(port=port))
    yield port
    server.stop()
    server.stop()


Samples = dict[tuple[str, tuple[str, ...]], float]


def scrape(port: int, host: str = "127.0.0.1") -> Samples:
    """What a scrape finds, by name and values of labels, in the table's order."""
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
        return read(answer.read().decode())


def read(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = METRICS[re.sub("_(bucket|sum|count)$", "", sample.name)].labels
            key = sample.name, tuple(sample.labels[one] for one in (*labels, "le") if one in sample.labels)
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def test_verdicts_errors_and_triggers_are_counted(metrics: Metrics, served: int) -> None:
    metrics.watch("press-1", Gauges)
    assert scrape(served)["alfa_edge_verdicts_total", ("press-1", "anomaly")] == 0, "a counter begins at 0"
    metrics.verdict("press-1", "normal", None, TIMING)
    metrics.verdict("press-1", "error", "camera_no_frame")
    metrics.verdict("press-2", "anomaly", timing_ms=TIMING)
    metrics.trigger("press-1")
    metrics.trigger("press-1", "queue_full")
    found = scrape(served)
    assert found["alfa_edge_verdicts_total", ("press-1", "normal")] == 1
    assert found["alfa_edge_verdicts_total", ("press-1", "error")] == 1
    assert found["alfa_edge_verdicts_total", ("press-2", "anomaly")] == 1
    assert found["alfa_edge_errors_total", ("press-1", "camera_no_frame")] == 1
    assert found["alfa_edge_triggers_total", ("press-1", "accepted")] == 1
    assert found["alfa_edge_triggers_total", ("press-1", "queue_full")] == 1


def test_stages_are_seconds_in_buckets_from_a_millisecond_to_half_a_minute(metrics: Metrics, served: int) -> None:
    metrics.verdict("press-1", "normal", None, TIMING)
    found = scrape(served)
    assert (BUCKETS[0], BUCKETS[-1]) == (0.001, 30.0)
    for stage in STAGES:
        assert found["alfa_edge_stage_seconds_count", ("press-1", stage)] == 1
        assert found["alfa_edge_stage_seconds_sum", ("press-1", stage)] == pytest.approx(getattr(TIMING, stage) / 1000)
    assert found["alfa_edge_stage_seconds_bucket", ("press-1", "total", "0.025")] == 0
    assert found["alfa_edge_stage_seconds_bucket", ("press-1", "total", "0.05")] == 1
    assert found["alfa_edge_stage_seconds_bucket", ("press-1", "queue", "0.001")] == 1


def test_what_is_watched_is_asked_at_each_scrape_and_only_then(metrics: Metrics, served: int, tmp_path: Path) -> None:
    asked: list[str] = []

    def line() -> Gauges:
        asked.append("line")
        return ALL

    metrics.watch("press-1", line)
    metrics.watch_archive(lambda: ArchiveStatus(kept=3, skipped=1, failed=2, deleted=9, bytes=4096))
    metrics.watch_disk("state", tmp_path)
    metrics.build(MODEL)
    assert asked == []
    found = scrape(served)
    assert asked == ["line"]
    assert found["alfa_edge_line_state", ("press-1", "running")] == 1
    assert found["alfa_edge_line_state", ("press-1", "fault")] == 0
    assert sum(value for (name, _), value in found.items() if name == "alfa_edge_line_state") == 1
    for name, value in {
        "queue": 2,
        "frames_dropped_total": 7,
        "camera_reconnects_total": 3,
        "camera_frames_damaged_total": 9,
        "camera_restarts_total": 1,
        "outbox_verdicts": 5,
        "outbox_oldest_seconds": 1.5,
        "outbox_dropped_total": 4,
        "mqtt_connected": 1,
        "mqtt_puback_age_seconds": 0.25,
        "bank_shots": 8,
        "drift": 0,
    }.items():
        assert found[f"alfa_edge_{name}", ("press-1",)] == value, name
    assert found["alfa_edge_component_health", ("press-1", "camera")] == 0
    assert found["alfa_edge_component_health", ("press-1", "disk")] == 2
    assert found["alfa_edge_mqtt_rejected_total", ("press-1", "too_large")] == 6
    assert found["alfa_edge_shadow_parts_total", ("press-1", "passed_over")] == 2
    assert found["alfa_edge_archive_bytes", ()] == 4096
    outcomes = {labels[0]: value for (name, labels), value in found.items() if "archive_pictures" in name}
    assert outcomes == {"kept": 3, "skipped": 1, "failed": 2, "deleted": 9}
    assert found["alfa_edge_disk_free_bytes", ("state",)] > 0
    assert found["alfa_edge_build_info", (__version__, "untrained", "f00")] == 1
    assert found["alfa_edge_scrape_errors_total", ()] == 0


def test_what_is_not_known_is_absent(metrics: Metrics, served: int) -> None:
    metrics.watch("press-1", lambda: Gauges(queue=1))
    found = scrape(served)
    assert ("alfa_edge_queue", ("press-1",)) in found
    assert not any("outbox" in name or "line_state" in name or "drift" in name for name, _ in found)


def test_several_sources_of_one_line_add_up_and_never_say_a_thing_twice(metrics: Metrics, served: int) -> None:
    metrics.watch("press-1", lambda: Gauges(queue=1, drift=False))
    metrics.watch("press-1", lambda: Gauges(mqtt_connected=True, queue=2))
    found = scrape(served)
    assert found["alfa_edge_queue", ("press-1",)] == 2
    assert found["alfa_edge_drift", ("press-1",)] == 0
    assert found["alfa_edge_mqtt_connected", ("press-1",)] == 1


def test_a_source_that_fails_is_absent_counted_and_logged_once(
    metrics: Metrics, alarms: Alarms, served: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    well = False

    def fails() -> Gauges:
        if well:
            return ALL
        raise RuntimeError("no longer there")

    metrics.watch("press-1", fails)
    metrics.watch("press-2", lambda: ALL)
    metrics.watch_disk("archive", tmp_path / "not-there")
    with caplog.at_level(logging.WARNING):
        first, second = scrape(served), scrape(served)
    for count, found in ((2, first), (4, second)):
        assert found["alfa_edge_queue", ("press-2",)] == 2
        assert ("alfa_edge_queue", ("press-1",)) not in found
        assert not any(name == "alfa_edge_disk_free_bytes" for name, _ in found)
        assert found["alfa_edge_scrape_errors_total", ()] == count
    assert len(caplog.records) == 2
    assert "no figures of line press-1: RuntimeError: no longer there" in caplog.text
    assert [alarm.code for alarm in alarms.every()] == ["metrics"] * 2
    well = True
    assert scrape(served)["alfa_edge_queue", ("press-1",)] == 2
    assert [alarm.about for alarm in alarms.every()] == [f"the disk of {tmp_path / 'not-there'}"]


def test_every_figure_is_in_the_table_and_every_field_is_a_figure(
    metrics: Metrics, alarms: Alarms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    workers = Workers()
    worker = Worker(workers, "test", fail)
    worker.start()
    assert workers.failed.wait(10)
    eventually(lambda: not worker.alive)
    metrics.watch_workers(workers)
    alarms.raise_("archive", "its disk is full")
    zone = tmp_path / "thermal_zone3"
    zone.mkdir()
    (zone / "type").write_text("GPU-therm\n")
    (zone / "temp").write_text("48500\n")
    monkeypatch.setitem(sys.modules, "torch", Torch(None))
    metrics.watch("press-1", lambda: ALL)
    metrics.watch_archive(ArchiveStatus)
    metrics.watch_disk("state", tmp_path)
    metrics.watch_device("cuda", tmp_path)
    metrics.build(MODEL)
    metrics.verdict("press-1", "error", "late", TIMING)
    found = {}
    for family in metrics.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, family.documentation, {frozenset(one.labels) - {"le"} for one in family.samples})
    assert set(found) == set(METRICS)
    for name, metric in METRICS.items():
        assert found[name] == (metric.kind, metric.help, {frozenset(metric.labels)})
        assert (metric.kind == "counter") == name.endswith("_total")
    for one in fields(Gauges):
        assert {f"alfa_edge_{one.name}", f"alfa_edge_{one.name}_total"} & set(METRICS)


JETSON = {"memory_bytes": 1 << 20, "temperature_celsius": 48.5}


class Torch:
    """What is asked of torch where it uses CUDA."""

    def __init__(self, temperature: int | None, initialized: bool = True) -> None:
        self.cuda = self
        self._temperature = temperature
        self._initialized = initialized

    def is_initialized(self) -> bool:
        return self._initialized

    def memory_reserved(self, device: str) -> int:
        assert device in ("cuda", "cuda:1")
        return 1 << 20

    def temperature(self, device: str) -> int:
        if self._temperature is None:
            raise ModuleNotFoundError("pynvml")
        return self._temperature


def device_figures(metrics: Metrics) -> dict[str, float]:
    families = metrics.registry.collect()
    return {one.name: one.value for each in families for one in each.samples if "_device_" in one.name}


@pytest.mark.parametrize(
    ("torch", "zones", "found"),
    [
        (Torch(51), {}, {"memory_bytes": 1 << 20, "temperature_celsius": 51}),
        (Torch(None), {}, {"memory_bytes": 1 << 20}),  # without pynvml
        (
            Torch(None),
            {"cpu-thermal": "61000", "gpu-thermal": "48500"},
            {"memory_bytes": 1 << 20, "temperature_celsius": 48.5},
        ),
        (Torch(51, initialized=False), {"gpu-thermal": "48500"}, {}),
        (None, {}, {}),
    ],
)
def test_the_device_is_known_only_where_torch_uses_it(
    metrics: Metrics,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    torch: Torch | None,
    zones: dict[str, str],
    found: dict[str, float],
) -> None:
    for number, (kind, value) in enumerate(zones.items()):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(f"{value}\n")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    if torch is not None:
        monkeypatch.setitem(sys.modules, "torch", torch)
    metrics.watch_device("cuda:1", tmp_path)
    assert device_figures(metrics) == {f"alfa_edge_device_{name}": value for name, value in found.items()}


def test_a_device_that_is_a_cpu_has_no_figures(metrics: Metrics) -> None:
    metrics.watch_device("cpu")
    assert device_figures(metrics) == {}


def test_two_services_in_one_process_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()
    one.verdict("press-1", "normal")
    assert one.registry.get_sample_value("alfa_edge_verdicts_total", {"line": "press-1", "verdict": "normal"}) == 1
    assert other.registry.get_sample_value("alfa_edge_verdicts_total", {"line": "press-1", "verdict": "normal"}) is None


def test_codes_that_vary_without_end_become_one(metrics: Metrics) -> None:
    for number in range(1000):
        metrics.verdict("press-1", "error", f"code_{number}")
    errors = [
        one for each in metrics.registry.collect() for one in each.samples if one.name == "alfa_edge_errors_total"
    ]
    assert len(errors) < 100
    assert sum(one.value for one in errors) == 1000
    assert max(errors, key=lambda one: one.value).labels["code"] == "other"


def test_lines_count_from_several_threads_without_loss(metrics: Metrics) -> None:
    def count() -> None:
        for _ in range(500):
            metrics.verdict("press-1", "normal", None, TIMING)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    value = metrics.registry.get_sample_value("alfa_edge_verdicts_total", {"line": "press-1", "verdict": "normal"})
    assert value == 2000


def test_without_a_port_nothing_is_served(metrics: Metrics) -> None:
    before = threading.active_count()
    server = metrics.serve(MetricsSettings())
    assert threading.active_count() == before
    server.stop()


def test_it_is_served_on_ipv6_too(metrics: Metrics) -> None:
    try:
        server = metrics.serve(MetricsSettings(port=(port := free_port()), host="::1"))
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    assert scrape(port, "[::1]")
    server.stop()


def test_a_port_that_is_taken_is_named_with_a_remedy(metrics: Metrics, served: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"metrics: port = {served}: cannot listen on 127\.0\.0\.1:{served}: .*in use"
    ):
        Metrics().serve(MetricsSettings(port=served))
    assert scrape(served), "the first one goes on"


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 70])
def test_an_address_that_is_not_here_is_named_with_a_remedy(metrics: Metrics, host: str) -> None:
    with pytest.raises(ConfigError, match=f"metrics: host = {host}: is no address of this machine; 127"):
        metrics.serve(MetricsSettings(port=free_port(), host=host))


def test_the_port_is_free_when_the_server_has_stopped(metrics: Metrics) -> None:
    port = free_port()
    for _ in range(2):
        server = metrics.serve(MetricsSettings(port=port))
        assert scrape(port)
        server.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_only_reading_is_possible(served: int) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{served}/metrics", data=b"x", method="POST")
    with pytest.raises(HTTPError, match="405"):
        urllib.request.urlopen(request, timeout=10)


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_a_scraper_that_says_nothing_does_not_hold_up_another(served: int) -> None:
    silent = [dial(served) for _ in range(20)]
    silent[0].sendall(b"GET /met")
    assert scrape(served)
    for connection in silent:
        connection.close()


def can_scrape(port: int) -> bool:
    try:
        return bool(scrape(port))
    except OSError:
        return False


@pytest.mark.parametrize("request_", [b"\x16\x03\x01\x02\x00\x01\n\n", b"GET\n\n", b"A" * 70_000 + b"\n", b"\n\n"])
def test_what_is_no_request_harms_nothing(served: int, capfd: pytest.CaptureFixture[str], request_: bytes) -> None:
    with dial(served) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        while not closed(connection):
            pass
    assert scrape(served)
    assert capfd.readouterr().err == "", "a stranger does not write to the log"


def test_a_scraper_that_never_stops_does_not_hold_up_a_line(metrics: Metrics, served: int) -> None:
    for line in range(4):
        metrics.watch(f"press-{line}", lambda: ALL)
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            can_scrape(served)

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    began, answered = time.monotonic(), 0
    before = metrics.registry.get_sample_value("alfa_edge_scrape_errors_total")
    while time.monotonic() - began < 0.5:
        metrics.verdict("press-0", "normal", None, TIMING)
        answered += 1
        time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    assert before == 0
    assert answered > 10, "of some 400 without them, on a machine that has nothing else to do"


def test_a_gauge_that_hangs_leaves_the_service_alone(metrics: Metrics, served: int) -> None:
    release = threading.Event()

    def hangs() -> Gauges:
        release.wait(20)
        return ALL

    metrics.watch("press-1", hangs)
    with dial(served) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        metrics.verdict("press-1", "normal", None, TIMING)
    release.set()
    assert scrape(served)["alfa_edge_verdicts_total", ("press-1", "normal")] == 1


def test_stop_does_not_wait_for_a_scrape(metrics: Metrics) -> None:
    server: MetricsServer = metrics.serve(MetricsSettings(port=(port := free_port())))
    with dial(port):
        time.sleep(0.2)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5


def test_what_is_wrong_is_a_figure_while_it_lasts(served: int, metrics: Metrics, alarms: Alarms) -> None:
    alarms.raise_("archive", "its disk is full")
    alarms.raise_("broker_topic", "refuses stats", "press-1", about="stats")
    alarms.raise_("broker_topic", "refuses status", "press-1", about="status")
    found = {labels: value for (name, labels), value in scrape(served).items() if name == "alfa_edge_alarms"}
    assert found == {("", "archive"): 1, ("press-1", "broker_topic"): 1}
    alarms.clear("archive")
    assert ("alfa_edge_alarms", ("", "archive")) not in scrape(served)


def test_a_thread_that_stands_still_is_a_figure_while_it_does(served: int, metrics: Metrics) -> None:
    workers, goes_on = Workers(), threading.Event()

    def work() -> None:
        goes_on.wait(20)

    slow = Worker(workers, "slow", work, patience_s=0.05)
    well = Worker(workers, "well", lambda: None, patience_s=0.05)
    metrics.watch_workers(workers)
    for worker in (slow, well):
        worker.start()
    eventually(lambda: ("alfa_edge_stalled", ("slow",)) in scrape(served))
    assert [labels for name, labels in scrape(served) if name == "alfa_edge_stalled"] == [("slow",)]
    goes_on.set()
    eventually(lambda: not any(name == "alfa_edge_stalled" for name, _ in scrape(served)))
    for worker in (slow, well):
        worker.stop()
