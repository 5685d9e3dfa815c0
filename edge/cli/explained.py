"""Bad input on the command line: its message, exit code 2, and no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from core.printable import shown
from edge.cli.terminal import Terminal
from edge.ops.redact import redact
from edge.tools.mendable import mendable

BAD_INPUT = 2
"""The exit code."""
errors = Terminal(stderr=True)


@contextmanager
def explained() -> Iterator[None]:
    """Ends the command with the messages of an error that the user can mend."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, mendable()):
            raise
        for line in str(error).split("\n"):
            errors.print(f"alfa-edge: {redact(shown(line))}", soft_wrap=True)
        raise typer.Exit(BAD_INPUT) from None
