"""Weights come whole and as published, or not at all."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.pretrained import _PRETRAINED
from safetensors.torch import load_file, save_file

from core.backbone import load_backbone
from core.weights import fetch
from core.weights.fetch import import_file, pull
from core.weights.source import ModelError, find, published_hash, source_of, tag_settings
from core.weights.store import Record, Store
from tests.support.tiny_clip import TINY
from tests.support.weights_server import WeightsServer

SMALL = TINY
REAL = "ViT-S-32-alt"  # which other processes know too
TAG = "small_e1"
STAMP = "2026-01-31T06:00:00.000Z"
BODY = bytes(range(256)) * 20_000
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    with WeightsServer(BODY) as one:
        yield one


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes open_clip know a tag of the small model."""

    def known(**settings: Any) -> None:
        settings = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), **settings}
        monkeypatch.setitem(_PRETRAINED, SMALL, {TAG: settings})

    known(url="http://127.0.0.1:9/small.safetensors")
    return known


def files(store: Store) -> list[str]:
    return sorted(path.name for path in store.root.rglob("*") if path.is_file() and path.name != ".lock")


def test_a_tag_is_fetched_whole_once(
    server: WeightsServer, store: Store, publish: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    publish(url=f"{server.url}/openaipublic/{SHA}/small.pt")
    record, fetched = pull(SMALL, "Small-e1", store, STAMP)
    assert fetched
    assert "100%" in capsys.readouterr().err
    assert files(store) == [f"{TAG}.json", f"{TAG}.pt"]
    assert (record.sha256, record.size, record.verified_by, record.fetched_at) == (SHA, len(BODY), "url", STAMP)
    found = find(SMALL, TAG, store)
    assert found.path.read_bytes() == BODY
    assert found.settings == {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    assert find(SMALL, "small-e1", store) == found
    again, fetched = pull(SMALL, TAG, store, "later")
    assert (again, fetched) == (record, False)
    assert len(server.requests) == 1


def test_damaged_weights_are_fetched_again(server: WeightsServer, store: Store, publish: Callable[..., None]) -> None:
    publish(url=f"{server.url}/small.pt")
    assert pull(SMALL, TAG, store, STAMP)[0].verified_by is None
    path = store.root / SMALL / f"{TAG}.pt"
    flip(path)
    (entry,) = store.entries()
    assert entry.problem == ""  # its size is right
    assert "SHA-256" in store.verify(entry)
    assert pull(SMALL, TAG, store, STAMP)[1]
    assert path.read_bytes() == BODY


def test_a_connection_that_ends_half_way_leaves_nothing(
    server: WeightsServer, store: Store, publish: Callable[..., None]
) -> None:
    publish(url=f"{server.url}/small.pt")
    server.cut = len(BODY) // 2
    with pytest.raises(ModelError, match=f"ended after {len(BODY) // 2} of {len(BODY)} bytes"):
        pull(SMALL, TAG, store, STAMP)
    assert files(store) == []
    with pytest.raises(ModelError, match=f"'{TAG}' of {SMALL} are not on this machine: fetch them once"):
        find(SMALL, TAG, store)


def test_an_earlier_file_survives_a_failed_fetch(
    server: WeightsServer, store: Store, publish: Callable[..., None]
) -> None:
    publish(url=f"{server.url}/small.pt")
    pull(SMALL, TAG, store, STAMP)
    flip(store.root / SMALL / f"{TAG}.pt")
    server.cut = 10
    with pytest.raises(ModelError):
        pull(SMALL, TAG, store, STAMP)
    assert files(store) == [f"{TAG}.json", f"{TAG}.pt"]


def test_a_killed_fetch_leaves_nothing_that_is_loaded(
    server: WeightsServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{server.url}/small.pt"
    monkeypatch.setitem(_PRETRAINED, REAL, {TAG: {"url": url}})
    server.stall = True
    script = (
        "import sys; from pathlib import Path; from open_clip.pretrained import _PRETRAINED\n"
        f"_PRETRAINED[{REAL!r}] = {{{TAG!r}: {{'url': {url!r}}}}}\n"
        "from core.weights.fetch import pull; from core.weights.store import Store\n"
        f"pull({REAL!r}, {TAG!r}, Store(Path({str(store.root)!r})), 'now')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        assert server.half.wait(90)
        part = store.root / REAL / f".{TAG}.part" / "small.pt"
        until = time.monotonic() + 10
        while not (part.exists() and part.stat().st_size) and time.monotonic() < until:
            time.sleep(0.05)
        with pytest.raises(ModelError, match="being written to by another"):
            pull(REAL, TAG, store, STAMP)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    assert part.exists()
    with pytest.raises(ModelError, match="not on this machine"):
        find(REAL, TAG, store)
    assert [entry.record for entry in store.entries()] == [None]
    assert "unfinished" in store.entries()[0].problem
    server.stall = False
    assert pull(REAL, TAG, store, STAMP)[1]
    assert files(store) == [f"{TAG}.json", f"{TAG}.pt"]


def test_a_file_without_its_record_is_not_taken_and_can_be_removed(store: Store, publish: object) -> None:
    (store.root / SMALL).mkdir(parents=True)
    (store.root / SMALL / f"{TAG}.pt").write_bytes(BODY)
    with pytest.raises(ModelError, match="not on this machine"):
        find(SMALL, TAG, store)
    store.remove(SMALL, TAG)
    assert store.entries() == []


def test_the_hash_in_an_address_is_held_against_the_file(
    server: WeightsServer, store: Store, publish: Callable[..., None]
) -> None:
    publish(url=f"{server.url}/openaipublic/{'0' * 64}/small.pt")
    with pytest.raises(ModelError, match=f"has SHA-256 {SHA}, its publisher says {'0' * 64}"):
        pull(SMALL, TAG, store, STAMP)
    assert files(store) == []


def test_hashes_in_addresses() -> None:
    openai = f"https://openaipublic.azureedge.net/clip/models/{SHA}/ViT-B-32.pt"
    assert published_hash(openai) == SHA
    assert published_hash("https://github.com/mlfoundations/x/vit_b_16-laion400m_e32-55e67d44.pt") == "55e67d44"
    assert published_hash("https://github.com/mlfoundations/x/vit_b_16.pt") == ""
    assert published_hash("https://else.where/a-55e67d44.pt") == ""
    assert published_hash("") == ""


@pytest.fixture
def hub(server: WeightsServer, monkeypatch: pytest.MonkeyPatch, publish: Callable[..., None]) -> WeightsServer:
    """The server as the hub, with the small model's weights."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    publish(hf_hub="someone/small/", url="http://127.0.0.1:9/never-asked.pt")
    return server


def test_the_hub_is_asked_first_and_for_safetensors(hub: WeightsServer, store: Store) -> None:
    record, _ = pull(SMALL, TAG, store, STAMP)
    assert files(store) == [f"{TAG}.json", f"{TAG}.safetensors"]
    assert (record.sha256, record.verified_by) == (SHA, "hub")
    assert record.source == f"{hub.url}/someone/small/resolve/main/open_clip_model.safetensors"


def test_a_repository_without_safetensors_gives_its_other_file(hub: WeightsServer, store: Store) -> None:
    hub.gone = ("open_clip_model.safetensors",)
    record, _ = pull(SMALL, TAG, store, STAMP)
    assert record.file == f"{TAG}.bin"
    store.remove(SMALL, TAG)
    hub.gone += ("open_clip_pytorch_model.bin",)
    with pytest.raises(ModelError, match="someone/small has none of"):
        pull(SMALL, TAG, store, STAMP)


def test_a_file_that_is_not_the_hubs_is_refused(hub: WeightsServer, store: Store) -> None:
    hub.etag = "1" * 64
    with pytest.raises(ModelError, match=f"its publisher says {'1' * 64}"):
        pull(SMALL, TAG, store, STAMP)
    assert files(store) == []


def test_a_hub_out_of_reach_is_an_error_soon_with_the_way_around_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unanswered(*_: object, **__: object) -> None:
        time.sleep(60)
        raise TimeoutError("no answer at last")  # the thread that asked is still there

    for connect in (unanswered, None):
        begin = time.monotonic()
        if connect is not None:
            monkeypatch.setattr("socket.create_connection", connect)
        else:
            monkeypatch.undo()
            monkeypatch.setattr("socket.getaddrinfo", no_name)
        with pytest.raises(ModelError, match=r"huggingface\.co cannot be reached") as raised:
            pull("ViT-B-16-plus-240", "laion400m_e31", store, STAMP)
        assert time.monotonic() - begin < 15
        message = str(raised.value).splitlines()
        assert message[1].endswith(
            "curl -fLo laion400m_e31.safetensors https://huggingface.co/timm/"
            "vit_base_patch16_plus_clip_240.laion400m_e31/resolve/main/open_clip_model.safetensors"
        )
        assert message[2].startswith("then bring that file here")
    assert store.entries() == []


def no_name(*_: object, **__: object) -> None:
    raise OSError(-2, "Name or service not known")


def test_a_repository_of_another_tag_is_not_taken_for_it() -> None:
    tag, settings = tag_settings("ViT-B-16-plus-240", "laion400m_e32")
    source = source_of("ViT-B-16-plus-240", tag, settings)
    assert "laion400m_e31" not in source.repository + source.url
    assert "laion400m_e32" in source.repository + source.url
    tag, settings = tag_settings("ViT-B-16", "laion400m_e32")
    assert source_of("ViT-B-16", tag, settings).repository == "timm/vit_base_patch16_clip_224.laion400m_e32"


def test_a_full_disk_is_seen_before_the_fetch(
    server: WeightsServer, store: Store, publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(url=f"{server.url}/small.pt")
    usage = shutil.disk_usage("/")._replace(free=1 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match="69 MiB are needed and 1 MiB are free"):
        pull(SMALL, TAG, store, STAMP)
    assert files(store) == []


def test_a_disk_that_fills_up_is_named(
    server: WeightsServer, store: Store, publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> str:
        raise OSError(28, "No space left on device")

    publish(url=f"{server.url}/small.pt")
    monkeypatch.setattr(fetch, "sha256_of", full)
    with pytest.raises(ModelError, match=r"models cannot be written to: .*No space left"):
        pull(SMALL, TAG, store, STAMP)
    assert files(store) == []


def test_a_store_that_cannot_be_a_directory_is_named(tmp_path: Path, publish: object) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"file/models cannot be written to: .*name another directory"):
        pull(SMALL, TAG, Store(tmp_path / "file" / "models"), STAMP)


@pytest.mark.parametrize(
    ("name", "tag", "message"),
    [
        ("ViT-B-16-plus-241", "laion400m_e32", "did you mean ViT-B-16-plus-240"),
        ("ViT-B-16-plus-240", "laion400m_e33", "did you mean laion400m_e3"),
        ("ViT-B-16-plus-240", "../../etc", "its tags: laion400m_e31, laion400m_e32"),
        ("ViT-S-16-alt", "openai", "its tags: none"),
    ],
)
def test_unknown_names_are_met_with_close_ones(store: Store, name: str, tag: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        pull(name, tag, store, STAMP)
    with pytest.raises(ModelError, match=message):
        import_file(store, Path("none.pt"), name, tag, STAMP)
    assert not store.root.exists()


def test_carried_weights_are_imported_and_loaded_by_their_tag(weights: Path, store: Store, publish: object) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    record = import_file(store, weights, SMALL, TAG, STAMP, digest.upper())
    assert (record.source, record.verified_by, record.sha256) == ("imported from small.safetensors", "given", digest)
    assert weights.exists()
    loaded = load_backbone(SMALL, TAG, "cpu", "fp32", store)
    assert torch.equal(loaded.visual.proj, load_file(weights)["visual.proj"])
    other = load_backbone(SMALL, str(weights), "cpu", "fp32")
    assert loaded.fingerprint != other.fingerprint  # the tag's mean and deviation are its own
    flip(store.root / SMALL / record.file)
    assert [bool(store.verify(entry)) for entry in store.entries()] == [True]


def test_what_is_not_the_models_is_not_imported(weights: Path, store: Store, publish: object, tmp_path: Path) -> None:
    state = load_file(weights)
    positions = state["visual.positional_embedding"]
    stretched, lacking = tmp_path / "stretched.safetensors", tmp_path / "lacking.pt"
    save_file({**state, "visual.positional_embedding": torch.cat([positions, positions[:15]])}, str(stretched))
    torch.save({key: value for key, value in state.items() if key != "visual.proj"}, lacking)
    torn, code, text = tmp_path / "torn.safetensors", tmp_path / "code.pt", tmp_path / "weights.txt"
    torn.write_bytes(weights.read_bytes()[:1000])
    torch.save({"state_dict": Evil()}, code)
    text.write_text("weights")
    for file, message in (
        (stretched, r"stretched\.safetensors do not load into .*visual.positional_embedding is \(65, "),
        (lacking, r"lacking\.pt do not load into .*visual\.proj"),
        (torn, r"torn\.safetensors do not load"),
        (code, r"code\.pt do not load"),
        (text, r"weights\.txt: weights are files of"),
        (tmp_path / "none.pt", r"none\.pt: no such file"),
    ):
        with pytest.raises(ModelError, match=message):
            import_file(store, file, SMALL, TAG, STAMP)
        assert files(store) == []
    assert not (Path.cwd() / "evil-was-here").exists()
    with pytest.raises(ModelError, match=f"not {'a' * 64}; copy it again"):
        import_file(store, weights, SMALL, TAG, STAMP, "a" * 64)
    with pytest.raises(ModelError, match="do not load into ViT-B-32"):
        import_file(store, weights, "ViT-B-32", "openai", STAMP)
    assert files(store) == []


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("evil-was-here"),))  # type: ignore[return-value]


def test_a_file_that_is_not_as_recorded_is_not_loaded(
    server: WeightsServer, store: Store, publish: Callable[..., None]
) -> None:
    publish(url=f"{server.url}/small.pt")
    pull(SMALL, TAG, store, STAMP)
    path, record = store.root / SMALL / f"{TAG}.pt", store.root / SMALL / f"{TAG}.json"
    path.write_bytes(BODY[:-1])
    with pytest.raises(ModelError, match=rf"{TAG}\.pt has {len(BODY) - 1} bytes, its record says {len(BODY)}"):
        find(SMALL, TAG, store)
    assert "bytes" in store.verify(store.entries()[0])
    path.unlink()
    with pytest.raises(ModelError, match=rf"{TAG}\.pt is missing; remove it.*, then pull"):
        load_backbone(SMALL, TAG, store=store)
    record.write_text(record.read_text()[:40])
    with pytest.raises(ModelError, match=rf"record .*{TAG}\.json is damaged .*remove it"):
        find(SMALL, TAG, store)
    assert "damaged" in store.entries()[0].problem
    store.remove(SMALL, TAG)
    assert store.entries() == []


def test_a_record_does_not_point_elsewhere(server: WeightsServer, store: Store, publish: Callable[..., None]) -> None:
    publish(url=f"{server.url}/small.pt")
    pull(SMALL, TAG, store, STAMP)
    record = store.root / SMALL / f"{TAG}.json"
    shutil.copy(record, record.with_name("other.json"))
    with pytest.raises(ModelError, match=rf"other\.json is of {SMALL} {TAG}"):
        store.get(SMALL, "other")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"file": "../../elsewhere.pt"}))
    with pytest.raises(ModelError, match="damaged"):
        find(SMALL, TAG, store)


def test_what_is_removed_is_gone_and_what_is_not_here_is_named(
    server: WeightsServer, store: Store, publish: Callable[..., None]
) -> None:
    publish(url=f"{server.url}/small.pt")
    pull(SMALL, TAG, store, STAMP)
    with pytest.raises(ModelError, match=f"{SMALL} small_e2 is not in .*; here: {SMALL} {TAG}"):
        store.remove(SMALL, "small_e2")
    with pytest.raises(ModelError, match="is not in"):
        store.remove("..", SMALL)
    store.remove(SMALL, TAG)
    assert files(store) == []
    with pytest.raises(ModelError, match="here: nothing"):
        store.remove(SMALL, TAG)


def test_records_are_kept_as_they_were_written(
    server: WeightsServer, store: Store, publish: Callable[..., None]
) -> None:
    publish(url=f"{server.url}/small.pt")
    record, _ = pull(SMALL, TAG, store, STAMP)
    assert Record.model_validate_json((store.root / SMALL / f"{TAG}.json").read_text()).sha256 == record.sha256


def flip(path: Path) -> None:
    """Turns one byte over."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
