"""What changed between two evaluations of the same data: metrics, scores, and sides of the calibrated threshold."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.evaluate.result import METRICS, ClassResult, Evaluation, Part, Run
from core.printable import shown
from core.regular_file import read_regular

SCHEMA = 1
"""The schema of the files that `load` reads."""

_LARGEST = 256 << 20  # bytes of a file
_CONDITIONS = "version", "dataset", "model", "fingerprint", "device", "dtype", "resolution", "scales", "windows", "head"


class EvaluationFileError(ValueError):
    """A file that holds no evaluation that this version reads; the message begins with its path."""


class IncomparableError(ValueError):
    """Two evaluations that have nothing in common to compare."""


def verdict(called: bool | None) -> str:
    """What a part is called, in words."""
    return "-" if called is None else ("anomalous" if called else "normal")


class MetricChange(Part):
    """One metric of one class in one setting, as the mean over the seeds that both have; in [0, 1]."""

    class_name: str
    variant: str
    shots: int
    metric: str
    old: float | None
    new: float | None

    @property
    def change(self) -> float | None:
        """New minus old; None where either has no value."""
        return None if self.old is None or self.new is None else self.new - self.old


class ScoreChange(Part):
    """One picture in one run."""

    class_name: str
    variant: str
    shots: int
    seed: int
    path: str
    anomalous: bool
    """What the part is."""
    old: float
    new: float
    called_before: bool | None
    """Called anomalous at the old calibrated threshold; None without one."""
    called_now: bool | None

    @property
    def change(self) -> float:
        """New minus old."""
        return self.new - self.old

    @property
    def flipped(self) -> bool:
        """Whether the part is on the other side of the calibrated threshold now."""
        known = self.called_before is not None and self.called_now is not None
        return known and self.called_before != self.called_now

    @property
    def verdicts(self) -> str:
        """What the part was and is called, in words; a dash without a calibrated threshold."""
        was, now = (verdict(called) for called in (self.called_before, self.called_now))
        return was if was == now else f"{was} -> {now}"


class Setting(Part):
    """One run of one class, by name."""

    class_name: str
    variant: str
    shots: int
    seed: int


class PictureName(Part):
    """One test picture, by name."""

    class_name: str
    path: str


class Comparison(Part):
    """What changed; only changes of at least `least` are listed, and every changed side of a threshold."""

    least: float
    runs: int
    """Runs that both evaluations have."""
    scores_compared: int
    conditions: tuple[str, ...]
    """What else differs, for instance the model or a pack: in words."""
    metrics: tuple[MetricChange, ...]
    """In the order of the classes and settings."""
    scores: tuple[ScoreChange, ...]
    """Changed sides first, then the largest changes."""
    pictures_only_old: tuple[PictureName, ...]
    pictures_only_new: tuple[PictureName, ...]
    settings_only_old: tuple[Setting, ...]
    settings_only_new: tuple[Setting, ...]

    @property
    def flips(self) -> tuple[ScoreChange, ...]:
        """Parts on the other side of the calibrated threshold."""
        return tuple(score for score in self.scores if score.flipped)

    @property
    def same(self) -> bool:
        """Whether there is nothing to list but conditions."""
        return not (
            self.metrics
            or self.scores
            or self.pictures_only_old
            or self.pictures_only_new
            or self.settings_only_old
            or self.settings_only_new
        )


def load(path: Path) -> Evaluation:
    """The evaluation in the file at `path`.

    Raises:
        EvaluationFileError: no such file, not JSON, no evaluation, another schema, or not whole.
    """
    try:
        content: Any = json.loads(read_regular(path, _LARGEST).decode("utf-8"))
    except OSError as error:
        raise EvaluationFileError(f"{path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise EvaluationFileError(f"{path}: is not JSON: {error}") from error
    if not isinstance(content, dict) or "schema_" not in content:
        raise EvaluationFileError(f"{path}: is no evaluation of alfa-edge")
    if content["schema_"] != SCHEMA:
        raise EvaluationFileError(f"{path}: is of schema {content['schema_']!r}; this version reads schema {SCHEMA}")
    try:
        evaluation = Evaluation.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"]) or "the whole file"
        raise EvaluationFileError(f"{path}: {where}: {first['msg']}") from error
    for result in evaluation.classes:
        for run in result.runs:
            if not len(run.scores) == len(run.hits) == len(result.pictures):
                raise EvaluationFileError(
                    f"{path}: {result.name}, {run.variant} at {run.shots} shots: {len(run.scores)} scores and "
                    f"{len(run.hits)} hits for {len(result.pictures)} pictures"
                )
    return evaluation


def compare(old: Evaluation, new: Evaluation, least: float = 0.001) -> Comparison:
    """What changed from `old` to `new`.

    Args:
        old: the evaluation to hold against.
        new: the later one.
        least: smallest change of a metric or score, in [0, 1], that is listed. A changed side of the threshold, and a
            metric that only one of the two has, are always listed.

    Raises:
        IncomparableError: no run of both has a picture of both.
        ValueError: `least` is negative.
    """
    if not least >= 0.0:
        raise ValueError(f"least is {least}; a smallest change is not negative")
    before = {_setting(result, run): (result, run) for result in old.classes for run in result.runs}
    after = {_setting(result, run): (result, run) for result in new.classes for run in result.runs}
    shared = [setting for setting in before if setting in after]
    scores = [change for setting in shared for change in _scores(setting, before[setting], after[setting])]
    if not scores:
        raise IncomparableError(_nothing(old, new, bool(shared)))
    listed = [change for change in scores if change.flipped or _listed(change.change, least)]
    listed.sort(key=lambda change: (not change.flipped, -abs(change.change), change.class_name, change.path))
    pictures_old, pictures_new = _pictures(old), _pictures(new)
    return Comparison(
        least=least,
        runs=len(shared),
        scores_compared=len(scores),
        conditions=tuple(_conditions(old, new, shared, before, after)),
        metrics=tuple(change for change in _metrics(shared, before, after) if _listed(change.change, least)),
        scores=tuple(listed),
        pictures_only_old=tuple(name for name in pictures_old if name not in pictures_new),
        pictures_only_new=tuple(name for name in pictures_new if name not in pictures_old),
        settings_only_old=tuple(setting for setting in before if setting not in after),
        settings_only_new=tuple(setting for setting in after if setting not in before),
    )


_Pair = tuple[ClassResult, Run]


def _pictures(evaluation: Evaluation) -> dict[PictureName, None]:
    """In the order of the file."""
    return {
        PictureName(class_name=result.name, path=picture.path): None
        for result in evaluation.classes
        for picture in result.pictures
    }


def _listed(change: float | None, least: float) -> bool:
    return change is None or (change != 0.0 and abs(change) >= least - 1e-12)


def _setting(result: ClassResult, run: Run) -> Setting:
    return Setting(class_name=result.name, variant=run.variant, shots=run.shots, seed=run.seed)


def _scores(setting: Setting, old: _Pair, new: _Pair) -> Iterator[ScoreChange]:
    earlier = dict(zip((picture.path for picture in old[0].pictures), old[1].scores, strict=True))
    for picture, score in zip(new[0].pictures, new[1].scores, strict=True):
        if picture.path in earlier:
            yield ScoreChange(
                class_name=setting.class_name,
                variant=setting.variant,
                shots=setting.shots,
                seed=setting.seed,
                path=picture.path,
                anomalous=picture.anomalous,
                old=earlier[picture.path],
                new=score,
                called_before=called(old[1], earlier[picture.path]),
                called_now=called(new[1], score),
            )


def called(run: Run, score: float) -> bool | None:
    """Whether a part with this score is called anomalous in this run; None without a calibrated threshold."""
    return None if run.operation is None else score >= run.operation.threshold


def _metrics(
    shared: list[Setting], before: dict[Setting, _Pair], after: dict[Setting, _Pair]
) -> Iterator[MetricChange]:
    groups: dict[tuple[str, str, int], list[Setting]] = {}
    for setting in shared:
        groups.setdefault((setting.class_name, setting.variant, setting.shots), []).append(setting)
    for (class_name, variant, shots), settings in groups.items():
        for metric in METRICS:
            old, new = (_mean([getattr(runs[key][1].metrics, metric) for key in settings]) for runs in (before, after))
            if old is not None or new is not None:
                yield MetricChange(class_name=class_name, variant=variant, shots=shots, metric=metric, old=old, new=new)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _conditions(
    old: Evaluation,
    new: Evaluation,
    shared: list[Setting],
    before: dict[Setting, _Pair],
    after: dict[Setting, _Pair],
) -> Iterator[str]:
    for field in _CONDITIONS:
        was, now = getattr(old, field), getattr(new, field)
        if was != now:
            yield f"{field}: {_words(was)} before, {_words(now)} now"
    packs = {result.name: (result.pack, result.pack_version, result.pack_sha256) for result in old.classes}
    for result in new.classes:
        if result.name in packs and packs[result.name] != (result.pack, result.pack_version, result.pack_sha256):
            name, version, digest = packs[result.name]
            yield (
                f"pack of {result.name}: {name} {version} ({digest[:12]}) before, "
                f"{result.pack} {result.pack_version} ({result.pack_sha256[:12]}) now"
            )
    other = sum(before[key][1].shot_paths != after[key][1].shot_paths for key in shared)
    if other:
        yield f"{other} of {len(shared)} runs drew other shots"
    if any({p.path for p in before[key][0].pictures} != {p.path for p in after[key][0].pictures} for key in shared):
        yield "the pictures differ, so metrics are not of the same parts"


def _words(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _nothing(old: Evaluation, new: Evaluation, same_runs: bool) -> str:
    if same_runs:
        return "nothing to compare: the evaluations share runs but no picture"
    names = [sorted({result.name for result in evaluation.classes}) for evaluation in (old, new)]
    if not set(names[0]) & set(names[1]):
        return f"nothing to compare: classes {', '.join(names[0]) or '-'} before, {', '.join(names[1]) or '-'} now"
    return "nothing to compare: no class was run with the same variant, shots and seed in both"


def render_comparison(comparison: Comparison, most: int = 40) -> str:
    """Plain text, 120 columns wide: tables of changed metrics and scores, and what is in one evaluation only.

    Args:
        comparison: what to show.
        most: rows of a table; the rest is counted.
    """
    console = Console(file=io.StringIO(), width=120, color_system=None, force_terminal=False, highlight=False)

    def say(text: str) -> None:
        console.print(Text(shown(text)), soft_wrap=True)

    say(f"{comparison.runs} runs and {comparison.scores_compared} scores compared; changes of {comparison.least:g} up.")
    for condition in comparison.conditions:
        say(f"Differs: {condition}")
    _print_metrics(console, comparison.metrics[:most])
    _print_rest(say, len(comparison.metrics) - most, "changed metrics")
    _print_scores(console, comparison.scores[:most])
    _print_rest(say, len(comparison.scores) - most, "changed scores")
    flips = comparison.flips
    worse = sum(change.called_now != change.anomalous for change in flips)
    say(f"{len(flips)} changed sides of the calibrated threshold: {worse} now wrong, {len(flips) - worse} now right.")
    for what, names in (("before", comparison.pictures_only_old), ("now", comparison.pictures_only_new)):
        for name in names[:most]:
            say(f"Picture only {what}: {name.class_name}: {name.path}")
        _print_rest(say, len(names) - most, f"pictures only {what}")
    for what, settings in (("before", comparison.settings_only_old), ("now", comparison.settings_only_new)):
        for setting in settings[:most]:
            say(f"Run only {what}: {setting.class_name}: {setting.variant}, {setting.shots} shots, seed {setting.seed}")
        _print_rest(say, len(settings) - most, f"runs only {what}")
    if comparison.same:
        say("No change.")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _print_rest(say: Callable[[str], None], rest: int, what: str) -> None:
    if rest > 0:
        say(f"... and {rest} more {what}")


def _cell(value: float | None, sign: bool = False) -> str:
    return "-" if value is None else f"{value:{'+' if sign else ''}.4f}"


def _print_metrics(console: Console, changes: tuple[MetricChange, ...]) -> None:
    if not changes:
        return
    table = Table("class", "variant", "shots", "metric", title="Metrics", title_justify="left")
    for head in ("before", "now", "change"):
        table.add_column(head, justify="right", no_wrap=True)
    for change in changes:
        names = (change.class_name, change.variant, str(change.shots), change.metric)
        figures = (_cell(change.old), _cell(change.new), _cell(change.change, sign=True))
        table.add_row(*(Text(shown(text)) for text in names + figures))
    console.print(table)


def _print_scores(console: Console, changes: tuple[ScoreChange, ...]) -> None:
    if not changes:
        return
    table = Table("picture", "variant", "shots", "seed", "part", title="Scores", title_justify="left")
    for head in ("before", "now", "change"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("called")
    for change in changes:
        part = "defective" if change.anomalous else "good"
        names = (f"{change.class_name}: {change.path}", change.variant, str(change.shots), str(change.seed), part)
        figures = (_cell(change.old), _cell(change.new), _cell(change.change, sign=True), change.verdicts)
        table.add_row(*(Text(shown(text)) for text in names + figures))
    console.print(table)
