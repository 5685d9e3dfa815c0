from __future__ import annotations

from edge.camera.damage import Place, Track


def places(track: Track, kinds: str) -> list[Place]:
    """A packet for each letter: `K` a key frame, `P` one that is predicted, shown one after the other."""
    return [track.place(kind == "K", time) for time, kind in enumerate(kinds)]


def damaged(places: list[Place]) -> str:
    return "".join("x" if place.damaged else "." for place in places)


def test_nothing_is_whole_before_the_first_key_frame() -> None:
    assert damaged(places(Track(), "PPKPPKP")) == "xx....."


def test_a_loss_damages_all_up_to_the_next_key_frame() -> None:
    track = Track()
    first = [track.place(True, 0), track.place(False, 1), track.place(False, 2, lost=True), track.place(False, 3)]
    assert damaged([*first, *places(track, "KP")]) == "..xx.."


def test_a_key_frame_is_not_damaged_by_what_was_lost_before_it_but_by_what_was_lost_of_it() -> None:
    track = Track()
    assert damaged([track.place(True, 0), track.place(True, 1, lost_before=True), track.place(False, 2)]) == "..."
    assert damaged([track.place(True, 3, lost=True), track.place(False, 4)]) == "xx"
    assert damaged([track.place(True, 5), track.place(False, 6, lost_before=True)]) == ".x"


def test_a_mark_that_comes_early_is_of_the_next_packet_even_of_a_key_frame() -> None:
    track = Track()
    found = [
        track.place(True, 0),
        track.place(False, 1, lost_of_next=True),
        track.place(True, 2),
        track.place(False, 3),
    ]
    assert damaged(found) == "..xx"


def test_what_the_decoder_finds_later_damages_frames_that_are_on_their_way() -> None:
    found = places(Track(), "KPPPKP")
    found[2].damage()
    assert damaged(found) == "..xx.."
    found[1].damage()
    assert damaged(found) == ".xxx.."


def test_frames_that_are_shown_before_the_key_frame_need_the_group_before_it() -> None:
    track = Track()
    found = [track.place(True, 0), track.place(False, 1, lost=True)]
    found += [track.place(True, 4), track.place(False, 2), track.place(False, 3), track.place(False, 5)]
    assert damaged(found) == ".x.xx."


def test_of_frames_that_are_shown_before_the_key_frame_no_other_is_predicted() -> None:
    track = Track()
    found = [track.place(True, 0), track.place(True, 4), track.place(False, 2, lost=True), track.place(False, 3)]
    found += [track.place(False, 5), track.place(True, 6)]
    assert damaged(found) == "..xx.."


def test_with_intra_refresh_the_second_key_frame_after_a_loss_is_whole() -> None:
    track = Track()
    found: list[Place] = []
    for time, lost in enumerate([False, False, True, False, False, False]):
        found.append(track.place(True, 2 * time))
        if time:
            found[-1].is_no_whole_picture()
        found.append(track.place(False, 2 * time + 1, lost=lost))
    assert damaged(found) == ".....xxx...."


def test_groups_that_are_over_are_let_go_of() -> None:
    track = Track()
    places(track, "K" * 1000)
    group, chain = track._group, 0
    while group.before is not None:
        group, chain = group.before, chain + 1
    assert chain <= 2
