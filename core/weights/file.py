"""Files of weights, read without running what they may hold; and in our own words why one cannot be read."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any, BinaryIO

import torch

from core.model_error import ModelError, first_line

_ADVICE = re.compile(r"weights.only|unpickl|pickle|safe.globals|trust", re.IGNORECASE)
_OBJECTS = re.compile(r"global|blocked|TorchScript|must be \S+ to load|build instruction|reduce", re.IGNORECASE)
_TORN = (EOFError, IndexError, KeyError)  # in the middle of what torch took for a file of its own


def load_tensors(source: Path | BinaryIO, name: str | None = None) -> Any:
    """What `torch.save` has written, on the CPU: tensors, and numbers, texts, lists and dictionaries around them.

    Args:
        source: The file.
        name: What messages call it; by default its path.

    Raises:
        ModelError: it is no such file, it is damaged, or it holds something else.
    """
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # of the system, of zip archives, of pickles
        raise ModelError(f"weights {name or source} cannot be read: {why_not_read(error)}") from None


def why_not_read(error: Exception) -> str:
    """Why weights cannot be read, and what to do.

    torch, and libraries on it, advise to read a file without their safety, where they refuse what is in it. That would
    run code of whoever made the file, so that advice is repeated to nobody.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    words = "\n".join(str(error) for error in chain)
    refused = any(isinstance(error, pickle.UnpicklingError) for error in chain) or _ADVICE.search(words)
    torn = isinstance(error, _TORN) or (isinstance(error, OSError) and error.filename is None)
    if not refused and not torn:
        return first_line(error)
    if refused and _OBJECTS.search(words):
        return (
            "the file holds objects beyond tensors, and reading those would run code that is in it; ask its maker for "
            "the weights alone, as .safetensors"
        )
    return "it is no file of weights, or it is damaged; fetch it again, as .safetensors where there is one"
