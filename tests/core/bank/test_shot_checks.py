import cv2
import numpy as np
import pytest

from core.bank.augment import turned, turns
from core.bank.shot_checks import FLAGS, check_shot, look_at
from core.image import Rgb
from core.simline import CLASSES, render


def good(name: str, index: int, seed: int = 0) -> Rgb:
    return render(name, seed, index, 0.0).image


def again(image: Rgb, seed: int = 0) -> Rgb:
    """The same still part once more: other noise, and a lamp that has warmed up."""
    noise = np.random.default_rng(seed).normal(0.0, 2.0, image.shape)
    return np.clip(image * 0.98 + noise, 0, 255).astype(np.uint8)


def blurred(image: Rgb, sigma: float) -> Rgb:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def codes(image: Rgb, others: list[Rgb], kinds: str = "none") -> list[str]:
    return [flag.code for flag in check_shot(image, [look_at(one) for one in others], turns=turns(kinds))]


@pytest.mark.parametrize("name", CLASSES)
def test_good_parts_have_no_flag_beside_others_and_faults_have_theirs(name: str) -> None:
    others = [good(name, index) for index in range(1, 4)]
    part = good(name, 0)
    assert codes(part, others) == []
    assert codes(again(part), [*others, part]) == ["near_duplicate"]
    assert "blurred" in codes(blurred(part, 3.0), others)
    assert "under_exposed" in codes((part * 0.5).astype(np.uint8), others)


@pytest.mark.parametrize("name", ["pcb", "pill", "screw", "tile", "cable"])
def test_with_no_other_shot_there_are_absolute_limits(name: str) -> None:
    part = good(name, 0)
    assert codes(part, []) == []
    assert codes(blurred(part, 8.0), []) == ["blurred"]
    assert "under_exposed" in codes((part * 0.05).astype(np.uint8), [])
    assert "over_exposed" in codes(np.clip(part * 12.0 + 60, 0, 255).astype(np.uint8), [])


def test_a_defect_makes_no_near_duplicate_of_the_good_part_where_it_can_be_seen() -> None:
    whole, broken = good("metal_plate", 5), render("metal_plate", 0, 5, 1.0, ["stain"]).image
    assert codes(broken, [whole]) == []


def test_a_dark_or_bright_line_is_judged_by_itself() -> None:
    backlit = [np.clip(good("washer", index) * 0.2 + 225, 0, 255).astype(np.uint8) for index in range(4)]
    assert "over_exposed" not in codes(backlit[0], backlit[1:])
    assert "over_exposed" in codes(backlit[0], [])


def test_messages_hold_the_figure_and_the_limit() -> None:
    part = good("gear", 0)
    found = check_shot(again(part), [look_at(good("gear", 1), "shot 7"), look_at(part, "shot 8")], 0.61, 0.5)
    assert [flag.code for flag in found] == ["near_duplicate", "anomalous"]
    assert found[0].message.startswith("nearly the same picture as shot 8: 0.")
    assert found[0].message.endswith("the limit is 0.50")
    assert found[1].message == "scores 0.610, the line's threshold is 0.500"
    assert check_shot(part, [], 0.4, 0.5) == ()
    assert check_shot(part, [], 0.5, 0.5) != ()
    assert check_shot(part, [], 0.9) == ()
    dark = check_shot((part * 0.1).astype(np.uint8), [good("gear", 1)])
    assert "mean grey level" in dark[-1].message


def test_pictures_of_any_size_and_a_blank_one_are_looked_at() -> None:
    large = cv2.resize(good("pcb", 0), (1500, 900))
    assert check_shot(np.asarray(large, np.uint8), []) == ()
    blank = np.full((30, 20, 3), 128, np.uint8)
    assert codes(blank, []) == ["blurred"]
    assert codes(blank, [blank]) == ["near_duplicate"]


@pytest.mark.parametrize("name", ["cable", "pcb", "label", "screw"])
@pytest.mark.parametrize("degrees", [30, 90, 180])
def test_a_part_that_is_turned_beside_the_others_is_asked_about(name: str, degrees: int) -> None:
    others = [look_at(good(name, index), f"shot {index}") for index in range(1, 8)]
    found = check_shot(turned(good(name, 0), degrees), others)
    assert [flag.code for flag in found] == ["turned"]
    about = int(found[0].message.split("about ")[1].split()[0])
    assert abs(about - degrees) <= 10
    assert found[0].message.startswith("looks like shot ")
    assert found[0].message.endswith("if parts come turned, set lines.<line>.shots.augment = 'angles'")


def test_parts_of_a_line_that_lie_at_any_angle_are_asked_about() -> None:
    others = [good("capsule", index) for index in range(8) if index != 4]
    assert codes(good("capsule", 4), others) == ["turned"]
    assert codes(good("capsule", 4), others, "angles") == []


def test_turns_that_the_line_covers_are_not_asked_about() -> None:
    others = [good("pcb", index) for index in range(1, 4)]
    quarter, odd = turned(good("pcb", 0), 90), turned(good("pcb", 0), 30)
    assert codes(quarter, others) == codes(odd, others) == ["turned"]
    assert codes(quarter, others, "flips") == ["turned"]
    assert codes(quarter, others, "rotations") == codes(quarter, others, "all") == []
    assert codes(odd, others, "rotations") == ["turned"]
    assert codes(odd, others, "angles") == codes(quarter, others, "angles") == []
    assert codes(quarter, [*others, turned(good("pcb", 4), 90)]) == []  # one that lies so is there already


def test_a_turn_is_found_in_pictures_that_are_not_square() -> None:
    wide = [np.pad(good("pcb", index), ((0, 0), (60, 60), (0, 0)), "edge") for index in range(4)]
    assert codes(wide[0], wide[1:]) == []
    assert codes(turned(wide[0], 60), wide[1:]) == ["turned"]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((96, 128), "the same region at another size"),
        ((20, 40), "it looks like a whole frame: cut the inspected region out of it"),
        ((96, 64), "it shows another region"),
    ],
)
def test_a_picture_of_another_size_than_the_line_inspects_is_flagged(size: tuple[int, int], words: str) -> None:
    image = render("gear", 1, 0, 0.0).image[:48, :64]
    flags = check_shot(image, [], size=size)
    assert flags[0].code == "size"
    assert flags[0].message.startswith(f"has 64 x 48 pixels, the line inspects {size[1]} x {size[0]}; ")
    assert words in flags[0].message
    assert "size" not in {flag.code for flag in check_shot(image, [], size=(48, 64))}
    assert "size" not in {flag.code for flag in check_shot(image, [])}
    assert {flag.code for flag in flags} <= set(FLAGS)
