"""open_clip, imported without what it brings along for models that are not ViTs: that is half of a service's start-up.

timm, whose image towers have no windows to attend over, and torch's compiler, which torchvision asks for at import
whether it is there, are kept out of this one import. Nobody misses them: open_clip finds timm when it first makes a
model with it, and torchvision asks the compiler when it has something to compile. Import open_clip from here.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER = ("torch._dynamo", "torch._dynamo.utils")


@contextmanager
def _without() -> Iterator[None]:
    """Names in `sys.modules` that are not the modules, for as long as the context is open."""
    package, utils = (ModuleType(name) for name in _COMPILER)
    package.__path__ = []
    utils.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    stand_ins: dict[str, ModuleType | None] = {"timm": None, **dict(zip(_COMPILER, (package, utils), strict=True))}
    stand_ins = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(stand_ins)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if name in sys.modules and sys.modules[name] is module:
                del sys.modules[name]


def _is_compile_supported(device: str) -> bool:
    """What torchvision keeps in place of the compiler's own answer, and asks later on."""
    found: bool = importlib.import_module("torch._dynamo.utils").is_compile_supported(device)
    return found


def _find_timm_later(module: Any) -> None:
    """Has open_clip's module of timm towers run once more, with timm, before it makes its first tower."""
    tower, make = module.TimmModel, module.TimmModel.__init__

    @functools.wraps(make)
    def first(self: Any, *arguments: Any, **named: Any) -> None:
        tower.__init__ = make
        importlib.reload(module)  # fills in the names that the methods of the class look for there
        module.TimmModel = tower  # which is the one that others have imported
        make(self, *arguments, **named)

    tower.__init__ = first


def _forget(*packages: str) -> None:
    for name in [one for one in sys.modules if one.split(".")[0] in packages]:
        del sys.modules[name]


def _import() -> None:
    import torch  # noqa: F401  # first, with its compiler untouched

    try:
        with _without():
            import open_clip
        if (module := sys.modules.get("open_clip.timm_model")) is not None and getattr(module, "timm", 0) is None:
            _find_timm_later(module)
    except (ImportError, AttributeError):  # of a release that needs more of them
        _forget("open_clip", "torchvision")
        import open_clip  # noqa: F401


if "open_clip" not in sys.modules:
    _import()

import open_clip  # noqa: E402
from open_clip.factory import load_state_dict  # noqa: E402
from open_clip.model import CLIP, resize_pos_embed  # noqa: E402
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model  # noqa: E402
from open_clip.tokenizer import SimpleTokenizer  # noqa: E402

__all__ = [
    "CLIP",
    "SimpleTokenizer",
    "get_pretrained_cfg",
    "list_pretrained_tags_by_model",
    "load_state_dict",
    "open_clip",
    "resize_pos_embed",
]
