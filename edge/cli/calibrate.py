"""`alfa-edge calibrate`: a line's threshold from good parts, each of which is shown as it comes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Optional

import typer

from edge.cli.ask import WORK_S, ConfigFile, Json, Line, Recipe, Wait, ask_service, out, say_notes
from edge.cli.table import Table, number
from edge.cli.terminal import show_json
from edge.cli.when import parse_when

_LISTED = 20  # of more parts the highest are listed


def calibrate(
    config: ConfigFile,
    line: Line,
    rate: Annotated[float, typer.Option(min=0.0001, max=0.9999, help="The false-alarm rate to promise.")] = 0.05,
    parts: Annotated[
        int, typer.Option(min=0, help="From the line's next so many parts, all good. 0: from its shots.")
    ] = 0,
    since: Annotated[
        Optional[datetime],  # noqa: UP045
        typer.Option(parser=parse_when, help="From the history since then, all good: 2026-01-31T06:00, or 2h, 3d ago."),
    ] = None,
    until: Annotated[
        Optional[datetime],  # noqa: UP045
        typer.Option(parser=parse_when, help="And until then; without it, until now."),
    ] = None,
    without: Annotated[
        list[int] | None, typer.Option("--without", metavar="SEQ", help="Leave this verdict of the history out.")
    ] = None,
    accept: Annotated[
        float | None, typer.Option(min=0.0001, max=1, help="The highest rate to set, where the parts are too few.")
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Call off the calibration that is under way.")] = False,
    recipe: Recipe = None,
    timeout: Wait = 600.0,
    as_json: Json = False,
) -> None:
    """Set a line's threshold from good parts, with the false-alarm rate that they can promise."""
    if cancel:
        found = ask_service(config, "calibration_cancel", {"line": line})
        out.print(f"line {line}: the calibration was called off after {found['parts']} parts")
        return
    stretch = {name: when.isoformat() for name, when in (("since", since), ("until", until)) if when is not None}
    arguments = {"line": line, "rate": rate, "parts": parts, "accept": accept, "timeout_s": timeout} | stretch
    arguments |= {"recipe": recipe, "without": without or []}
    if not as_json:
        from core.calibration import fewest

        out.print(f"{100 * rate:.3g} % takes {fewest(rate)} good parts, and more where they resemble their neighbours")
    progress = _Progress(config, line, quiet=as_json)
    try:
        found = ask_service(config, "calibrate", arguments, timeout=timeout + WORK_S, meanwhile=progress.show)
    except KeyboardInterrupt:
        ask_service(config, "calibration_cancel", {"line": line})
        out.print(f"line {line}: called off; its threshold is what it was", style="yellow")
        raise typer.Exit(130) from None
    if as_json:
        show_json(found)
        return
    _say_parts(line, found)
    kept = found["calibration"]
    out.print(f"line {line}: threshold {kept['threshold']:.4f}, {kept['source']}", soft_wrap=True)
    if kept["rate"] > rate + 1e-9:
        out.print(f"{kept['count']} parts cannot promise {100 * rate:.3g} %", style="yellow")
    say_notes(found)
    _say_outliers(line, rate, found)


class _Progress:
    """Says each part of the calibration that is under way, as it comes."""

    def __init__(self, config: ConfigFile, line: str, quiet: bool) -> None:
        self.shown = 0
        self._config = config
        self._line = line
        self._quiet = quiet
        self._waits = False

    def show(self) -> None:
        """Asks how far it is."""
        if self._quiet:
            return
        state = ask_service(self._config, "calibration_state", {"line": self._line, "after": self.shown})
        if state["running"] and not state["wanted"] and not self._waits:
            self._waits = True
            out.print("the parts are being compared")
        for part in state.get("parts", ()):
            self.shown += 1
            out.print(f"part {self.shown} of {state['wanted']}: verdict {part['seq']}, score {part['score']:.4f}")


def _kind(found: dict[str, Any]) -> str:
    """Whether its parts are shots, or verdicts: `seq`."""
    return "shot" if any("shot" in part for part in found["parts"]) else "seq"


def _say_parts(line: str, found: dict[str, Any]) -> None:
    """Lists the parts, the highest first; of many only the highest."""
    kind, parts = _kind(found), sorted(found["parts"], key=lambda part: -part["score"])
    table = Table(number("shot" if kind == "shot" else "verdict"), number("score"))
    for part in parts[:_LISTED]:
        table.add_row(str(part[kind]), f"{part['score']:.4f}")
    out.print(table)
    if len(parts) > _LISTED:
        out.print(f"these are the {_LISTED} highest of {len(parts)} parts; --json has all")
    for part in found["left_out"]:
        out.print(f"line {line}: verdict {part['seq']} is left out, {part['why']}", soft_wrap=True)


def _say_outliers(line: str, rate: float, found: dict[str, Any]) -> None:
    """Names the parts that stand out, and says how to leave them out."""
    outliers = found["outliers"]
    if outliers is None or not outliers["parts"]:
        return
    kind = _kind(found)
    what = "shot" if kind == "shot" else "verdict"
    words = ", ".join(f"{what} {part[kind]} ({part['score']:.4f})" for part in outliers["parts"])
    stand = "1 part stands out" if len(outliers["parts"]) == 1 else f"{len(outliers['parts'])} parts stand out"
    out.print(
        f"{stand}, {outliers['rule']} ({outliers['above']:.4f}): {words}; look at them", style="yellow", soft_wrap=True
    )
    if kind == "shot":
        again = " and ".join(f"`alfa-edge shots remove {part['shot']}`" for part in outliers["parts"])
        out.print(f"if they are defective: {again}, then calibrate again", style="yellow", soft_wrap=True)
        return
    if found["stretch"] is None:
        return
    since, until = found["stretch"]["since"], found["stretch"]["until"]
    numbers = [part["seq"] for part in outliers["parts"] + found["left_out"]]
    without = " ".join(f"--without {number}" for number in numbers)
    command = f"alfa-edge calibrate --line {line} --rate {rate:g} --since {since} --until {until} {without}"
    out.print(f"if they are defective: `{command}`", style="yellow", soft_wrap=True)
