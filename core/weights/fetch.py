"""Bringing weights into the store: from where they are published, or from a file that was carried here.

Nothing else uses a network for weights.
"""

from __future__ import annotations

import errno
import shutil
import socket
import threading
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, getproxies, proxy_bypass, urlopen

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.utils.tqdm import tqdm

from core.model_name import is_timm
from core.remedy import remedy
from core.weights.architectures import architecture_of
from core.weights.clip_weights import check_positions, read_model
from core.weights.source import ModelError, Source, check_name, published_hash, source_of, tag_settings
from core.weights.store import SUFFIXES, Record, Store, make_record, sha256_of
from core.weights.tower_weights import read_tower

_CONNECT_S = 4.0  # for each address of the host
_REACH_S = 6.0  # for the name and all addresses together
_ANSWER_S = 10.0
_CHUNK = 1 << 20
_bar: Any = tqdm  # the hub's own progress bar; it is not typed
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}


class _FetchError(Exception):
    """The weights could not be had from where they are published."""


def pull(name: str, tag: str, store: Store, stamp: str) -> tuple[Record, bool]:
    """Fetches the weights of a pretrained tag, unless they are here and intact; the record, and whether it fetched.

    Progress is shown on standard error.

    Raises:
        ModelError: unknown model or tag, the weights cannot be had, or the store cannot take them.
    """
    check_name(name)
    tag, settings = tag_settings(name, tag)
    entry = store.entry(name, tag)
    if entry.record is not None and not store.verify(entry):
        return entry.record, False
    source = source_of(name, tag, settings)
    with store.writing(name, tag) as work:
        try:
            path, url, published = (_from_hub if source.repository else _from_url)(source, work, store)
            digest = sha256_of(path)
            if not digest.startswith(published):
                raise _FetchError(f"{url} has SHA-256 {digest}, its publisher says {published}")
        except _FetchError as error:
            raise ModelError(_carry(name, tag, source, error)) from error
        verified_by = ("hub" if source.repository else "url") if published else None
        record = make_record(name, tag, path, digest, url, verified_by, stamp, settings)
        store.place(path, record)
    return record, True


def import_file(store: Store, file: Path, model: str, tag: str, stamp: str, sha256: str | None = None) -> Record:
    """Copies weights that were carried here into the store, as those of a pretrained tag.

    They are placed when they load into the model, strictly and without any code that they may hold being run, and have
    the SHA-256 that was given.

    Raises:
        ModelError: one of that is not so, or model, tag, file or store cannot be used.
    """
    check_name(model)
    tag, settings = tag_settings(model, tag)
    if not file.is_file():
        raise ModelError(f"{file}: no such file")
    if file.suffix not in SUFFIXES:
        raise ModelError(f"{file}: weights are files of {', '.join(SUFFIXES)}")
    with store.writing(model, tag) as work:
        store.need(file.stat().st_size)
        copy = work / f"{tag}{file.suffix}"
        shutil.copyfile(file, copy)
        digest = sha256_of(copy)
        if sha256 is not None and digest != sha256.lower():
            raise ModelError(f"{file} has SHA-256 {digest}, not {sha256.lower()}; copy it again")
        if is_timm(model):
            read_tower(f"{model}.{tag}", copy, called=str(file))
        else:
            read_model(model, copy, settings, called=str(file))
            check_positions(copy, architecture_of(model), None, called=str(file))
        published = published_hash(source_of(model, tag, settings).url)
        verified_by = "given" if sha256 else "url" if published and digest.startswith(published) else None
        record = make_record(model, tag, copy, digest, f"imported from {file.name}", verified_by, stamp, settings)
        store.place(copy, record)
    return record


def _from_hub(source: Source, work: Path, store: Store) -> tuple[Path, str, str]:
    """The file, its URL, and the hash that the hub has for it."""
    _reach(source.url)
    try:
        for file in source.files:
            url = hf_hub_url(source.repository, file)
            try:
                there = get_hf_file_metadata(url, timeout=_CONNECT_S)
            except EntryNotFoundError:
                continue
            store.need(there.size)
            commit = there.commit_hash
            path = hf_hub_download(
                source.repository, file, revision=commit, local_dir=work / "hub", etag_timeout=_ANSWER_S
            )
            etag = there.etag or ""
            return Path(path), url, etag if len(etag) == 64 else ""
    except ModelError:
        raise
    except Exception as error:  # the hub's client, and the HTTP client below it, have many of their own
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        raise _FetchError(_first_line(error)) from error
    raise _FetchError(f"{source.repository} has none of {', '.join(source.files)}")


def _from_url(source: Source, work: Path, store: Store) -> tuple[Path, str, str]:
    """The file, its URL, and the hash that the URL carries."""
    url = source.url
    _reach(url)
    path = work / url.rpartition("/")[2]
    try:
        with urlopen(Request(url, headers={"User-Agent": "alfa-edge"}), timeout=_ANSWER_S) as answer:
            length = answer.headers.get("Content-Length")
            size = int(length) if length else None
            store.need(size)
            with path.open("wb") as file, _bar(total=size, desc=path.name, unit="B", unit_scale=True) as bar:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
                got = file.tell()
    except (OSError, HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        raise _FetchError(f"{url}: {_first_line(error)}") from error
    if got == 0 or (size is not None and got != size):
        raise _FetchError(f"{url}: the connection ended after {got} of {size} bytes")
    return path, url, published_hash(url)


def _reach(url: str) -> None:
    """Raises _FetchError when the host of `url`, or the proxy to it, does not answer in a few seconds.

    The hub's client would try for much longer, and a name server that does not answer has no timeout of ours.
    """
    target = urlsplit(url)
    host = target.hostname or ""
    proxies = getproxies()
    proxy = None if proxy_bypass(host) else proxies.get(target.scheme) or proxies.get("all")
    if proxy:
        target = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = target.port or (443 if target.scheme == "https" else 80)
    failures: list[str] = ["no answer"]

    def connect() -> None:
        try:
            socket.create_connection((target.hostname or "", port), timeout=_CONNECT_S).close()
            failures.clear()
        except OSError as error:
            failures[:] = [error.strerror or str(error) or "no answer"]

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_REACH_S)
    if failures:
        via = f" through the proxy {target.hostname}:{port}" if proxy else ""
        raise _FetchError(f"{host} cannot be reached{via} ({failures[0]})")


def _carry(name: str, tag: str, source: Source, error: Exception) -> str:
    """The error, and how the file gets here without a network."""
    file = f"{tag}{Path(urlsplit(source.url).path).suffix}"
    return (
        f"weights {tag!r} of {name} could not be fetched: {error}\n"
        f"where there is a network: curl -fLo {file} {source.url}\n"
        + remedy("import", "then bring that file here", file=file, model=name, tag=tag)
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
