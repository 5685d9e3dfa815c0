"""What the shell proposes as somebody types: lines, recipes, packs, models and their tags, as they are on this machine.

Nothing is said of what cannot be read: a message would end up in the line that is being typed. The command says it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import typer

from edge.settings import console_dir, store_dir

_ANSWER_S = 2.0  # who types does not wait for longer


def lines(ctx: typer.Context, incomplete: str) -> list[str]:
    """Lines of the configuration that is named, or of the default one."""
    from edge.settings_file import ConfigError, load_settings

    config = ctx.params.get("config")
    try:
        return [] if config is None else _beginning(load_settings(Path(config)).lines, incomplete)
    except ConfigError:
        return []


def recipes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Recipes of the named line, or of all; a running service tells them."""
    from edge.control.client import NoAnswerError, RefusedError, ask
    from edge.control.server import SOCKET
    from edge.settings_file import ConfigError, load_settings

    config, line = ctx.params.get("config"), ctx.params.get("line")
    try:
        if config is None:
            return []
        socket = console_dir(load_settings(Path(config)).service) / SOCKET
        known = ask(socket, "recipe_list", {}, timeout_s=_ANSWER_S)[0]["recipes"]
    except (ConfigError, NoAnswerError, RefusedError):
        return []
    named = (recipe for name, of_line in known.items() if line in (None, "", name) for recipe in of_line)
    return _beginning({recipe["name"] for recipe in named if not recipe["retired"]}, incomplete)


def packs(incomplete: str) -> list[str]:
    """The bundled packs. A path is the shell's own to complete."""
    from core.packs.pack import list_packs

    return _beginning(list_packs(), incomplete)


def models(ctx: typer.Context, incomplete: str) -> list[str]:
    """The model that comes along, and those with weights in the store."""
    from core.model_name import BUNDLED

    return _beginning({BUNDLED, *(model for model, _ in _weights(ctx))}, incomplete)


def stored_models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Models with weights in the store."""
    return _beginning({model for model, _ in _weights(ctx)}, incomplete)


def tags(ctx: typer.Context, incomplete: str) -> list[str]:
    """Tags of the named model in the store; of all models where none is named yet."""
    named = ctx.params.get("name") or ctx.params.get("model")
    return _beginning({tag for model, tag in _weights(ctx) if named in (None, model)}, incomplete)


def _weights(ctx: typer.Context) -> list[tuple[str, str]]:
    from core.model_error import ModelError
    from core.weights.store import Store

    try:
        return [(entry.model, entry.tag) for entry in Store(store_dir(ctx.params.get("store"))).entries()]
    except ModelError:
        return []


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
