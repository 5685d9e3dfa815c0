"""Work that is killed before one of its operations on the file system."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

KILLED = 200
_OPERATIONS = ((Path, ("rename", "replace", "unlink", "rmdir", "mkdir")), (os, ("fsync",)))


def killed_before(step: int, work: Callable[[], object]) -> int:
    """Does `work` in a process that is killed before the operation of this number, from 0.

    Returns:
        `KILLED`; or how many operations there were, where they were fewer.
    """
    child = os.fork()
    if child == 0:
        done = 0

        def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
            def count(*arguments: Any, **options: Any) -> Any:
                nonlocal done
                if done == step:
                    os._exit(KILLED)
                done += 1
                return operation(*arguments, **options)

            return count

        try:
            for holder, names in _OPERATIONS:
                for name in names:
                    setattr(holder, name, counted(getattr(holder, name)))
            work()
        finally:
            os._exit(done)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
