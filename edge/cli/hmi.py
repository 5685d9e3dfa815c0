"""`alfa-edge hmi`: the console in the browser, a process beside the service."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from core.remedy import extra
from edge.cli.ask import ConfigFile
from edge.cli.explained import explained
from edge.cli.signals import end, end_at_once, on_signals
from edge.ops.logs import LogFormat, setup_logs
from edge.settings_file import ConfigError, Problem, load_settings


def hmi(
    config: ConfigFile,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    log_format: Annotated[LogFormat, typer.Option(help="text, json, or auto: json in the journal.")] = "auto",
) -> None:
    """Run the console in the browser until it is told to stop. The service may come and go meanwhile."""
    if log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise typer.BadParameter(f"--log-level {log_level}: it is DEBUG, INFO, WARNING or ERROR")
    on_signals(end_at_once)  # once it serves, it first ends what is under way
    setup_logs(log_level, log_format)
    with explained():
        settings = load_settings(config)
        try:
            from edge.hmi.server import run
        except ModuleNotFoundError as error:
            remedy = f"it needs {error.name}: {extra('hmi')}"
            raise ConfigError([Problem("alfa-edge hmi", "", "", remedy)]) from error
        run(settings)
    end(os.EX_OK)  # at once: an answer of the service may be waited for still
