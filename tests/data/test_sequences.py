"""Every transform of the catalogue: each pixel once, in the order a plain numpy loop gives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnpipe.catalogue import SEQUENCES
from rnnpipe.config.sections import SequenceConfig
from rnnpipe.data.sequences import build_transform
from rnnpipe.errors import ConfigError

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6)).map(lambda halves: (2 * halves[0], 2 * halves[1]))


def config_of(name, **fields):
    return SequenceConfig(name=name, **{"patch_size": 2, **fields})


def numbered(count, height, width):
    """Return images in which every pixel has a number of its own."""
    return torch.arange(count * height * width).reshape(count, height, width)


@pytest.mark.parametrize("name", SEQUENCES)
@settings(max_examples=20, deadline=None)
@given(size=SIZES, count=st.integers(1, 3))
def test_each_pixel_of_an_image_appears_once_in_its_sequence(name, size, count):
    transform = build_transform(size, config_of(name))
    x_NTI = transform(numbered(count, *size))
    assert x_NTI.shape == (count, transform.steps, transform.features)
    assert transform.steps * transform.features == size[0] * size[1]
    for image, sequence in zip(numbered(count, *size), x_NTI, strict=True):
        assert sorted(sequence.flatten().tolist()) == image.flatten().tolist()


def patches(image, side=2):
    rows, columns = range(0, image.shape[0], side), range(0, image.shape[1], side)
    return [image[y : y + side, x : x + side].ravel() for y in rows for x in columns]


def permuted(image):
    order = torch.randperm(image.size, generator=torch.Generator().manual_seed(0)).numpy()
    return [[image.ravel()[place]] for place in order]


REFERENCES = {
    "rows": list,
    "columns": lambda image: [image[:, x] for x in range(image.shape[1])],
    "pixels": lambda image: [[value] for row in image for value in row],
    "permuted": permuted,
    "patches": patches,
    "as-is": list,
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_order_is_that_of_a_plain_loop(name):
    images = numbered(3, 4, 6)
    expected = np.array([REFERENCES[name](image) for image in images.numpy()])
    np.testing.assert_array_equal(build_transform((4, 6), config_of(name))(images), expected)


@pytest.mark.parametrize("name", SEQUENCES)
def test_in_colour_a_step_has_three_values_of_each_pixel(name):
    images_NHWC = torch.arange(3 * 4 * 6 * 3).reshape(3, 4, 6, 3)
    grey, colour = (build_transform((4, 6), config_of(name), channels) for channels in (1, 3))
    assert (colour.steps, colour.features) == (grey.steps, 3 * grey.features)
    x_NTI = colour(images_NHWC)
    assert x_NTI.shape == (3, colour.steps, colour.features)
    for channel in range(3):
        torch.testing.assert_close(x_NTI[..., channel::3], grey(images_NHWC[..., channel]), rtol=0, atol=0)


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_exported_for_any_batch_it_gives_the_same(name, dtype):
    transform = build_transform((4, 6), config_of(name)).eval()
    assert not transform.state_dict()
    batch = {0: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(transform, (numbered(2, 4, 6).to(dtype),), dynamic_shapes=(batch,))
    for count in (2, 7):
        images = numbered(count, 4, 6).to(dtype)
        x_NTI = exported.module()(images)
        assert x_NTI.dtype == dtype
        torch.testing.assert_close(x_NTI, transform(images), rtol=0, atol=0)


def test_the_permutation_is_its_seed_alone():
    images = numbered(1, 8, 8)
    first = build_transform((8, 8), config_of("permuted", permutation_seed=7))(images)
    torch.manual_seed(99)
    again = build_transform((8, 8), config_of("permuted", permutation_seed=7))(images)
    other = build_transform((8, 8), config_of("permuted", permutation_seed=8))(images)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_patch_that_does_not_fit_names_those_that_do():
    with pytest.raises(ConfigError, match=r"sequence\.patch_size 7.*8 x 12") as caught:
        build_transform((8, 12), SequenceConfig(name="patches"))
    assert "one of 1, 2, 4" in caught.value.fix
