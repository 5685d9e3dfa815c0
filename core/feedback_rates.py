"""What people's feedback says of a line's errors, and what it does not.

People look at some parts, and not at random ones: mostly at those that the line called anomalous. So the share of false
alarms among the parts that were looked at is not that of all parts. Here are the numbers that can be stood by:

- of all judged parts: the false alarms and escapes that are known. There may be more, so these are lower bounds. False
  alarms have an upper bound, too: it counts each alarm that nobody has looked at as false. Escapes have none, as hardly
  any normal part was looked at.
- of the parts that were looked at: the share of alarms that were false, and of normal verdicts that missed a defect.
  They say something of all alarms, or of all normal verdicts, only where chance decided which parts were looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.share import Share, share


@dataclass(frozen=True)
class Judged:
    """Parts of a line, counted.

    Attributes:
        normal, anomaly: By their verdicts.
        false_alarms, confirmed: Of those called anomalous, the ones that people called good, and defective.
        escapes, confirmed_normal: Of those called normal, the ones that people called defective, and good.
    """

    normal: int = 0
    anomaly: int = 0
    false_alarms: int = 0
    confirmed: int = 0
    escapes: int = 0
    confirmed_normal: int = 0

    @property
    def parts(self) -> int:
        """All of them."""
        return self.normal + self.anomaly

    def __add__(self, other: Judged) -> Judged:
        return Judged(*(mine + more for mine, more in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class FeedbackRates:
    """Shares of the parts of a line; None where there is no part to be a share of.

    Attributes:
        known_false_alarms: Of all judged parts; a lower bound: its `low` is what counts.
        possible_false_alarms: The same with all alarms that nobody has looked at; an upper bound: its `high`.
        known_escapes: Of all judged parts; a lower bound.
        reviewed_alarms: False ones, of the alarms that people have looked at.
        reviewed_normals: Missed defects, of the normal verdicts that people have looked at.
    """

    known_false_alarms: Share | None
    possible_false_alarms: Share | None
    known_escapes: Share | None
    reviewed_alarms: Share | None
    reviewed_normals: Share | None


def feedback_rates(judged: Judged) -> FeedbackRates:
    """The shares, each with its interval of 95 %.

    Raises:
        ValueError: more parts were looked at than there are.
    """
    unseen = judged.anomaly - judged.false_alarms - judged.confirmed
    if unseen < 0 or judged.escapes + judged.confirmed_normal > judged.normal:
        raise ValueError(f"more feedback than parts: {judged}")

    def of(count: int, parts: int) -> Share | None:
        return share(count, parts) if parts else None

    return FeedbackRates(
        known_false_alarms=of(judged.false_alarms, judged.parts),
        possible_false_alarms=of(judged.false_alarms + unseen, judged.parts),
        known_escapes=of(judged.escapes, judged.parts),
        reviewed_alarms=of(judged.false_alarms, judged.false_alarms + judged.confirmed),
        reviewed_normals=of(judged.escapes, judged.escapes + judged.confirmed_normal),
    )
