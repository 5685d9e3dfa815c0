"""Which frames of a compressed video are damaged: those of what was lost, and all that is predicted from them.

A key frame begins a group that is predicted from nothing before it. What is lost of a group damages its frames from
there on, in the order of decoding, until the next key frame. Decoders go on in between, and patch up what they lack.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Group:
    """A key frame, and the frames that are predicted from it."""

    key_time: int | None
    """When the key frame is shown; None: the stream does not say."""
    before: Group | None = field(default=None, repr=False)
    """The group before, for frames that are decoded after the key frame and shown before it: they need both."""
    leading_damaged: bool = False
    """Whether something is missing of the frames that are shown before the key frame. No other needs them."""
    damaged_from: int | None = None
    """The first of its frames, in the order of decoding, that something is missing of; None: none."""
    inherited: bool = False
    """Whether it is refreshed piece by piece, and has pieces of a damaged group as yet."""


@dataclass(frozen=True)
class Place:
    """Where a packet stands in the stream; goes through the decoder with it, and comes out with its frame."""

    group: Group
    index: int
    """In the group, in the order of decoding; the key frame is 0."""
    time: int | None
    """When its frame is shown, in the stream's unit."""

    @property
    def leads(self) -> bool:
        """Whether its frame is shown before the key frame of its group, and may need the group before."""
        return self.time is not None and self.group.key_time is not None and self.time < self.group.key_time

    @property
    def damaged(self) -> bool:
        """Whether something is missing of its frame, by what is known so far."""
        group = self.group
        if group.inherited or (group.damaged_from is not None and self.index >= group.damaged_from):
            return True
        before = group.before is not None and group.before.damaged_from is not None
        return self.leads and (before or group.leading_damaged)

    def damage(self) -> None:
        """Notes that something is missing of its frame: those that may be predicted from it are damaged, too."""
        if self.leads:
            self.group.leading_damaged = True
            return
        found = self.group.damaged_from
        self.group.damaged_from = self.index if found is None else min(found, self.index)

    def is_no_whole_picture(self) -> None:
        """Notes that its key frame is none by itself: cameras with intra refresh send a picture in pieces, over a whole
        group. So of a damaged group some is left in the next one, and none in the one after that."""
        before = self.group.before
        if before is not None and before.damaged_from is not None:
            self.group.inherited = True


class Track:
    """Follows the packets of one stream, in the order of decoding."""

    def __init__(self) -> None:
        # Until the first key frame, frames are predicted from what never came.
        self._group = Group(key_time=None, damaged_from=0)
        self._index = 0
        self._next_is_damaged = False

    def place(
        self, key: bool, time: int | None, lost_before: bool = False, lost: bool = False, lost_of_next: bool = False
    ) -> Place:
        """Takes the next packet.

        Args:
            key: Whether its frame is a key frame.
            time: When its frame is shown.
            lost_before: Whether something between the last packet and this one was lost.
            lost: Whether something was lost of this packet, or between this and the next one.
            lost_of_next: Whether something was lost of the next packet.
        """
        if key:
            if self._group.before is not None:
                self._group.before.before = None  # else all groups of a stream would be kept
            self._group, self._index = Group(time, before=self._group), 0
        place = Place(self._group, self._index, time)
        self._index += 1
        if (lost_before and not key) or lost or self._next_is_damaged:
            place.damage()
        self._next_is_damaged = lost_of_next or (lost and place.leads)  # it may be the next one, which others need
        return place
