"""Drawings are framed as the images of their dataset are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from rnnpipe.data.embedded import load_digits
from rnnpipe.data.raw import Pixels
from rnnpipe.errors import DataError
from rnnpipe.serving.drawing import AS_MNIST, DRAWING_SIDE, FILLING, Framing, frame_drawing, framing_of

SIZE = (28, 28)


def drawing_of(height: int, width: int, top: int, left: int) -> Pixels:
    """Return a drawing with an L of this height and width at a place: its mass is low and left."""
    drawing = np.zeros((DRAWING_SIDE, DRAWING_SIDE), np.uint8)
    shape = drawing[top : top + height, left : left + width]
    shape[:, : max(1, width // 3)] = 255
    shape[-max(1, height // 4) :] = 255
    return drawing


def box_of(image: Pixels) -> tuple[int, int]:
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(8, 100), width=st.integers(8, 100), top=st.integers(0, 12), left=st.integers(0, 12)
)  # fmt: skip
def test_mnists_rule_holds(height: int, width: int, top: int, left: int) -> None:
    """The longer side has 20 pixels, the shorter keeps the proportions, the centre of mass is at (14, 14)."""
    image = frame_drawing(drawing_of(height, width, top, left), SIZE, AS_MNIST)
    longer = max(height, width)
    assert image.dtype == np.uint8 and image.shape == SIZE
    assert max(box_of(image)) == 20
    assert np.abs(np.array(box_of(image)) - 20 * np.array([height, width]) / longer).max() <= 1
    for axis, centre in enumerate(ndimage.center_of_mass(image.astype(float))):
        at_the_edge = image.take([0, -1], axis=axis).any()  # further would cut off
        assert abs(centre - 14) <= (1.5 if at_the_edge else 0.5 + 1e-9)


def test_where_it_was_drawn_and_how_large_makes_no_difference() -> None:
    first = frame_drawing(drawing_of(40, 30, 0, 0), SIZE, AS_MNIST)
    assert np.array_equal(first, frame_drawing(drawing_of(40, 30, 50, 70), SIZE, AS_MNIST))
    larger = frame_drawing(drawing_of(80, 60, 5, 5), SIZE, AS_MNIST)
    assert np.abs(first.astype(int) - larger).mean() < 8


def test_an_image_that_follows_the_rule_stays_as_it_is() -> None:
    """MNIST's own files pass through the rule unchanged; this is what they look like."""
    image = frame_drawing(drawing_of(100, 70, 3, 9), SIZE, AS_MNIST)
    assert np.array_equal(frame_drawing(image, SIZE, AS_MNIST), image)


def test_nothing_is_cut_off_where_the_mass_lies_far_to_one_side() -> None:
    drawing = np.zeros((DRAWING_SIDE, DRAWING_SIDE), np.uint8)
    drawing[10:110, 50:52] = 60
    drawing[90:110, 30:80] = 255
    image = frame_drawing(drawing, SIZE, AS_MNIST)
    assert max(box_of(image)) == 20


def test_digits_fill_their_frame_as_the_training_images_do() -> None:
    from rnnpipe.catalogue import DATASETS

    raw = load_digits(DATASETS["digits"], None, None)
    framing = framing_of("digits")
    assert framing == FILLING
    same = [np.array_equal(frame_drawing(image, (8, 8), framing), image) for image in raw.train_images_NHW[:200]]
    shift = [
        np.abs(ndimage.center_of_mass(frame_drawing(image, (8, 8), framing).astype(float))
               - np.array(ndimage.center_of_mass(image.astype(float)))).max()
        for image in raw.train_images_NHW[:200]
    ]  # fmt: skip
    assert np.mean(same) > 0.8 and max(shift) < 1.01
    image = frame_drawing(drawing_of(90, 50, 0, 0), (8, 8), framing)
    assert box_of(image)[0] == 8


@pytest.mark.parametrize("size", [(8, 6), (28, 28), (64, 20), (4, 512)])
@pytest.mark.parametrize("framing", [AS_MNIST, FILLING])
def test_any_size_of_image_and_any_small_mark(size: tuple[int, int], framing: Framing) -> None:
    for height, width in ((1, 1), (1, 112), (112, 1), (112, 112)):
        image = frame_drawing(drawing_of(height, width, 0, 0), size, framing)
        assert image.shape == size and image.any()
    faint = np.zeros((DRAWING_SIDE, DRAWING_SIDE), np.uint8)
    faint[3, 4] = faint[100, 90] = 1
    assert frame_drawing(faint, size, framing).any()


def test_an_empty_drawing_is_told() -> None:
    with pytest.raises(DataError, match="nothing is drawn"):
        frame_drawing(np.zeros((DRAWING_SIDE, DRAWING_SIDE), np.uint8), SIZE, AS_MNIST)
