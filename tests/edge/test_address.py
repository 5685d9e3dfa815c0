"""Nothing but scheme, host and port of a camera's address is seen anywhere; what must be encoded is refused."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.printable import shown as printable
from edge.address import check_address, encoded, shown_source
from edge.camera.errors import SourceError
from edge.camera.source import check_source, open_source
from edge.cli.app import app
from edge.ops.redact import redact
from edge.settings import CameraSettings
from edge.settings_file import ConfigError, load_settings
from edge.tools.tables import shown

SECRETS = ("hun", "ter2", "admin", "token7", "stream9")
HOST = "127.0.0.1:9"  # nobody listens there
RAW = {  # user and password as they must not be written
    character: f"rtsp://admin:hun{character}ter2@{HOST}/stream9" for character in "#?/[] %"
} | {
    "% and digits": f"rtsp://admin:hun%zzter2@{HOST}/stream9",
    "digits and a slash": f"rtsp://admin:12/34hunter2@{HOST}/stream9",
    "all of them": f"rtsp://adm/in:hun#?/[] %ter2@{HOST}/stream9",
    "a slash and an @": f"rtsp://admin:h@hun/ter2@{HOST}/stream9",
}
FINE = {
    **{f"encoded {ord(one):02X}": f"rtsp://admin:hun%{ord(one):02X}ter2@{HOST}/stream9" for one in "#?/[]% @:"},
    **{f"raw {one}": f"rtsp://admin:hun{one}ter2@{HOST}/stream9" for one in ":@!$&'()*+,;=~"},
    "no password": f"rtsp://admin@{HOST}/stream9",
    "a query": f"http://{HOST}/video?user=admin&password=hunter2",
    "a query of another name": f"http://{HOST}/cgi?usr=admin&pwd=hunter2&loginuse=admin",
    "a token in the path": f"http://{HOST}/token7/stream9",
    "XMEye": f"rtsp://{HOST}/user=admin&password=hunter2&channel=1&stream=0.sdp?real_stream",
    "XMEye, underlined": f"rtsp://{HOST}/user=admin_password=hunter2_channel=1_stream=0.sdp",
    "XMEye with an @": f"rtsp://{HOST}/user=admin&password=hun@ter2&channel=1",
    "upper case": f"RTSP://ADMIN:hunter2@{HOST}/stream9",
    "IPv6": "rtsp://admin:hunter2@[::1]:9/stream9",
    "another scheme": "rtmp://admin:hunter2@localhost/stream9",
    "one slash": f"rtsp:/admin:hunter2@{HOST}/stream9",
    "no slash": f"rtsp:admin:hunter2@{HOST}/stream9",
    "no scheme": f"admin:hunter2@{HOST}/stream9",
    "no scheme, slashes": f"//admin:hunter2@{HOST}/stream9",
    "no scheme, a slash": f"/admin:hunter2@{HOST}/stream9",
    "no scheme, XMEye": f"{HOST}/user=admin&password=hunter2&channel=1",
    "no scheme, a query": f"{HOST}/cgi?usr=admin&loginpas=hunter2",
    "a blank first": f" http://{HOST}/cgi?usr=admin&loginpas=hunter2",
    "no colon": f"rtsp//admin:hunter2@{HOST}/stream9",
    "a semicolon": f"rtsp;//admin:hunter2@{HOST}/stream9",
    "quoted": f"'rtsp://admin:hunter2@{HOST}/stream9'",
    "gst forgotten": f"rtspsrc location=http://{HOST}/stream9 user-id=admin user-pw=hunter2 ! appsink",
    "gst in capitals": f"GST:rtspsrc location=http://{HOST}/stream9 user-id=admin user-pw=hunter2 ! appsink",
    "genicam, a user": f"genicam:admin:hunter2@{HOST}",
    "gst, properties": "gst:rtspsrc location=rtsp://h/stream9 user-id=admin user-pw=hunter2 ! appsink",
    "gst, an address": "gst:rtspsrc location=rtsp://admin:hunter2@h/stream9 ! decodebin ! appsink",
    "gst, quoted": 'gst:rtspsrc location="rtsp://admin:hun ter2@h" ! appsink',
    "gst, an address first": f"gst:rtsp://admin:hunter2@{HOST}/stream9 ! appsink",
}


def seen(text: str) -> list[str]:
    """What of the secrets is in `text`, as it is or escaped."""
    return [secret for secret in SECRETS if secret in text.lower()]


def config(folder: Path, source: str) -> Path:
    path = folder / "edge.toml"
    path.write_text(f"[model]\nname = 'untrained'\ndevice = 'cpu'\n[lines.a.camera]\nsource = {json.dumps(source)}\n")
    return path


@pytest.mark.parametrize("form", FINE)
def test_nothing_of_an_address_but_its_origin_is_seen(form: str, tmp_path: Path) -> None:
    source = FINE[form]
    settings = load_settings(config(tmp_path, source))
    words = [shown_source(source), json.dumps(shown(settings)), repr(shown(settings))]
    camera = CameraSettings(source=source, open_timeout_s=0.2)
    for look in (open_source,) if form.startswith("gst") else (open_source, lambda of: check_source(of, there=True)):
        with pytest.raises(SourceError) as caught:
            look(camera)
        words.append(str(caught.value))
    words += [printable(word) for word in words]
    for word in words:
        assert seen(word) == [], word
    if HOST in source and source[:1] not in " '" and "://" in source[:8]:
        assert HOST in words[0], "what is no secret helps to find the camera"


@pytest.mark.parametrize("form", [form for form in FINE if "://" in FINE[form] and not form.startswith("gst")])
def test_nothing_of_an_address_passes_the_log(form: str) -> None:
    for text in (f"cannot open {FINE[form]}", f"'{FINE[form]}': 401", f"({FINE[form]})"):
        if not form.startswith("a token"):  # which looks like a page of the web
            assert seen(redact(text)) == []


@pytest.mark.parametrize("form", RAW)
def test_an_address_that_must_be_encoded_is_refused_and_not_seen(form: str, tmp_path: Path) -> None:
    source = RAW[form]
    with pytest.raises(ConfigError) as caught:
        load_settings(config(tmp_path, source))
    said = str(caught.value)
    assert seen(said) == []
    assert seen(repr(caught.value.problems)) == []
    assert "lines.a.camera.source" in said
    assert "must be encoded: write `%" in said
    assert seen(shown_source(source)) == []


def on_a_terminal(command: list[str]) -> str:
    """What a command prints there."""
    ours, its = os.openpty()
    with os.fdopen(its, "w") as terminal, contextlib.redirect_stdout(terminal), pytest.raises(SystemExit):
        app(command)
    try:
        return os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)


@pytest.mark.parametrize("form", RAW)
def test_the_check_prints_the_address_as_it_is_to_be_written_on_a_terminal_alone(form: str, tmp_path: Path) -> None:
    written = encoded(RAW[form])
    assert written is not None
    command = ["config", "check", "--config", str(config(tmp_path, RAW[form]))]
    assert f"lines.a.camera.source = {written}" in on_a_terminal(command).splitlines()
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert seen(result.output) == []
    check_address(written)
    assert shown_source(written) == f"rtsp://{HOST}"


def test_every_character_is_named_with_its_code() -> None:
    with pytest.raises(ValueError, match="write `%20` for a space, `%23` for `#`, `%25` for `%`, `%2F` for `/`, `%3F`"):
        check_address("rtsp://admin:#?/[] %@cam/1")


def test_an_at_behind_a_host_is_asked_about() -> None:
    """It may be the end of a password that holds a slash."""
    with pytest.raises(ValueError, match="an @ behind the host is written `%40`"):
        check_address("http://cam/snapshot?mail=me@home")
    check_address("http://cam/snapshot?mail=me%40home")


@pytest.mark.parametrize(
    "source",
    [
        "/dev/video0",
        "/dev/v4l/by-id/usb-046d_HD_Pro-video-index0",
        "sim:bottle?rate=2&defects=0.1",
        "genicam:Basler-21237813",
        "/data/a@b/c.mp4",
        "/data/date=2026-01-01/line=3",
        "/data/what?/parts",
        "parts/12:30.mp4",
        "C:/parts & more/a.mp4",
        "a@b.mp4",
    ],
)
def test_what_is_no_address_is_shown_as_it_is(source: str) -> None:
    check_address(source)
    assert shown_source(source) == source
    assert encoded(source) is None


@pytest.mark.parametrize("value", ["'hunter2'", "12345678", "['hunter2']", "1.5", "true", "{ a = 'hunter2' }"])
def test_the_value_of_an_unknown_key_is_never_shown(value: str, tmp_path: Path) -> None:
    for table, key in (("mqtt", "pasword"), ("lines.a.camera", "sorce"), ("nothing", "word")):
        path = config(tmp_path, "/dev/video0")
        text = path.read_text()
        found = f"[{table}]\n" if f"[{table}]" not in text else ""
        path.write_text(f"{text}{found}{key} = {value}\n")
        with pytest.raises(ConfigError) as caught:
            load_settings(path)
        said = str(caught.value)
        assert "is no setting" in said
        assert not any(secret in said for secret in ("hunter2", "12345678", "1.5", "true"))
