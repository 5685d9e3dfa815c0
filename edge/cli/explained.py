"""Bad input on the command line: its message, exit code 2, and no traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from core.printable import shown
from edge.ops.redact import redact
from edge.settings_file import ConfigError

BAD_INPUT = 2
"""The exit code."""


@contextmanager
def explained() -> Iterator[None]:
    """Ends the command with the messages of an error that the user can mend."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, _mendable()):
            raise
        for line in str(error).split("\n"):
            print(f"alfa-edge: {redact(shown(line))}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(BAD_INPUT) from None


def _mendable() -> tuple[type[Exception], ...]:
    """The errors that say what to mend; imported when there is one, so that a service starts without them."""
    from core.bank import BankError
    from core.database import DatabaseError
    from core.evaluate.compare import EvaluationFileError, IncomparableError
    from core.evaluate.datasets import DatasetError
    from core.graph import BatchTooLargeError
    from core.image import ImageError
    from core.packs import PackError
    from core.vision import UnsupportedModelError
    from core.weights import ModelError
    from edge.control.client import NoAnswerError, RefusedError
    from edge.control.server import ConsoleError
    from edge.ops.lock import LockError
    from edge.storage.archive import ArchiveError
    from edge.tools.broker import BrokerError
    from edge.tools.first_run import FirstRunError

    setup = (ConfigError, PackError, ModelError, UnsupportedModelError, BatchTooLargeError, BrokerError)
    data = (DatasetError, EvaluationFileError, IncomparableError, FileNotFoundError, FirstRunError, ImageError)
    running = (ArchiveError, BankError, DatabaseError, ConsoleError, LockError, NoAnswerError, RefusedError)
    return (*setup, *data, *running)
