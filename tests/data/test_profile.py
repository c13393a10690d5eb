"""A profile is what numpy says in one go; images on which a training would be lost are refused in words."""

import numpy as np
import pytest

from rnnpipe.data import arrays
from rnnpipe.data.profile import Profile, check_images, profile_of
from rnnpipe.errors import DataError

CLASSES = ("cat", "dog", "owl")
NAME = "models:/pets-rows/3"


@pytest.fixture(name="images_NHW")
def make_images():
    return np.random.default_rng(0).integers(0, 256, (60, 5, 7), dtype=np.uint8)


LABELS_N = np.arange(60) % 3


def profile(images_NHW, labels_N=LABELS_N, classes=CLASSES):
    return profile_of(images_NHW, labels_N, classes)


def test_it_holds_the_sums_of_the_images_however_they_are_read(images_NHW, monkeypatch):
    images_NHW[3] = 9
    chosen = np.arange(0, 60, 2)
    whole = profile(images_NHW[chosen], LABELS_N[chosen])
    monkeypatch.setattr(arrays, "PIECE_BYTES", 100)
    assert profile(images_NHW[chosen], LABELS_N[chosen]) == whole
    assert Profile.model_validate_json(whole.model_dump_json()) == whole

    pixels_NHW, labels_N = images_NHW[chosen].astype(int), LABELS_N[chosen]
    assert whole.image_size == (5, 7) and whole.brightest == pixels_NHW.max() and whole.total == 30
    for number in range(3):
        of_class = pixels_NHW[labels_N == number]
        assert whole.images[number] == len(of_class)
        assert list(whole.row_sums[number]) == of_class.sum(axis=(0, 2)).tolist()
        assert list(whole.row_squares[number]) == (of_class.sum(axis=2) ** 2).sum(axis=0).tolist()
    levels = [np.histogram(pixels_NHW[:, row], bins=range(0, 257, 16))[0].tolist() for row in range(5)]
    assert [list(row) for row in whole.row_levels] == levels
    levels = [np.histogram(pixels_NHW[:, :, column], bins=range(0, 257, 16))[0].tolist() for column in range(7)]
    assert [list(column) for column in whole.column_levels] == levels


def test_blank_images_are_counted_by_class(images_NHW):
    images_NHW[[0, 4, 7]] = 200  # a cat, two dogs
    assert profile(images_NHW).blank == (1, 2, 0)


def test_ordinary_images_pass_with_a_champion_and_without(images_NHW):
    known = profile(images_NHW)
    check_images(known, None, "")
    check_images(known, known, NAME)
    four = profile(images_NHW, np.arange(60) % 4, (*CLASSES, "rat"))
    check_images(four, known, NAME)  # a new class is no reason to stop


def test_other_sizes_are_refused(images_NHW):
    with pytest.raises(DataError, match=rf"have 5 x 4 pixels, those that {NAME} was trained on 5 x 7") as caught:
        check_images(profile(images_NHW[:, :, :4]), profile(images_NHW), NAME)
    assert "data.image_size to [5, 7]" in caught.value.fix


def test_in_colour_it_is_that_of_the_grey_and_no_match_for_grey_images(images_NHW):
    coloured = np.stack([images_NHW, images_NHW // 2, images_NHW // 3], axis=3)
    grey = profile((coloured.sum(axis=3, dtype=int) // 3).astype(np.uint8))
    assert profile(coloured) == grey.model_copy(update={"channels": 3})
    with pytest.raises(DataError, match=rf"in colour, those that {NAME} was trained on grey") as caught:
        check_images(profile(coloured), grey, NAME)
    assert "data.colour to grey" in caught.value.fix


@pytest.mark.parametrize("is_still_named", [True, False])
def test_a_class_that_is_gone_is_named(is_still_named, images_NHW):
    old, rest = profile(images_NHW), LABELS_N != 1
    classes = CLASSES if is_still_named else ("cat", "owl")
    labels_N = LABELS_N[rest] if is_still_named else LABELS_N[rest] // 2
    with pytest.raises(DataError, match=rf"that {NAME} was trained on: dog \(20 images\)\n"):
        check_images(profile(images_NHW[rest], labels_N, classes), old, NAME)
    check_images(profile(images_NHW[rest], labels_N, classes), None, "")


def test_many_classes_that_are_gone_are_counted(images_NHW):
    names = tuple(f"c{number}" for number in range(20))
    old = profile(images_NHW, np.arange(60) % 20, names)
    with pytest.raises(DataError, match=r"c12 \(3 images\), c13 .* c16 \(3 images\) and 3 more\n"):
        check_images(profile(images_NHW, np.arange(60) % 12, names), old, NAME)


def test_values_scaled_to_one_are_refused(images_NHW):
    with pytest.raises(DataError, match="brighter than 1 of 255"):
        check_images(profile((images_NHW / 255).astype(np.uint8)), None, "")
    check_images(profile(images_NHW // 100), None, "")


def test_images_without_content_are_refused(images_NHW):
    blank_NHW = np.empty_like(images_NHW)
    blank_NHW[:] = np.arange(60)[:, None, None]  # each another grey
    with pytest.raises(DataError, match="each of the 60 training images is of a single grey level"):
        check_images(profile(blank_NHW), None, "")


def test_a_class_that_has_become_blank_is_refused_but_not_one_that_always_was(images_NHW):
    old, blank = profile(images_NHW), images_NHW.copy()
    blank[LABELS_N == 2] = 255
    with pytest.raises(
        DataError, match=r"20 training images of the class owl .* that \S+ was trained on, 0 of 20"
    ):
        check_images(profile(blank), old, NAME)
    check_images(profile(blank), profile(blank), NAME)
