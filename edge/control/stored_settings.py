"""What commands have set on lines, as a start finds it: a paused line stays paused, a set pack stays set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.packs.pack import PackError, PromptPack, load_pack
from edge.settings import LineSettings
from edge.storage.settings_database import SettingsDatabase, SettingsTables


@dataclass(frozen=True)
class StoredSettings:
    """What commands have set on a line.

    Attributes:
        pack: Name or path of the pack that the line is to judge by; None: the configured one.
        paused_by: Who paused the line; None: it is not paused.
    """

    pack: str | None
    paused_by: str | None


def stored_settings(database: SettingsDatabase, lines: Mapping[str, LineSettings]) -> dict[str, StoredSettings]:
    """What was set on each line before. A pack that was set before its line's configured pack changed is dropped."""

    def read(tables: SettingsTables) -> dict[str, StoredSettings]:
        tables.drop_older_packs({name: line.pack for name, line in lines.items()})
        return {name: StoredSettings(tables.pack(name), tables.paused(name)) for name in lines}

    return database.run(read)


def load_packs(lines: Mapping[str, LineSettings], stored: Mapping[str, StoredSettings]) -> dict[str, PromptPack]:
    """The pack of each line: the one that was set, else the configured one.

    Raises:
        PackError: one of them cannot be loaded. Where that one was set by a command, the message says so.
    """
    return {name: _load(name, line.pack, stored.get(name)) for name, line in lines.items()}


def _load(name: str, configured: str, stored: StoredSettings | None) -> PromptPack:
    if stored is None or stored.pack is None:
        return load_pack(configured)
    try:
        return load_pack(stored.pack)
    except PackError as error:
        raise PackError(
            f"line {name} was set to judge by the pack {stored.pack}, which cannot be loaded: {error}. Bring it back, "
            f"or go back to the configured pack {configured!r} with `alfa-edge recipe reset --line {name}`, or name "
            f"another one in the configuration, lines.{name}.pack"
        ) from error
