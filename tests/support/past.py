"""A line at rest that has judged parts before, with their pictures in its archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.image import Map, Rgb
from edge.control.dispatcher import Dispatcher
from edge.control.offline import offline_dispatcher
from edge.settings import ArchiveSettings, HistorySettings
from edge.storage.archive import Archive
from edge.storage.outbox import Outbox
from edge.storage.retention import overlay_path
from tests.support.at_rest import settings_at_rest
from tests.support.mosquitto import eventually
from tests.support.verdicts import failure, verdict

MAP: Map = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)


@contextmanager
def with_past(
    folder: Path, *parts: Mapping[str, Any], pictures: Mapping[int, Rgb] | None = None
) -> Iterator[Dispatcher]:
    """Line `one` with verdicts 1, 2, ..., judged as it judges now, and pictures of some; `parts` change their fields.

    A picture goes to the archive with the map `MAP`, that of an error without one.
    """
    kept = ArchiveSettings(dir=folder / "archive", min_free_gb=0)
    settings = settings_at_rest(folder).model_copy(update={"archive": kept})
    with offline_dispatcher(settings) as dispatcher:
        archive = Archive(kept)
        archive.start()
        _issue(dispatcher, parts, archive, pictures or {})
        archive.stop()
        yield dispatcher


def _issue(
    dispatcher: Dispatcher, parts: Sequence[Mapping[str, Any]], archive: Archive, pictures: Mapping[int, Rgb]
) -> None:
    recipe = dispatcher.line("one").recipe
    judged_by = {"recipe": recipe.wire, "model": recipe.model, "bank": recipe.bank}
    box = Outbox(dispatcher.database.folder, HistorySettings())
    box.start()
    try:
        for seq, changes in enumerate(parts, 1):
            if changes.get("verdict") == "error":
                made = failure("one", seq).model_copy(update=dict(changes))
            else:
                made = verdict("one", seq, **judged_by | dict(changes))
            if seq in pictures:
                place = overlay_path("one", f"{made.issued_at:%Y-%m-%d}", seq, made.id, normal=made.verdict == "normal")
                if made.heatmap is not None:
                    made = made.model_copy(update={"heatmap": made.heatmap.model_copy(update={"archive": place})})
                patch_map = None if made.error is not None else MAP
                eventually(lambda: archive.status.waiting == 0, 30)
                assert archive.keep(made, pictures[seq], patch_map=patch_map)
            box.issue(made).result()
    finally:
        box.stop()
