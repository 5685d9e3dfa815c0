"""open_clip, imported without what it brings along for models that are not ViTs: that is half of a service's start-up.

timm, whose image towers have no windows to attend over, and torch's compiler, which torchvision asks for at import
whether it is there, are kept out of this one import. Whoever imports them later gets them. Import open_clip from here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_COMPILER = ("torch._dynamo", "torch._dynamo.utils")


@contextmanager
def _without() -> Iterator[None]:
    """Names in `sys.modules` that are not the modules, for as long as the context is open."""
    package, utils = (ModuleType(name) for name in _COMPILER)
    package.__path__ = []
    utils.is_compile_supported = lambda _device: False  # type: ignore[attr-defined]
    stand_ins: dict[str, ModuleType | None] = {"timm": None, **dict(zip(_COMPILER, (package, utils), strict=True))}
    stand_ins = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(stand_ins)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if name in sys.modules and sys.modules[name] is module:
                del sys.modules[name]


def _forget(*packages: str) -> None:
    for name in [one for one in sys.modules if one.split(".")[0] in packages]:
        del sys.modules[name]


def _import() -> None:
    import torch  # noqa: F401  # first, with its compiler untouched

    try:
        with _without():
            import open_clip
    except (ImportError, AttributeError):  # of a release that needs more of them
        _forget("open_clip", "torchvision")
        import open_clip  # noqa: F401


if "open_clip" not in sys.modules:
    _import()

import open_clip  # noqa: E402
from open_clip.factory import load_state_dict  # noqa: E402
from open_clip.model import CLIP  # noqa: E402
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model  # noqa: E402
from open_clip.tokenizer import SimpleTokenizer  # noqa: E402

__all__ = [
    "CLIP",
    "SimpleTokenizer",
    "get_pretrained_cfg",
    "list_pretrained_tags_by_model",
    "load_state_dict",
    "open_clip",
]
