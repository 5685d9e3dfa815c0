"""TLS to a real broker: what is trusted, what is not, and in which words."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.mqtt.publisher import Publisher
from edge.mqtt.tls import context_of
from edge.settings import MqttSettings
from edge.settings_file import ConfigError
from edge.tools.broker_check import check_broker
from tests.support.certificates import Authority, Identity, lock_key
from tests.support.mosquitto import Mosquitto, Tls, eventually, subscribe
from tests.support.publisher import ANOMALY, LINE, Publishers, connected, verdicts

HERE = "DNS:localhost,IP:127.0.0.1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "other")


def broker_of(identity: Identity, **tls: Any) -> Mosquitto:
    return Mosquitto(tls=Tls(identity.certificate, identity.key, **tls))


def why_not(port: int, **settings: Any) -> str:
    reason = check_broker(MqttSettings(**{"host": "127.0.0.1", "port": port, "tls": True} | settings), 15).refusal
    assert reason is not None
    return reason


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_verdicts_over_tls(publisher_of: Publishers, authority: Authority, host: str, version: str) -> None:
    trust = {"tls": True, "ca_file": authority.identity.certificate}
    with broker_of(authority.vouch("broker", HERE)) as broker:
        publisher = publisher_of(broker.tls_port, host=host, version=version, **trust)
        publisher.start()
        connected(publisher)
        with subscribe(broker.port, ANOMALY) as listener:
            publisher_of.issue(publisher, 3)
            listener.until(verdicts(3))
        socket: Any = publisher._client.client.socket()
        assert socket.version() in {"TLSv1.2", "TLSv1.3"}
        publisher._client.drop("anew")  # cutting a connection of TLS is noticed like any other
        publisher_of.issue(publisher)
        eventually(lambda: publisher.acknowledged == 4)
        assert publisher.stop("done") == 0


def test_a_broker_restart_over_tls(publisher_of: Publishers, authority: Authority) -> None:
    with broker_of(authority.vouch("broker", HERE)) as broker:
        publisher = publisher_of(broker.tls_port, tls=True, ca_file=authority.identity.certificate, replay_rate=1000)
        publisher.start()
        connected(publisher)
        broker.kill()
        eventually(lambda: not publisher.connected)
        publisher_of.issue(publisher, 5)
        broker.start()
        eventually(lambda: publisher.acknowledged == 5)


def test_a_certificate_that_nobody_here_trusts(authority: Authority, other: Authority) -> None:
    with broker_of(authority.vouch("broker", HERE)) as broker:
        reason = why_not(broker.tls_port, ca_file=other.identity.certificate)
        assert f"the certificate of the broker at 127.0.0.1:{broker.tls_port} is not trusted by mqtt.ca_file" in reason
        assert "is not trusted by this system; set mqtt.ca_file" in why_not(broker.tls_port)


def test_a_certificate_for_another_name(authority: Authority) -> None:
    with broker_of(authority.vouch("elsewhere", "DNS:elsewhere")) as broker:
        for host in ("localhost", "127.0.0.1"):
            reason = why_not(broker.tls_port, host=host, ca_file=authority.identity.certificate)
            assert "is not for this name; set mqtt.host to one that is in it" in reason


def test_a_certificate_that_has_expired(authority: Authority) -> None:
    with broker_of(authority.vouch("expired", HERE, days=-1)) as broker:
        reason = why_not(broker.tls_port, ca_file=authority.identity.certificate)
        assert "has expired; or the clock here is wrong: 2" in reason


def test_tls_to_a_port_without_and_the_other_way_round(authority: Authority) -> None:
    trust = authority.identity.certificate
    with broker_of(authority.vouch("broker", HERE)) as broker:
        reason = why_not(broker.port, ca_file=trust)
        assert f"127.0.0.1:{broker.port} does not seem to speak TLS; check mqtt.port" in reason
        assert "is it one that wants TLS (mqtt.tls)" in why_not(broker.tls_port, tls=False)


def test_nothing_old_and_nothing_unchecked_is_spoken() -> None:
    context = context_of(MqttSettings(tls=True))
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context_of(MqttSettings()) is None


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
def test_a_broker_that_wants_a_client_certificate(authority: Authority, other: Authority, version: str) -> None:
    trust = authority.identity.certificate
    with broker_of(authority.vouch("broker", HERE), authority=trust, only_known=True, version=version) as broker:
        assert "want a client certificate (mqtt.cert_file and mqtt.key_file)?" in why_not(
            broker.tls_port, ca_file=trust
        )
        stranger = other.vouch("stranger")
        files: dict[str, Any] = {"cert_file": stranger.certificate, "key_file": stranger.key}
        assert "trust the certificate in mqtt.cert_file?" in why_not(broker.tls_port, ca_file=trust, **files)
        known = authority.vouch("known")
        files = {"cert_file": known.certificate, "key_file": known.key}
        settings = MqttSettings(host="localhost", port=broker.tls_port, tls=True, ca_file=trust, **files)
        assert check_broker(settings, 15).refusal is None


Files = dict[str, Path]
WRONG: list[tuple[str, str, Callable[[Path, Files], Path]]] = [
    ("ca_file", "no such file", lambda folder, _: folder / "missing.pem"),
    ("ca_file", "cannot be read: is a folder, not a regular file", lambda folder, _: folder),
    ("ca_file", "holds no certificate in PEM form", lambda folder, _: write(folder, "not one")),
    ("ca_file", "holds no usable certificate", lambda folder, _: write(folder, "-----BEGIN CERTIFICATE-----\nx\n")),
    ("cert_file", "no such file", lambda folder, _: folder / "missing.pem"),
    ("cert_file", "holds no certificate in PEM form", lambda _, files: files["key_file"]),
    ("key_file", "no such file", lambda folder, _: folder / "missing.key"),
    ("key_file", "holds no private key in PEM form", lambda _, files: files["cert_file"]),
    ("key_file", "is not the key of mqtt.cert_file", lambda _, files: files["other"]),
    ("key_file", "has a password", lambda folder, files: lock_key(files["key_file"], folder / "locked.key")),
]


def write(folder: Path, text: str) -> Path:
    path = folder / "wrong.pem"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("key", "remedy", "wrong"), WRONG, ids=[f"{key}-{remedy}" for key, remedy, _ in WRONG])
def test_wrong_files_are_named_at_the_start(
    publisher_of: Publishers,
    authority: Authority,
    tmp_path: Path,
    key: str,
    remedy: str,
    wrong: Callable[[Path, Files], Path],
) -> None:
    mine = authority.vouch("mine")
    files = {"ca_file": authority.identity.certificate, "cert_file": mine.certificate, "key_file": mine.key}
    path = wrong(tmp_path, files | {"other": authority.identity.key})
    settings = MqttSettings(tls=True, **files | {key: path})
    with pytest.raises(ConfigError) as caught:
        Publisher(settings, LINE, "box", "1.2.3", publisher_of.outbox, publisher_of.delivery, publisher_of.alarms)
    (problem,) = caught.value.problems
    assert (problem.where, problem.key, problem.value) == ("mqtt", key, str(path))
    assert remedy in problem.remedy
    assert remedy in str(check_broker(settings, 1).refusal)
